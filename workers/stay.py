"""How long a pinned model stays while nobody asks for it: Ollama's `keep_alive`, driven by hand.

A value sticks: it holds for the pinned model until a request brings another one. Time runs only while nothing does, from
the end of the last request on. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math

#: What callers say for "never let go": any negative number.
FOR_EVER = -1.0


class Stay:
    """Of one pinned model, from `now` on. Not to be used by two threads at once."""

    def __init__(self, keep_alive: float, now: float) -> None:
        self._keep = _seconds(keep_alive)
        self._since = now
        self.running = 0

    def began(self, keep_alive: float | None) -> bool:
        """A request is here. keep_alive: what it brings; None leaves it as it was. Answers whether that is new."""
        self.running += 1
        before = self._keep
        if keep_alive is not None:
            self._keep = _seconds(keep_alive)
        return self._keep != before

    def ended(self, now: float) -> None:
        """A request that had begun is over."""
        assert self.running > 0, "more requests ended than began"
        self.running -= 1
        self._since = now

    def idle_seconds(self, now: float) -> float:
        """Since when nothing runs; 0 while something does."""
        return 0.0 if self.running else now - self._since

    def expires_in(self, now: float) -> float | None:
        """How long it will stay, should nobody ask from now on; None is for ever."""
        if math.isinf(self._keep):
            return None
        return max(0.0, self._keep - self.idle_seconds(now))

    def is_over(self, now: float) -> bool:
        """Nothing runs, and nobody has asked for so long that the model may go."""
        return not self.running and self.expires_in(now) == 0.0


def _seconds(keep_alive: float) -> float:
    return math.inf if keep_alive < 0 else keep_alive

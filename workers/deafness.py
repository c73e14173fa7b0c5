"""Whether the consumer has gone deaf: it lives, and pulls no tickets (celery#8030, #9054, #10205).

Told by the effect alone. Tickets wait in a lane that it pulls from, it holds fewer than it can, and none has come for a
while, though Redis answers this process otherwise. One that hears would have had the first of them within its next pop.
"""

from __future__ import annotations

#: At the most so much is counted from one look to the next: a process that was stopped, or a machine too busy to look, says
#: nothing about its consumer.
MOST_COUNTED_SECONDS = 2.0


class Deafness:
    """To be looked at again and again; `seconds` is how long it may go on before it is believed."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._looked_at = now
        self._taken = 0
        self._counted = 0.0

    def excuse(self, now: float) -> None:
        """Nothing can be expected of it at present: it has not begun, is to stop, or Redis does not answer."""
        self._looked_at, self._counted = now, 0.0

    def look(self, now: float, *, waiting: int, holds: int, could_hold: int, taken: int) -> bool:
        """Whether it is deaf. waiting: tickets in its lanes. taken: how many it has been given since it began."""
        passed = min(now - self._looked_at, MOST_COUNTED_SECONDS)
        self._looked_at = now
        idle = waiting > 0 and holds < could_hold and taken == self._taken
        self._taken = taken
        self._counted = self._counted + passed if idle else 0.0
        return self._counted >= self._seconds

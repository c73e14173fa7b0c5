"""Whether the threads of this process still turn: what a restart would help against, and nothing else.

Redis that is away, and workers that are gone, are no reason to start this process again: its threads know of it, and wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: None of them waits for longer before it turns again, whatever Redis does: a connection is given up after 3 s, a script
#: after 4, and tried twice at the most.
WEDGED_SECONDS = 30.0


class Liveness:
    """turns: of each thread, by name, when it has turned last, on `clock`."""

    def __init__(
        self, turns: Mapping[str, Callable[[], float]] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._turns, self._clock = dict(turns or {}), clock

    def ailing(self) -> dict[str, str]:
        """What is the matter with those that no longer turn, by name."""
        silent = {name: self._clock() - turned_at() for name, turned_at in self._turns.items()}
        return {
            name: f"has not turned for {seconds:.0f} s" for name, seconds in silent.items() if seconds > WEDGED_SECONDS
        }

"""Whether the threads of this process still turn: what a restart would help against, and nothing else.

Redis that is away, and workers that are gone, are no reason to start this process again: its threads know of it, and wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: None of them waits for longer before it turns again, whatever Redis does: a connection is given up after 3 s, a script
#: after 4, and tried twice at the most.
WEDGED_SECONDS = 30.0
#: And it is given so long again from when that is first seen: a whole process that was stopped, or a machine that slept,
#: has threads that have not turned for long and are well.
GRACE_SECONDS = 10.0


class Liveness:
    """turns: of each thread, by name, when it has turned last, on `clock`."""

    def __init__(
        self, turns: Mapping[str, Callable[[], float]] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._turns, self._clock = dict(turns or {}), clock
        #: Thread -> its last turn, and when it was first seen to be so long ago.
        self._suspects: dict[str, tuple[float, float]] = {}

    def ailing(self) -> dict[str, str]:
        """What is the matter with those that no longer turn, by name. To be asked again and again: one is named when it is
        found so twice.
        """
        now, found = self._clock(), {}
        for name, turned in self._turns.items():
            turned_at = turned()
            if now - turned_at <= WEDGED_SECONDS:
                continue
            if self._suspects.get(name, (None, 0.0))[0] != turned_at:
                self._suspects[name] = turned_at, now
            if now - self._suspects[name][1] >= GRACE_SECONDS:
                found[name] = f"has not turned for {now - turned_at:.0f} s"
        return found

"""The thread that notices a step that hangs: a kernel that never returns, a GPU or a network disk that is gone.

Nothing inside the process can end such a step, so whoever is told ends the process: its leases expire, and others go on.
It sees what waits outside Python, as llama.cpp and a blocked write do; a thread that never gives up the interpreter's lock
would stop the watchdog, too, and with it the keeper, whose leases then expire all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: How often a step is looked at.
CHECK_SECONDS = 1.0
#: At the most so much is counted from one look to the next: a process that was stopped (SIGSTOP, a debugger, a paused
#: virtual machine) was not hanging.
MOST_COUNTED_SECONDS = 5.0


@contextmanager
def watched(
    busy_since: Callable[[], float | None], step_seconds: float, on_hang: Callable[[float], None]
) -> Iterator[None]:
    """While the block lasts a thread looks at the steps in it, as `Watchdog` does."""
    watchdog = Watchdog(busy_since, step_seconds, on_hang)
    thread = threading.Thread(target=watchdog.run, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.stop()
        thread.join()


class Watchdog:
    """`busy_since` answers when the step that runs now began, by `clock`; None while nothing runs. `on_hang` is told once
    for a step, from this thread, how many seconds ago it began.
    """

    def __init__(
        self,
        busy_since: Callable[[], float | None],
        step_seconds: float,
        on_hang: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._busy_since = busy_since
        self._step_seconds = step_seconds
        self._on_hang = on_hang
        self._clock = clock
        self._checked_at = clock()
        self._began_at: float | None = None
        self._watched_seconds = 0.0
        self._told = False
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped.wait(min(CHECK_SECONDS, self._step_seconds / 4)):
            self.check()

    def stop(self) -> None:
        self._stopped.set()

    def check(self) -> None:
        """Looks once."""
        began_at, now = self._busy_since(), self._clock()
        passed = min(now - self._checked_at, MOST_COUNTED_SECONDS)
        self._checked_at = now
        if began_at is None or began_at != self._began_at:
            self._began_at, self._watched_seconds, self._told = began_at, 0.0, False
        if began_at is None or self._told:
            return
        self._watched_seconds += min(passed, now - began_at)
        if self._watched_seconds > self._step_seconds:
            self._told = True
            self._on_hang(now - began_at)

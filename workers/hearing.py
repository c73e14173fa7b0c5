"""What this worker's consumer is given, and whether it still hears: looked at with every beat of the keeper."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tropilla.common.errors import StoreUnavailable
from tropilla.workers.deafness import Deafness


class Hearing:
    """`could_hold`: tickets at once. `waiting` answers how many wait in its lanes, and may raise `StoreUnavailable`.
    `on_deaf` is told once.
    """

    def __init__(
        self,
        seconds: float,
        *,
        could_hold: int,
        waiting: Callable[[], int],
        on_deaf: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._could_hold, self._waiting, self._on_deaf, self._clock = could_hold, waiting, on_deaf, clock
        self._deafness = Deafness(seconds, clock())
        self._lock = threading.Lock()
        #: Guarded by the lock.
        self._holds = self._taken = 0
        self._begun = self._told = False

    def begin(self) -> None:
        """From here on it pulls; before, it may take as long as it likes to start."""
        self._begun = True

    @contextmanager
    def ticket(self) -> Iterator[None]:
        """One that it was given, while that is served."""
        with self._lock:
            self._taken += 1
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1

    def check(self, *, pulls: bool) -> None:
        """Looks once. pulls: it is to, and has not been told to stop. Raises `StoreUnavailable`."""
        if self._told:
            return
        if not (pulls and self._begun):
            self._deafness.excuse(self._clock())
            return
        with self._lock:
            holds, taken = self._holds, self._taken
        try:
            # Asked after that: what comes in between makes it look busier, never deafer.
            waiting = self._waiting() if holds < self._could_hold else 0
        except StoreUnavailable:
            self._deafness.excuse(self._clock())
            raise
        deaf = self._deafness.look(
            self._clock(), waiting=waiting, holds=holds, could_hold=self._could_hold, taken=taken
        )
        if deaf:
            self._told = True
            self._on_deaf()

"""What this process has counted on its way to where all processes add up, and the way back to whoever reads.

Once a second, so that a request costs Redis nothing; a process that is killed loses the counts of its last second.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from tropilla.common.errors import StoreUnavailable
from tropilla.common.metrics import Counts, Key, Load, Queued, Reading, Standing, Tally

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0


class Store(Protocol):
    """What the counters need of `bus.Bus`."""

    def add_counts(self, counts: Counts) -> None: ...
    def counts(self) -> Counts: ...
    def loads(self) -> tuple[Load, ...]: ...


class Gauges(Protocol):
    """What they need of `gauges.Gauges`."""

    def queued(self) -> tuple[Queued, ...]: ...
    def standing(self) -> Standing: ...


class Alone:
    """A store of one process that is on its own."""

    def __init__(self) -> None:
        self._counts: dict[Key, float] = {}

    def add_counts(self, counts: Counts) -> None:
        for key, amount in counts.items():
            self._counts[key] = self._counts.get(key, 0.0) + amount

    def counts(self) -> Counts:
        return self._counts

    def loads(self) -> tuple[Load, ...]:
        return ()

    def queued(self) -> tuple[Queued, ...]:
        return ()

    def standing(self) -> Standing:
        return Standing(api_processes=1)


class Counters:
    """`tally` is what is counted into. `start` it once, or flush it by hand."""

    def __init__(self, store: Store | None = None, gauges: Gauges | None = None) -> None:
        self.tally = Tally()
        self._store = store or Alone()
        self._gauges = gauges or Alone()
        #: When its thread has come by last, on the clock that only goes forward.
        self.turned_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counters", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def flush(self) -> None:
        """Raises `StoreUnavailable`; then nothing is lost, and the next try takes it along."""
        self.tally.flush(self._store.add_counts)

    def read(self) -> Reading:
        """This process's own counts included. Raises `StoreUnavailable`."""
        self.flush()
        return Reading(self._store.counts(), self._gauges.queued(), self._store.loads(), self._gauges.standing())

    def _run(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self.turned_at = time.monotonic()
            try:
                self.flush()
            except StoreUnavailable as error:
                log.warning("counts wait: %s", error.message)

    def stop(self) -> None:
        """Flushes for the last time."""
        self._stopping.set()
        try:
            self.flush()
        except StoreUnavailable as error:
            log.warning("the last counts are lost: %s", error.message)

"""What is counted of a worker's own life: its starts, what it loads and lets go of, and how long that takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tropilla.common.bus import Bus
from tropilla.common.errors import StoreUnavailable
from tropilla.common.metrics import LOADS, Tally

log = logging.getLogger(__name__)


class Milestones:
    """Of one process. They are few, so each goes to Redis at once; one that cannot goes with the next."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tally = Tally()
        self._leaving: tuple[str, float] | None = None

    def started(self) -> None:
        self._tally.count("worker_starts")
        self._flush()

    def renewed(self) -> None:
        """It replaces itself by a fresh process, whose start is no sign of trouble."""
        self._tally.count("worker_renewals")
        self._flush()

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Around the loading of a model; what is raised in there is its failure."""
        began, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "loaded"
        finally:
            self._tally.observe("model_load", time.monotonic() - began, LOADS, model, label=outcome)
            self._flush()

    def letting_go(self, model: str) -> None:
        """Nobody gets a place with the model any more; what runs is finished."""
        self._leaving = self._leaving or (model, time.monotonic())

    def gone(self) -> None:
        """Nothing runs with it any more."""
        if self._leaving is not None:
            model, since = self._leaving
            self._tally.observe("model_unload", time.monotonic() - since, LOADS, model)
            self._leaving = None
            self._flush()

    def _flush(self) -> None:
        try:
            self._tally.flush(self._bus.add_counts)
        except StoreUnavailable as error:
            log.warning("a milestone is not counted yet: %s", error.message)

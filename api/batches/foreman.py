"""One process of the cluster runs batches: the foreman.

Every API process has one of these; an office that is held for a few seconds at a time makes one of them do it. A foreman
that was frozen and still thinks that it holds the office does no harm: whoever has taken a batch since is the only one who
can write to it (`book`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from tropilla.api.batches.book import Held
from tropilla.api.batches.lines import MOST_LINES
from tropilla.common import names
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import DecodeError, StoreUnavailable

log = logging.getLogger(__name__)

#: Whoever has not renewed it for so long has lost the office; it is renewed, or asked for, so often.
OFFICE_SECONDS, RENEW_SECONDS = 4.0, 1.0
#: Between two looks at which batches there are.
TURN_SECONDS = 0.25
#: A batch that broke is not taken again for so long.
PAUSE_SECONDS = 5.0
#: Between two looks at which files are over.
SWEEP_SECONDS = 600.0
#: So many batches are run at once, the oldest first: the others wait for their turn.
MOST_RUNS = 4
#: One that has not got on for so long while others wait gives its run to them, and is not taken again for so long.
STUCK_SECONDS, REST_SECONDS = 10.0, 60.0
#: Lines under way for each slot of a worker: one that runs, and one that is there when it ends. And in all, at the least (a
#: model that nobody has loaded yet is loaded only if somebody waits) and at the most.
LINES_PER_SLOT, LEAST_LINES = 2, 2


class Office(Protocol):
    """What is needed of `registry.Registry`."""

    def lead(self, office: str, who: str, *, seconds: float) -> bool: ...
    def resign(self, office: str, who: str) -> None: ...


class Book(Protocol):
    """What is needed of `book.Book`."""

    def open(self) -> frozenset[str]: ...
    def take(self, batch_id: str) -> Held | None: ...


class Running(Protocol):
    """What is needed of `run.Run`."""

    def run(self) -> None: ...
    def leave(self) -> None: ...
    @property
    def stuck(self) -> bool: ...


class Foreman:
    """`start` it once, or take its turns by hand. `name` is no other process's. `begin` makes the run of a batch that was
    taken; it gets how many lines may be under way. `sweep` gets the batches that are not over.
    """

    def __init__(
        self,
        office: Office,
        book: Book,
        name: str,
        begin: Callable[[Held, Callable[[], int]], Running],
        catalogue: Callable[[], Catalogue],
        sweep: Callable[[Collection[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._office, self._book, self._name = office, book, name
        self._begin, self._catalogue, self._sweep, self._clock = begin, catalogue, sweep, clock
        self._leads = False
        self._asked_at = self._swept_at = float("-inf")
        self._runs: dict[str, Running] = {}
        #: Batch -> when it may be taken again.
        self._paused: dict[str, float] = {}
        #: Batch -> since when it has been seen not to get on.
        self._stuck: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreman", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Somebody else goes on at once."""
        self._stopping.set()
        self._thread.join()
        self._leave()
        if self._leads:
            try:
                self._office.resign(names.BATCHES_OFFICE, self._name)
            except StoreUnavailable as error:
                log.warning("the office of batches is not given up: %s", error.message)

    @property
    def window(self) -> int:
        """How many lines of one batch may be under way."""
        slots = sum(worker.slots for worker in self._catalogue().workers if worker.state == "ready")
        share = slots * LINES_PER_SLOT // max(1, len(self._runs))
        return max(LEAST_LINES, min(MOST_LINES, share))

    def turn(self) -> None:
        """Sees to it that what is to be run is run; whoever does not hold the office only asks for it. Raises
        `StoreUnavailable`.
        """
        now = self._clock()
        if now - self._asked_at >= RENEW_SECONDS:
            self._leads = self._office.lead(names.BATCHES_OFFICE, self._name, seconds=OFFICE_SECONDS)
            self._asked_at = now
        if not self._leads:
            self._leave()
            return
        todo = self._book.open()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._sweep(todo)
            self._swept_at = now
        waiting = 0
        for batch_id in sorted(todo - self._runs.keys()):
            if self._paused.get(batch_id, now) > now:
                continue
            if len(self._runs) < MOST_RUNS:
                self._take(batch_id)
            else:
                waiting += 1
        self._make_room(waiting, now)

    def _make_room(self, waiting: int, now: float) -> None:
        """For so many batches, of those that do not get on: a key's limit of a day may hold one until midnight."""
        runs = dict(self._runs)
        self._stuck = {each: self._stuck.get(each, now) for each, run in runs.items() if run.stuck}
        for batch_id in [each for each, since in self._stuck.items() if now - since >= STUCK_SECONDS][:waiting]:
            log.info("batch %s does not get on, and lets others go first", batch_id)
            self._paused[batch_id] = now + REST_SECONDS
            runs[batch_id].leave()

    def _take(self, batch_id: str) -> None:
        held = self._book.take(batch_id)
        if held is None:
            return
        self._paused.pop(batch_id, None)
        run = self._runs[batch_id] = self._begin(held, lambda: self.window)
        thread = threading.Thread(target=self._see_through, args=(batch_id, run), name=f"run {batch_id}", daemon=True)
        thread.start()

    def _see_through(self, batch_id: str, run: Running) -> None:
        """Supervised: a batch that breaks is taken once more."""
        try:
            run.run()
        except StoreUnavailable as error:
            log.warning("batch %s stops for now: %s", batch_id, error.message)
        except Exception:
            self._paused[batch_id] = self._clock() + PAUSE_SECONDS
            log.exception("batch %s broke and is taken once more", batch_id)
        finally:
            self._runs.pop(batch_id, None)

    def _leave(self) -> None:
        for run in list(self._runs.values()):
            run.leave()

    def _run(self) -> None:
        while not self._stopping.wait(TURN_SECONDS):
            try:
                self.turn()
            except (StoreUnavailable, DecodeError) as error:
                # Somebody else may hold the office by now; if so, it has taken what runs here.
                self._leads, self._asked_at = False, float("-inf")
                log.warning("no batch is begun for now: %s", error.message)
            except Exception:
                log.exception("the foreman broke and goes on")

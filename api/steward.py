"""One process of the cluster sees to it that models are loaded where they are waited for: the steward.

Every API process has one of these; an office that is held for a few seconds at a time makes one of them do it. What it
knows beside what everybody can see is only since when: so whoever takes over loses no more than some patience.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from tropilla.api.planning import Memory, View, plan, remember
from tropilla.common.catalogue import PULLS, Lane
from tropilla.common.errors import DecodeError, StoreUnavailable
from tropilla.common.orders import Order
from tropilla.common.survey import Seen

log = logging.getLogger(__name__)

OFFICE = "steward"
#: Whoever has not renewed it for so long has lost the office; it is renewed, or asked for, so often.
OFFICE_SECONDS, RENEW_SECONDS = 4.0, 1.0
#: Between two looks; and at the least, whatever happens.
TURN_SECONDS, BREATH_SECONDS = 0.25, 0.05
#: Workers of the same pin notice sooner who was lost; this is for where there are none.
LOOK_AFTER_SECONDS = 5.0


class Office(Protocol):
    """What is needed of `registry.Registry`."""

    def lead(self, office: str, who: str, *, seconds: float) -> bool: ...
    def order(self, worker: str, order: Order) -> bool: ...


class Outlook(Protocol):
    """What is needed of `survey.Survey`."""

    def look(self) -> Seen: ...


class Steward:
    """`start` it once, or take its turns by hand. `name` is no other process's. `sweep` takes what nobody waits for any
    more out of a lane, and answers how many that were; `look_after_the_lost` lets requests wait again whose workers were
    lost, so that somebody loads their model.
    """

    def __init__(
        self,
        registry: Office,
        survey: Outlook,
        sweep: Callable[[str], int],
        look_after_the_lost: Callable[[], None],
        name: str,
        *,
        swap_seconds: float,
        turn_seconds: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._survey, self._sweep, self._name = registry, survey, sweep, name
        self._look_after_the_lost = look_after_the_lost
        self._looked_after_at = float("-inf")
        self._swap_seconds, self._turn_seconds, self._clock = swap_seconds, turn_seconds, clock
        self._memory = Memory()
        self._leads = False
        self._asked_at = float("-inf")
        #: When its thread has come by last, on the clock that only goes forward.
        self.turned_at = time.monotonic()
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steward", daemon=True)

    def start(self) -> None:
        self._awake.set()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._awake.set()
        self._thread.join()

    def wake(self) -> None:
        """Somebody waits for what nobody serves: the next look is now."""
        self._awake.set()

    def turn(self) -> None:
        """Looks, decides, orders; whoever does not hold the office only asks for it. Raises `StoreUnavailable`."""
        now = self._clock()
        if now - self._asked_at >= RENEW_SECONDS:
            self._take_office()
            self._asked_at = now
        if not self._leads:
            return
        if now - self._looked_after_at >= LOOK_AFTER_SECONDS:
            self._looked_after_at = now
            self._look_after_the_lost()
        view = self._view()
        self._memory = remember(view, now, self._memory)
        for worker, order in plan(view, now, self._memory, swap_seconds=self._swap_seconds):
            if self._registry.order(worker, order) and order.definition is not None:
                log.info("%s is to load %s", worker, order.definition.recipe.pin)

    def _take_office(self) -> None:
        leads = self._registry.lead(OFFICE, self._name, seconds=OFFICE_SECONDS)
        if leads and not self._leads:
            self._memory = Memory()
        self._leads = leads

    def _view(self) -> View:
        """Without the requests that nobody waits for any more."""
        seen = self._survey.look()
        waiting = dict(seen.waiting)
        ready = [worker for worker in seen.catalogue.workers if worker.state == "ready"]
        pulled = {Lane(worker.pin, flavour).name for worker in ready for flavour in PULLS[worker.flavour]}
        for lane in waiting.keys() - pulled:
            waiting[lane] = max(0, waiting[lane] - self._sweep(lane))
        return View(seen.catalogue, waiting, seen.orders)

    def _run(self) -> None:
        """Supervised: a cluster without a steward would load nothing any more."""
        while not self._stopping.wait(BREATH_SECONDS):
            self.turned_at = time.monotonic()
            self._awake.wait((self._turn_seconds if self._leads else RENEW_SECONDS) - BREATH_SECONDS)
            self._awake.clear()
            try:
                self.turn()
            except (StoreUnavailable, DecodeError) as error:
                # Somebody else may hold the office by now.
                self._leads, self._asked_at = False, float("-inf")
                log.warning("nothing is loaded for now: %s", error.message)
            except Exception:
                self._leads, self._asked_at, self._memory = False, float("-inf"), Memory()
                log.exception("the steward broke and starts again")

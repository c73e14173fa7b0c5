"""One model, pinned in this process: what loads it, and the threads that run it."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from tropilla.common import readiness, tracing
from tropilla.common.bus import Bus
from tropilla.common.catalogue import PULLS, Flavour, Lane, Worker
from tropilla.common.errors import StoreUnavailable
from tropilla.common.metrics import Tally
from tropilla.common.pictures import Pictures
from tropilla.common.room import Room
from tropilla.workers import leaving
from tropilla.workers.canary import Canary
from tropilla.workers.charge import Charge
from tropilla.workers.diary import Diary
from tropilla.workers.engine import Engine
from tropilla.workers.entry import Entry
from tropilla.workers.hearing import Hearing
from tropilla.workers.keeper import Keeper
from tropilla.workers.loop import Loop
from tropilla.workers.outcome import Outcome
from tropilla.workers.pace import Pace
from tropilla.workers.preparing import Preparations
from tropilla.workers.publisher import Publisher
from tropilla.workers.stay import FOR_EVER
from tropilla.workers.tickets import Submit, Tickets
from tropilla.workers.trouble import blamed
from tropilla.workers.usher import Usher
from tropilla.workers.watchdog import Watchdog, watched

log = logging.getLogger(__name__)

#: How long a worker told to stop may take to leave after its last request has ended.
LEAVE_SECONDS = 10.0
#: How often a deaf worker looks whether everything is given back.
HAND_OVER_POLL_SECONDS = 0.02


class Pin:
    """Loads what is charged; raises `CannotLoad` when llama.cpp will not have it. The keeper announces how far it is, and
    from here on minds this pin.
    """

    def __init__(self, charge: Charge, bus: Bus, keeper: Keeper) -> None:
        self._settings, self._bus, self._keeper, self._charge = charge.settings, bus, keeper, charge
        self.worker = keeper.worker
        self._diary = Diary(self.worker.name, tracing.collector(charge.settings, "worker", self.worker.name))
        self._tally = Tally()
        began = time.monotonic()
        with blamed("load_failed"):
            self._engine = Engine(
                charge.settings,
                charge.model.name,
                charge.path,
                charge.header,
                charge.size,
                gpu=charge.flavour == "gpu",
                adapters=charge.adapters,
                projector=charge.projector,
                read=Pictures(bus, charge.settings).read,
                tally=self._tally,
                on_progress=keeper.progress,
            )
        load_seconds = time.monotonic() - began
        self._pace = Pace(charge.model.name, self._tally, slots=charge.size.slots, cells=charge.size.cells)
        self._publisher = Publisher(
            bus,
            cancel=self.cancel,
            fence=self.fence,
            journal_seconds=self._settings.journal_seconds,
            orphan_seconds=self._settings.orphan_seconds,
        )
        self._preparations = Preparations()
        self._loop = self._proven_loop()
        self._watchdog = Watchdog(self._busy_since, self._settings.step_seconds, leaving.leave_hanging)
        self._room = Room(bus)
        self._usher = Usher(self._room, self._loop, lanes=self.lanes, holders=self.holders)
        self._tickets = self._ticket_holders(load_seconds)
        self.hearing = Hearing(
            self._settings.deaf_seconds,
            could_hold=self.holders,
            waiting=self._tickets_waiting,
            on_deaf=self._leave_deaf,
        )
        self._threads = [
            threading.Thread(target=leaving.or_die, args=(work,), name=thread_name, daemon=True)
            for thread_name, work in (
                ("loop", self._loop.run),
                ("publisher", self._publisher.run),
                ("watchdog", self._watchdog.run),
            )
        ]
        #: For good; and whether it takes no new tickets because it leaves, for good or not.
        self.told_to_stop = self.drains = False
        keeper.mind(self)

    def _ticket_holders(self, load_seconds: float) -> Tickets:
        definition, loop = self._charge.definition, self._loop
        return Tickets(
            self._bus,
            self._room,
            self._keeper,
            self._settings,
            Entry(
                self._bus,
                self._engine,
                loop,
                self._publisher,
                self._preparations,
                worker=self.worker.name,
                load_seconds=load_seconds,
            ),
            loop,
            self._usher,
            self._diary,
            heirs=self._heirs,
            keep_alive=FOR_EVER if definition.preload or definition.keeps else self._settings.keep_alive_seconds,
        )

    def _proven_loop(self) -> Loop:
        """One that has computed something. Raises `CannotLoad`."""
        settings = self._settings
        self._canary = Canary(self._publisher.put, seconds=settings.canary_seconds, step_seconds=settings.step_seconds)
        loop = self._engine.loop(self._canary.put, worker=self.worker.name, pace=self._pace)
        self._canary.mind(loop, lambda job: self._engine.probe(loop, job))
        with watched(lambda: loop.busy_since, settings.step_seconds, leaving.leave_hanging):
            self._canary.prove()
        return loop

    @property
    def lanes(self) -> tuple[str, ...]:
        """What this worker pulls from, first first: a gpu worker helps with the cpu lane, never the other way round."""
        return tuple(Lane(self.worker.pin, flavour).name for flavour in PULLS[self.worker.flavour])

    @property
    def holders(self) -> int:
        """How many tickets are held at once: one per slot, and two ready to take the next free one."""
        return self._settings.slots + 2

    @property
    def unwanted(self) -> bool:
        """Nobody has asked for the model for so long that it may go."""
        return self._tickets.unwanted

    def start(self, submit: Submit) -> None:
        """From here on tickets can be served, and the world knows."""
        self._tickets.open(submit)
        for thread in self._threads:
            thread.start()
        self._keeper.become("ready", model=self._charge.model, progress=1.0)
        readiness.tell()

    def serve(self, lane: str, ticket: str, tag: str) -> Outcome:
        """As `Tickets.serve`."""
        return self._tickets.serve(lane, ticket, tag)

    def drain(self, *, returns: bool = False) -> None:
        """No new tickets. What is here goes back into its lane: at once where another worker serves the model, else after
        the grace, in which some of it may end. In the end it leaves whatever happens: with a Redis that does not answer
        there is nobody left to be polite to.

        returns: a fresh process by this one's name comes in a moment, so requests may wait for it. Who is told to leave
        for good meanwhile does so.
        """
        if self.told_to_stop or (returns and self.drains):
            return
        self.told_to_stop = not returns
        self._keeper.become("draining", next_pin="", returns=returns)
        if self.drains:
            return
        self.drains = True
        self._usher.close()
        if self._heirs():
            self._hand_back()
        grace = self._settings.drain_seconds
        leaving.after(grace, self._give_up)
        leaving.after(grace + LEAVE_SECONDS, leaving.leave_at_once)

    def _heirs(self) -> list[Flavour]:
        """The flavours of the other workers that can go on with this one's requests, the faster first."""
        try:
            workers = self._bus.catalogue().workers
        except StoreUnavailable as error:
            log.warning("who else serves the model is not known: %s", error.message)
            return []
        me = self.worker
        others = {w.flavour for w in workers if w.serves(me.pin) and w.name != me.name}
        return [flavour for flavour in PULLS["gpu"] if flavour in others]

    def _hand_back(self) -> None:
        self._preparations.hand_back()
        self._loop.hand_back()

    def _busy_since(self) -> float | None:
        """Since when the step, or the piece of an image, is computed that has been for longest."""
        eyes = self._engine.eyes
        both = (self._loop.busy_since, eyes.busy_since if eyes else None)
        return min((since for since in both if since is not None), default=None)

    def _give_up(self) -> None:
        self._hand_back()
        self._publisher.stop_waiting()

    def _tickets_waiting(self) -> int:
        return sum(self._room.tickets(lane) for lane in self.lanes)

    def _leave_deaf(self) -> None:
        threading.Thread(target=self._hand_over, name="deaf", daemon=True).start()

    def _hand_over(self) -> None:
        """Gives back what runs, to whoever comes for it: the others, or this worker once it was started again. Not for
        longer than a drain takes; then the leases run out.
        """
        log.critical(
            "tickets wait in %s, and none has come for %g s", ", ".join(self.lanes), self._settings.deaf_seconds
        )
        self.told_to_stop = True
        self._keeper.become("draining", next_pin="", returns=True)
        self._hand_back()
        deadline = time.monotonic() + self._settings.drain_seconds
        while self._tickets.running and time.monotonic() < deadline:
            time.sleep(HAND_OVER_POLL_SECONDS)
        self._keeper.stop()
        leaving.leave_deaf()

    def close(self) -> None:
        """After the last ticket: frees the model."""
        self._loop.stop()
        self._threads[0].join()
        self._publisher.stop()
        self._threads[1].join()
        self._watchdog.stop()
        self._threads[2].join()
        self._engine.close()
        self._diary.close()

    # -- the keeper's ward --------------------------------------------------------------------------------------------

    def cancel(self, request_id: str) -> None:
        self._preparations.cancel(request_id)
        self._loop.cancel(request_id)

    def fence(self, request_id: str, attempt: int) -> None:
        self._preparations.fence(request_id, attempt)
        self._loop.fence(request_id, attempt)

    def arrived(self, notice: bytes) -> None:
        self._usher.hear(notice)

    def described(self, worker: Worker) -> Worker:
        size = self._charge.size
        return replace(
            self._tickets.described(worker),
            resident_bytes=size.resident_bytes,
            gpu_bytes=self._charge.gpu_bytes,
            sign=self._canary.sign,
        )

    def report(self) -> None:
        ready = self._keeper.worker.state == "ready"
        if ready and self._keeper.settled:
            self._tickets.look_after_the_lost()
            if self._tickets.running < self.holders:
                self._tickets.look_after_the_ticketless(self.lanes)
        if ready:
            self._usher.look()
            self._canary.look()
        self.hearing.check(pulls=ready)
        # Last: a Redis at its maxmemory takes no more counts.
        self._bus.report_load(self.worker.name, self._pace.load)
        self._tally.flush(self._bus.add_counts)

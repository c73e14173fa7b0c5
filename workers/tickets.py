"""One ticket after the other, each in a thread of Celery's: from the claim to the request's last event.

Every request is a visit to the pinned model, whatever it asks: while one is here, the model's time does not run (stay.py).
A visit that stands aside for somebody who deserves its place more (usher.py) is followed by that one's, on the same ticket.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tropilla.common import codec, logs
from tropilla.common.bus import Bus, Lease
from tropilla.common.catalogue import Flavour, Lane, Worker
from tropilla.common.errors import DecodeError, GenerationFailed, NewerMessage, StoreUnavailable, to_failed
from tropilla.common.generation import Event, Failed, Request, TokenizeRequest, images_of, new_request_id
from tropilla.common.room import Room, Taken
from tropilla.common.settings import Settings
from tropilla.common.terms import Newcomer, Told, ending
from tropilla.workers import outcome
from tropilla.workers.continuation import Past
from tropilla.workers.diary import Diary
from tropilla.workers.entry import Entry
from tropilla.workers.keeper import Held, Keeper
from tropilla.workers.loop import Job, Loop
from tropilla.workers.outcome import Outcome
from tropilla.workers.stay import Stay
from tropilla.workers.usher import Usher

log = logging.getLogger(__name__)

#: Puts a ticket with an id into a lane.
Submit = Callable[[Lane, str], None]
#: A request whose ticket is taken so soon after the model was loaded has, as far as can be told, waited for that.
WAITED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request while its holder minds it, from `lane`, until `job.ended`."""

    job: Job
    held: Held
    lane: str
    taken: Taken
    model: str
    #: When it was taken, on the diary's clock.
    began: float


class Tickets:
    """`heirs`: the flavours of other workers of the pin, the best first. keep_alive: as `Stay` has it."""

    def __init__(
        self,
        bus: Bus,
        room: Room,
        keeper: Keeper,
        settings: Settings,
        entry: Entry,
        loop: Loop,
        usher: Usher,
        diary: Diary,
        *,
        heirs: Callable[[], list[Flavour]],
        keep_alive: float,
    ) -> None:
        self._bus, self._room, self._keeper, self._settings = bus, room, keeper, settings
        self._entry, self._loop, self._usher, self._diary = entry, loop, usher, diary
        self._worker = keeper.worker
        self._heirs = heirs
        self._began = time.monotonic()
        self._suspects = threading.Lock()
        self._lock = threading.Lock()
        #: Guarded by the lock.
        self._stay = Stay(keep_alive, self._began)

    def open(self, submit: Submit) -> None:
        """From here on tickets may come."""
        self._submit_ticket = submit
        self._began = time.monotonic()

    @property
    def unwanted(self) -> bool:
        """Nobody has asked for the model for so long that it may go."""
        with self._lock:
            return self._stay.is_over(time.monotonic())

    @property
    def running(self) -> int:
        """Requests that are in a thread here."""
        with self._lock:
            return self._stay.running

    def described(self, worker: Worker) -> Worker:
        """The worker, with how much its model is asked for."""
        now = time.monotonic()
        with self._lock:
            stay = self._stay
            return replace(
                worker, running=stay.running, idle_seconds=stay.idle_seconds(now), expires_in=stay.expires_in(now)
            )

    def serve(self, lane: str, ticket: str, tag: str) -> Outcome:
        """For a ticket of the lane: runs whoever is next to the end; answers what came of it. Raises `NewerMessage` where
        only newer workers can read those who wait, and `StoreUnavailable`.
        """
        taken = self._take(lane)
        if taken.outcome == "empty":
            return outcome.nobody(self._told(ticket))
        with logs.about(logs.named(taken.request_id) if taken.request_id else ""):
            last, said = self._served(taken, lane, tag)
            came_to = outcome.served(self._told(last), said)
        return came_to if last == ticket else replace(came_to, text=f"{came_to.text} ({last})")

    def _served(self, taken: Taken, lane: str, tag: str) -> tuple[str, str]:
        """The id of the last request that this ticket was good for, and what is known of its end here."""
        match taken.outcome:
            case "newer":
                raise NewerMessage("those who wait are of a newer release", b"")
            case "crashed":
                self._diary.crashed(taken)
                log.error("request %s has cost its workers; `tropilla dead show` tells more", taken.request_id)
            case "claimed" | "suspect":
                visit = self._begun(taken, lane, tag)
                return (taken.request_id, visit) if isinstance(visit, str) else self._attend(visit)
        return taken.request_id, "failed:worker_crashed"

    def _told(self, request_id: str) -> Told | None:
        try:
            return self._room.told(request_id)
        except StoreUnavailable as error:
            log.warning("what became of request %s is not known: %s", request_id, error.message)
            return None

    def _take(self, lane: str, *, only: str = "") -> Taken:
        lease, journal = self._settings.lease_seconds, self._settings.journal_seconds
        return self._room.take(lane, worker=self._worker.name, lease_seconds=lease, journal_seconds=journal, only=only)

    def _begun(self, taken: Taken, lane: str, tag: str) -> Visit | str:
        """Where it has ended already, what came of it."""
        try:
            request = codec.decode_request(taken.payload)
        except DecodeError as error:
            log.error("request %s cannot be read: %s", taken.request_id, error.message)
            return self._conclude(taken, Failed(taken.next_index, "internal", "the request could not be read"))
        try:
            told = self._entry.past(request, taken)
        except DecodeError as error:
            log.error("request %s: what was said of it cannot be read: %s", request.id, error.message)
            return self._conclude(taken, Failed(taken.next_index, "internal", "the answer cannot be gone on with"))
        except GenerationFailed as failure:
            log.error("request %s cannot be gone on with: %s", request.id, failure.code)
            return self._conclude(taken, to_failed(failure, taken.next_index))
        images = tuple(image.digest for image in images_of(request))
        held = Held(Lease(request.id, self._worker.name, taken.attempt), tag, images)
        return self._visit(request, told, taken, held, lane)

    def look_after_the_lost(self) -> None:
        """What other workers of this pin were lost over waits again, also where nobody listens to it. Raises
        `StoreUnavailable`.
        """
        for lane in self._room.put_back_lost(self._worker.pin):
            log.warning("a request of %s, whose worker was lost, waits again", self._worker.pin)
            self._submit_ticket(lane, new_request_id())

    def look_after_the_ticketless(self, lanes: Sequence[str]) -> None:
        """Where somebody waits and there is no ticket, there is one now: an API process was killed between the two, or
        Redis gave it to a worker that was. One too many finds nobody. Raises `StoreUnavailable`.
        """
        for lane, waiting in self._room.waiting(lanes).items():
            if waiting and not self._room.tickets(lane):
                self._submit_ticket(Lane.named(lane), new_request_id())

    def _visit(self, request: Request, told: Past, taken: Taken, held: Held, lane: str) -> Visit | str:
        waited = time.monotonic() - self._began < WAITED_SECONDS
        job = Job(request.id, taken.attempt, request.choices - len(told.ended), taken.next_index)
        job.key, job.priority = taken.key, taken.priority
        job.load_seconds = self._entry.load_seconds if waited else 0.0
        visit = Visit(job, held, lane, taken, request.model, self._diary.clock())
        self._enter(visit, None if isinstance(request, TokenizeRequest) else request.keep_alive)
        try:
            if taken.outcome == "suspect":
                self._put_to_the_test(job, request, told)
            else:
                self._entry.submit(job, request, told)
        except StoreUnavailable:
            # As if this worker had been lost.
            self._leave(visit)
            raise
        except GenerationFailed as failure:
            job.outcome = f"failed: {failure.code}"
            self._leave(visit)
            return self._conclude(taken, to_failed(failure, taken.next_index))
        except Exception as error:
            # A bug of ours or of a template: the caller hears of it now instead of when the lease has run out.
            log.exception("request %s could not be prepared", request.id)
            message = f"the worker could not prepare the prompt: {type(error).__name__}"
            job.outcome = "failed: internal"
            self._leave(visit)
            return self._conclude(taken, Failed(taken.next_index, "internal", message))
        return visit

    def _put_to_the_test(self, job: Job, request: Request, told: Past) -> None:
        """For what may have killed its last worker: the next such request has its turn when this one got further than it
        did there. So whichever kills this worker is the only one to be blamed. Raises as `Entry.submit`, and
        `StoreUnavailable`.
        """
        with self._suspects:
            if not self._room.begin(job.request_id, job.attempt):
                job.be_taken_away()
                return
            log.warning("request %s may be what its last worker died of", job.request_id)
            self._entry.submit(job, request, told)
            job.begun.wait()

    def _enter(self, visit: Visit, keep_alive: float | None) -> None:
        with self._lock:
            changed = self._stay.began(keep_alive)
        if changed:
            # Whoever asks how long it stays, now that he has said so, is told that.
            self._keeper.tell()
        self._keeper.hold(visit.held)
        self._usher.enter(visit.job)

    def _leave(self, visit: Visit) -> None:
        self._usher.leave(visit.job)
        self._keeper.let_go(visit.held)
        with self._lock:
            self._stay.ended(time.monotonic())
        self._diary.over(visit.job, visit.taken, visit.model, visit.began)

    def _attend(self, visit: Visit) -> tuple[str, str]:
        """To the end of the request, and of all who had its place after it. Answers the last one's id, and what is known of
        it here.
        """
        self._look_around()
        while (follower := self._until_over(visit)) is not None:
            try:
                self._go_on_elsewhere(visit, ticket=follower.lane)
            except StoreUnavailable as error:
                log.warning("request %s is not handed back: %s", visit.job.request_id, error.message)
            self._look_around()
            log.info("request %s %s, for %s", visit.job.request_id, visit.job.outcome, follower.job.request_id)
            visit = follower
        self._go_on_elsewhere(visit)
        return visit.job.request_id, visit.job.outcome

    def _look_around(self) -> None:
        """Somebody may have come while places were changing hands, and have found nobody to be exchanged for."""
        try:
            self._usher.look()
        except StoreUnavailable as error:
            log.warning("who waits is not known: %s", error.message)

    def _until_over(self, visit: Visit) -> Visit | None:
        """Answers who has the visit's place then."""
        job, follower = visit.job, None
        while not job.ended.is_set():
            job.bell.wait()
            job.bell.clear()
            if job.rival is not None and follower is None and not job.ended.is_set():
                follower = self._follower(job.rival, visit)
                if follower is None:
                    job.rival = None
                else:
                    self._loop.stand_aside(job)
        self._leave(visit)
        return follower

    def _follower(self, newcomer: Newcomer, visit: Visit) -> Visit | None:
        """Who is to have the visit's place, if he still waits and is not done with at once."""
        try:
            taken = self._take(newcomer.lane, only=newcomer.request_id)
            with logs.about(logs.named(newcomer.request_id)):
                begun = None if taken.outcome == "empty" else self._begun(taken, newcomer.lane, visit.held.tag)
        except StoreUnavailable as error:
            log.warning("request %s cannot be taken: %s", newcomer.request_id, error.message)
            return None
        return begun if isinstance(begun, Visit) else None

    def _go_on_elsewhere(self, visit: Visit, *, ticket: str = "") -> None:
        """What has not ended here waits again. ticket: a lane with one too many. Raises `StoreUnavailable`: then it is as
        if this worker had been lost.
        """
        lease = visit.held.lease
        if visit.job.handed_back:
            self._hand_back(lease)
        elif visit.job.stood_aside and self._room.hand_back([lease], behind=True) and visit.lane != ticket:
            self._submit_ticket(Lane.named(visit.lane), lease.request_id)

    def _hand_back(self, lease: Lease) -> None:
        """Raises `StoreUnavailable`: then it is as if this worker had been lost."""
        heirs = self._heirs() or [self._worker.flavour]
        lane = Lane(self._worker.pin, heirs[0])
        if self._room.hand_back([lease], lane=lane):
            self._submit_ticket(lane, lease.request_id)

    def _conclude(self, taken: Taken, event: Event) -> str:
        payload, kept, outcome = codec.encode_event(event), self._settings.journal_seconds, ending(event)
        self._bus.conclude(taken.request_id, payload, outcome=outcome, attempt=taken.attempt, journal_seconds=kept)
        return outcome

"""One ticket after the other, each in a thread of Celery's: from the claim to the request's last event.

Every request is a visit to the pinned model, whatever it asks: while one is here, the model's time does not run (stay.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tropilla.common import codec
from tropilla.common.bus import Bus, Lease
from tropilla.common.catalogue import Flavour, Lane, Worker
from tropilla.common.errors import DecodeError, GenerationFailed, NewerMessage, StoreUnavailable, to_failed
from tropilla.common.generation import (
    EmbeddingRequest,
    Event,
    Failed,
    GenerationRequest,
    Loaded,
    LoadRequest,
    Request,
    Tokenized,
    TokenizeRequest,
    new_request_id,
)
from tropilla.common.room import Room, Taken
from tropilla.common.settings import Settings
from tropilla.common.terms import ending
from tropilla.workers.continuation import NOTHING, Past, past
from tropilla.workers.engine import Engine
from tropilla.workers.keeper import Held, Keeper
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.publisher import Publisher
from tropilla.workers.stay import Stay

log = logging.getLogger(__name__)

#: Puts a ticket with an id into a lane.
Submit = Callable[[Lane, str], None]
#: A request whose ticket is taken so soon after the model was loaded has, as far as can be told, waited for that.
WAITED_SECONDS = 1.0


class Tickets:
    """`heirs`: the flavours of other workers of the pin, the best first. keep_alive: as `Stay` has it."""

    def __init__(
        self,
        bus: Bus,
        room: Room,
        keeper: Keeper,
        settings: Settings,
        engine: Engine,
        loop: Loop,
        publisher: Publisher,
        *,
        heirs: Callable[[], list[Flavour]],
        keep_alive: float,
        load_seconds: float,
    ) -> None:
        self._bus, self._room, self._keeper, self._settings = bus, room, keeper, settings
        self._engine, self._loop, self._publisher = engine, loop, publisher
        self._worker = keeper.worker
        self._heirs = heirs
        self._load_seconds = load_seconds
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

    def serve(self, lane: str, ticket: str, tag: str) -> str:
        """For a ticket of the lane: runs whoever is next to the end; answers what came of it, in a few words. Raises
        `NewerMessage` where only newer workers can read those who wait, and `StoreUnavailable`.
        """
        settings = self._settings
        taken = self._room.take(
            lane,
            worker=self._worker.name,
            lease_seconds=settings.lease_seconds,
            journal_seconds=settings.journal_seconds,
        )
        match taken.outcome:
            case "empty":
                return "empty: nobody waits"
            case "newer":
                raise NewerMessage("those who wait are of a newer release", b"")
            case "crashed":
                log.error("request %s has cost its workers; `tropilla dead show` tells more", taken.request_id)
                said = "failed:worker_crashed"
            case "claimed" | "suspect":
                said = self._taken(taken, tag)
        return said if taken.request_id == ticket else f"{said} ({taken.request_id})"

    def _taken(self, taken: Taken, tag: str) -> str:
        try:
            request = codec.decode_request(taken.payload)
        except DecodeError as error:
            log.error("request %s cannot be read: %s", taken.request_id, error.message)
            return self._conclude(taken, Failed(taken.next_index, "internal", "the request could not be read"))
        return self._visit(request, taken, tag)

    def look_after_the_lost(self) -> None:
        """What other workers of this pin were lost over waits again, also where nobody listens to it. Raises
        `StoreUnavailable`.
        """
        for lane in self._room.put_back_lost(self._worker.pin):
            log.warning("a request of %s, whose worker was lost, waits again", self._worker.pin)
            self._submit_ticket(lane, new_request_id())

    def _visit(self, request: Request, taken: Taken, tag: str) -> str:
        with self._lock:
            changed = self._stay.began(None if isinstance(request, TokenizeRequest) else request.keep_alive)
        if changed:
            # Whoever asks how long it stays, now that he has said so, is told that.
            self._keeper.tell()
        try:
            return self._run(request, taken, tag)
        finally:
            with self._lock:
                self._stay.ended(time.monotonic())

    def _run(self, request: Request, taken: Taken, tag: str) -> str:
        try:
            told = self._past(request, taken)
        except DecodeError as error:
            log.error("request %s: what was said of it cannot be read: %s", request.id, error.message)
            return self._conclude(taken, Failed(taken.next_index, "internal", "the answer cannot be gone on with"))
        except GenerationFailed as failure:
            log.error("request %s: %s", request.id, failure.message)
            return self._conclude(taken, to_failed(failure, taken.next_index))
        waited = time.monotonic() - self._began < WAITED_SECONDS
        job = Job(request.id, taken.attempt, request.choices - len(told.ended), taken.next_index)
        job.key, job.priority = taken.key, taken.priority
        job.load_seconds = self._load_seconds if waited else 0.0
        held = Held(Lease(request.id, self._worker.name, taken.attempt), tag)
        self._keeper.hold(held)
        try:
            if taken.outcome == "suspect":
                self._put_to_the_test(job, request, told)
            else:
                self._submit(job, request, told)
        except StoreUnavailable:
            # As if this worker had been lost.
            raise
        except GenerationFailed as failure:
            return self._conclude(taken, to_failed(failure, taken.next_index))
        except Exception as error:
            # A bug of ours or of a template: the caller hears of it now instead of when the lease has run out.
            log.exception("request %s could not be prepared", request.id)
            message = f"the worker could not prepare the prompt: {type(error).__name__}"
            return self._conclude(taken, Failed(taken.next_index, "internal", message))
        else:
            job.ended.wait()
        finally:
            self._keeper.let_go(held)
        if job.handed_back:
            self._hand_back(held.lease)
        return job.outcome

    def _hand_back(self, lease: Lease) -> None:
        """Raises `StoreUnavailable`: then it is as if this worker had been lost."""
        heirs = self._heirs() or [self._worker.flavour]
        lane = Lane(self._worker.pin, heirs[0])
        if self._room.hand_back([lease], lane=lane):
            self._submit_ticket(lane, lease.request_id)

    def _past(self, request: Request, taken: Taken) -> Past:
        """What a worker before this one has said. Raises `StoreUnavailable`, and `GenerationFailed` where not all of it is
        there any more.
        """
        if not taken.next_index:
            return NOTHING
        log.info("request %s goes on at event %d, attempt %d", request.id, taken.next_index, taken.attempt)
        journal = self._bus.read_journal(request.id)
        if [item.index for item in journal] != list(range(taken.next_index)):
            # A fail-over of Redis lost what it had acknowledged: nothing is built on a text with a hole.
            raise GenerationFailed("a part of the answer was lost in the queue", code="worker_lost")
        return past(codec.decode_event(item.index, item.payload) for item in journal)

    def _put_to_the_test(self, job: Job, request: Request, told: Past) -> None:
        """For what may have killed its last worker: the next such request has its turn when this one got further than it
        did there. So whichever kills this worker is the only one to be blamed. Raises as `_submit`, and
        `StoreUnavailable`.
        """
        with self._suspects:
            if not self._room.begin(job.request_id, job.attempt):
                job.be_taken_away()
                return
            log.warning("request %s may be what its last worker died of", job.request_id)
            self._submit(job, request, told)
            job.begun.wait()

    def _submit(self, job: Job, request: Request, told: Past) -> None:
        match request:
            case GenerationRequest():
                sequences = self._engine.sequences(request, told)
                # The choices of a prompt share it.
                job.answers = request.n
                job.prompt_tokens = sum(one.prompt_length for one in sequences if one.choice % request.n == 0)
                self._loop.submit(job, sequences)
            case EmbeddingRequest():
                inputs = self._engine.inputs(request)
                job.prompt_tokens = sum(map(len, inputs))
                self._loop.embed(job, inputs, dimensions=request.dimensions, normalize=request.normalize)
            case TokenizeRequest():
                self._publisher.put(self._tokenized(job, request))
            case LoadRequest():
                job.outcome = "loaded"
                loaded = Loaded(job.number(), 0, self._load_seconds, self._worker.name)
                self._publisher.put([Outgoing(job, loaded, ends=True)])

    def _tokenized(self, job: Job, request: TokenizeRequest) -> list[Outgoing]:
        """Nothing to compute: the ticket's own thread answers."""
        prompts = self._engine.tokenized(request)
        job.outcome = f"{sum(len(tokens) for tokens, _ in prompts)} tokens counted"
        events = [
            Tokenized(job.number(), place, tokens, text, self._worker.name)
            for place, (tokens, text) in enumerate(prompts)
        ]
        return [Outgoing(job, event, ends=event is events[-1]) for event in events]

    def _conclude(self, taken: Taken, event: Event) -> str:
        payload, kept, outcome = codec.encode_event(event), self._settings.journal_seconds, ending(event)
        self._bus.conclude(taken.request_id, payload, outcome=outcome, attempt=taken.attempt, journal_seconds=kept)
        return outcome

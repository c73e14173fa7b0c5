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
from tropilla.common.bus import MAX_LOST_WORKERS, Bus, Claim, Lease
from tropilla.common.catalogue import Flavour, Lane, Worker
from tropilla.common.errors import DecodeError, GenerationFailed, to_failed
from tropilla.common.generation import (
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    Loaded,
    LoadRequest,
    Request,
    Tokenized,
    TokenizeRequest,
    Usage,
)
from tropilla.common.settings import Settings
from tropilla.workers.continuation import NOTHING, Past, past
from tropilla.workers.engine import Engine
from tropilla.workers.keeper import Held, Keeper
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.publisher import Publisher
from tropilla.workers.stay import Stay

log = logging.getLogger(__name__)

#: A request whose ticket is taken so soon after the model was loaded has, as far as can be told, waited for that.
WAITED_SECONDS = 1.0


class Tickets:
    """`heirs`: the flavours of other workers of the pin, the best first. keep_alive: as `Stay` has it."""

    def __init__(
        self,
        bus: Bus,
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
        self._bus, self._keeper, self._settings = bus, keeper, settings
        self._engine, self._loop, self._publisher = engine, loop, publisher
        self._worker = keeper.worker
        self._heirs = heirs
        self._load_seconds = load_seconds
        self._began = time.monotonic()
        self._lock = threading.Lock()
        #: Guarded by the lock.
        self._stay = Stay(keep_alive, self._began)

    def open(self, submit: Callable[[Request, Lane], None]) -> None:
        """From here on tickets may come. submit: puts a ticket into a lane."""
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

    def serve(self, request: Request, tag: str) -> str:
        """Runs one ticket's request to its end; answers what came of it, in a few words. Raises `StoreUnavailable`."""
        claim = self._bus.claim(request.id, worker=self._worker.name, lease_seconds=self._settings.lease_seconds)
        match claim.outcome:
            case "held" | "ended":
                return f"{claim.outcome}: a second delivery"
            case "cancelled":
                return self._conclude(
                    request, claim, Finished(claim.next_index, 0, "cancelled", Usage(0, 0, 0), seed=0)
                )
            case "crashed":
                message = f"{MAX_LOST_WORKERS} workers were lost while they ran this request; it is not tried again"
                return self._conclude(request, claim, Failed(claim.next_index, "worker_lost", message))
            case "claimed":
                return self._visit(request, claim, tag)

    def _visit(self, request: Request, claim: Claim, tag: str) -> str:
        with self._lock:
            changed = self._stay.began(None if isinstance(request, TokenizeRequest) else request.keep_alive)
        if changed:
            # Whoever asks how long it stays, now that he has said so, is told that.
            self._keeper.tell()
        try:
            return self._run(request, claim, tag)
        finally:
            with self._lock:
                self._stay.ended(time.monotonic())

    def _run(self, request: Request, claim: Claim, tag: str) -> str:
        try:
            told = self._past(request, claim)
        except DecodeError as error:
            log.error("request %s: what was said of it cannot be read: %s", request.id, error.message)
            return self._conclude(
                request, claim, Failed(claim.next_index, "internal", "the answer cannot be gone on with")
            )
        waited = time.monotonic() - self._began < WAITED_SECONDS
        job = Job(request.id, claim.attempt, claim.inbox, request.choices - len(told.ended), claim.next_index)
        job.load_seconds = self._load_seconds if waited else 0.0
        held = Held(Lease(request.id, self._worker.name, claim.attempt), tag)
        self._keeper.hold(held)
        try:
            self._submit(job, request, told)
        except GenerationFailed as failure:
            return self._conclude(request, claim, to_failed(failure, claim.next_index))
        except Exception as error:
            # A bug of ours or of a template: the caller hears of it now instead of when the lease has run out.
            log.exception("request %s could not be prepared", request.id)
            message = f"the worker could not prepare the prompt: {type(error).__name__}"
            return self._conclude(request, claim, Failed(claim.next_index, "internal", message))
        else:
            job.ended.wait()
        finally:
            self._keeper.let_go(held)
        if job.handed_back:
            self._hand_back(request, held.lease)
        return job.outcome

    def _hand_back(self, request: Request, lease: Lease) -> None:
        """Raises `StoreUnavailable`: then the ticket itself goes back."""
        if self._bus.hand_back([lease]):
            heirs = self._heirs() or [self._worker.flavour]
            self._submit_ticket(request, Lane(self._worker.pin, heirs[0]))

    def _past(self, request: Request, claim: Claim) -> Past:
        """What a worker before this one has said. Raises `StoreUnavailable`."""
        if not claim.next_index:
            return NOTHING
        log.info("request %s goes on at event %d, attempt %d", request.id, claim.next_index, claim.attempt)
        return past(codec.decode_event(item.index, item.payload) for item in self._bus.read_journal(request.id))

    def _submit(self, job: Job, request: Request, told: Past) -> None:
        match request:
            case GenerationRequest():
                self._loop.submit(job, self._engine.sequences(request, told))
            case EmbeddingRequest():
                inputs = self._engine.inputs(request)
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

    def _conclude(self, request: Request, claim: Claim, event: Event) -> str:
        payload, kept = codec.encode_event(event), self._settings.journal_seconds
        self._bus.conclude(request.id, payload, attempt=claim.attempt, journal_seconds=kept)
        return f"failed: {event.code}" if isinstance(event, Failed) else "cancelled"

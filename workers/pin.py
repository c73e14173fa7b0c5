"""One model, pinned in this process: what loads it, runs it, and answers for one ticket at a time per slot."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from tropilla.common import codec
from tropilla.common.bus import MAX_LOST_WORKERS, Bus, Claim, Lease
from tropilla.common.catalogue import PULLS, Flavour, Lane, Worker
from tropilla.common.errors import ConfigurationError, DecodeError, GenerationFailed, StoreUnavailable, to_failed
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
from tropilla.common.gguf import read_header
from tropilla.common.metrics import Tally
from tropilla.common.settings import Settings
from tropilla.workers import leaving
from tropilla.workers.adapters import named_adapters, read_adapters
from tropilla.workers.card import describe, named_model
from tropilla.workers.continuation import NOTHING, Past, past
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.keeper import Held, Keeper
from tropilla.workers.llama.library import check_flavour
from tropilla.workers.loop import Job, Outgoing
from tropilla.workers.pace import Pace
from tropilla.workers.publisher import Publisher
from tropilla.workers.watchdog import Watchdog

log = logging.getLogger(__name__)

#: How long a worker told to stop may take to leave after its last request has ended.
LEAVE_SECONDS = 10.0


class Pin:
    """Raises `ConfigurationError` with one sentence when the model cannot be served here."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        flavour: Flavour = "gpu" if settings.flavour == "gpu" else "cpu"
        check_flavour(flavour)
        self._settings = settings
        self._bus = bus
        name, path = named_model(settings.model)
        header = read_header(path)
        adapters = named_adapters(settings.adapters)
        size = size_of(
            settings, header, gpu=flavour == "gpu", adapters=read_adapters(adapters, name=name, model=header)
        )
        self.worker = Worker(
            name=f"{settings.worker_name or f'{flavour}-{os.getpid()}'}@{socket.gethostname()}",
            flavour=flavour,
            state="loading",
            slots=settings.slots,
            model=describe(name, path, header, size.context, adapters),
        )
        self._tally = Tally()
        self._pace = Pace(name, self._tally)
        self._keeper = Keeper(
            bus,
            self.worker,
            cancel=self._cancel,
            fence=self._fence,
            lease_seconds=settings.lease_seconds,
            report=self._report,
        )
        self._keeper.start()
        began = time.monotonic()
        try:
            self._engine = Engine(settings, name, path, header, size, gpu=flavour == "gpu", adapters=adapters)
        except ConfigurationError:
            self._keeper.stop()
            raise
        self._load_seconds = time.monotonic() - began
        self._publisher = Publisher(
            bus,
            cancel=self._cancel,
            fence=self._fence,
            journal_seconds=settings.journal_seconds,
            orphan_seconds=settings.orphan_seconds,
        )
        self._loop = self._engine.loop(self._publisher.put, worker=self.worker.name, pace=self._pace)
        self._watchdog = Watchdog(lambda: self._loop.busy_since, settings.step_seconds, leaving.leave_hanging)
        self._threads = [
            threading.Thread(target=leaving.or_die, args=(work,), name=thread_name, daemon=True)
            for thread_name, work in (
                ("loop", self._loop.run),
                ("publisher", self._publisher.run),
                ("watchdog", self._watchdog.run),
            )
        ]

    @property
    def lanes(self) -> tuple[str, ...]:
        """What this worker pulls from, first first: a gpu worker helps with the cpu lane, never the other way round."""
        return tuple(Lane(self.worker.pin, flavour).name for flavour in PULLS[self.worker.flavour])

    @property
    def holders(self) -> int:
        """How many tickets are held at once: one per slot, and two ready to take the next free one."""
        return self._settings.slots + 2

    def start(self, submit: Callable[[Request, Lane], None]) -> None:
        """From here on tickets can be served, and the world knows. submit: puts a ticket into a lane."""
        self._submit_ticket = submit
        for thread in self._threads:
            thread.start()
        self._keeper.become("ready")

    def drain(self) -> None:
        """No new tickets. Where another worker serves the model, he goes on with what runs here, at once; else what still
        runs after the grace ends with an error. In the end it leaves whatever happens: with a Redis that does not answer
        there is nobody left to be polite to.
        """
        self._keeper.become("draining")
        if self._heirs():
            self._loop.hand_back()
        grace = self._settings.drain_seconds
        leaving.after(grace, self._end_all)
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

    def _end_all(self) -> None:
        self._loop.fail_all("shutting_down", "the worker was shut down before it had finished")
        self._publisher.stop_waiting()

    def close(self) -> None:
        """After the last ticket: says good-bye and frees the model."""
        self._loop.stop()
        self._threads[0].join()
        self._publisher.stop()
        self._threads[1].join()
        self._watchdog.stop()
        self._threads[2].join()
        self._keeper.stop()
        self._engine.close()

    # The keeper runs before there is a loop (presence is announced while loading), and holds nothing until there is.
    def _cancel(self, request_id: str) -> None:
        self._loop.cancel(request_id)

    def _fence(self, request_id: str, attempt: int) -> None:
        self._loop.fence(request_id, attempt)

    def _report(self) -> None:
        self._bus.report_load(self.worker.name, self._pace.load)
        self._tally.flush(self._bus.add_counts)

    def serve(self, request: Request, tag: str) -> str:
        """Runs one ticket's request to its end; answers what came of it, in a few words. Raises `StoreUnavailable`."""
        claim = self._bus.claim(request.id, worker=self.worker.name, lease_seconds=self._settings.lease_seconds)
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
                return self._run(request, claim, tag)

    def _run(self, request: Request, claim: Claim, tag: str) -> str:
        try:
            told = self._past(request, claim)
        except DecodeError as error:
            log.error("request %s: what was said of it cannot be read: %s", request.id, error.message)
            return self._conclude(
                request, claim, Failed(claim.next_index, "internal", "the answer cannot be gone on with")
            )
        job = Job(request.id, claim.attempt, claim.inbox, request.choices - len(told.ended), claim.next_index)
        held = Held(Lease(request.id, self.worker.name, claim.attempt), tag)
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
            heirs = self._heirs() or [self.worker.flavour]
            self._submit_ticket(request, Lane(self.worker.pin, heirs[0]))

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
                loaded = Loaded(job.number(), 0, self._load_seconds, self.worker.name)
                self._publisher.put([Outgoing(job, loaded, ends=True)])

    def _tokenized(self, job: Job, request: TokenizeRequest) -> list[Outgoing]:
        """Nothing to compute: the ticket's own thread answers."""
        prompts = self._engine.tokenized(request)
        job.outcome = f"{sum(len(tokens) for tokens, _ in prompts)} tokens counted"
        events = [
            Tokenized(job.number(), place, tokens, text, self.worker.name)
            for place, (tokens, text) in enumerate(prompts)
        ]
        return [Outgoing(job, event, ends=event is events[-1]) for event in events]

    def _conclude(self, request: Request, claim: Claim, event: Event) -> str:
        payload, kept = codec.encode_event(event), self._settings.journal_seconds
        self._bus.conclude(request.id, payload, attempt=claim.attempt, journal_seconds=kept)
        return f"failed: {event.code}" if isinstance(event, Failed) else "cancelled"

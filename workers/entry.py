"""How a request gets into the pinned model: what was said of it before, its prompt, and where it goes from there.

In the ticket holder's own thread: a long prompt never stalls running streams.
"""

from __future__ import annotations

import logging

from tropilla.common import codec
from tropilla.common.bus import Bus
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import (
    EmbeddingRequest,
    Finished,
    GenerationRequest,
    Loaded,
    LoadRequest,
    Request,
    Tokenized,
    TokenizeRequest,
    Usage,
)
from tropilla.common.room import Taken
from tropilla.workers.continuation import NOTHING, Past, past
from tropilla.workers.engine import Engine
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.preparing import Preparations, Stopped, Why
from tropilla.workers.publisher import Publisher

log = logging.getLogger(__name__)


class Entry:
    """`worker` is what this one is called, and `load_seconds` what loading the model took."""

    def __init__(
        self,
        bus: Bus,
        engine: Engine,
        loop: Loop,
        publisher: Publisher,
        preparations: Preparations,
        *,
        worker: str,
        load_seconds: float,
    ) -> None:
        self._bus, self._engine, self._loop, self._publisher = bus, engine, loop, publisher
        self._worker = worker
        #: What takes so long that it may be ended meanwhile.
        self._preparations = preparations
        self.load_seconds = load_seconds

    def past(self, request: Request, taken: Taken) -> Past:
        """What a worker before this one has said. Raises `StoreUnavailable` and `DecodeError`, and `GenerationFailed` where
        not all of it is there any more.
        """
        if not taken.next_index:
            return NOTHING
        log.info("request %s goes on at event %d, attempt %d", request.id, taken.next_index, taken.attempt)
        journal = self._bus.read_journal(request.id)
        if [item.index for item in journal] != list(range(taken.next_index)):
            # A fail-over of Redis lost what it had acknowledged: nothing is built on a text with a hole.
            raise GenerationFailed("a part of the answer was lost in the queue", code="worker_lost")
        return past(codec.decode_event(item.index, item.payload) for item in journal)

    def submit(self, job: Job, request: Request, told: Past) -> None:
        """From here on the job's events come by themselves. Raises `GenerationFailed`s."""
        match request:
            case GenerationRequest():
                try:
                    with self._preparations.of(job) as go_on:
                        sequences = self._engine.sequences(request, told, go_on=go_on)
                except Stopped as stopped:
                    self._stopped(stopped.why, job, request, told)
                    return
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
                loaded = Loaded(job.number(), 0, self.load_seconds, self._worker)
                self._publisher.put([Outgoing(job, loaded, ends=True)])

    def _stopped(self, why: Why, job: Job, request: GenerationRequest, told: Past) -> None:
        """As the loop would have it: nothing of it is computed yet."""
        log.info("request %s: %s before it was prepared", request.id, why)
        match why:
            case "fenced":
                job.be_taken_away()
            case "handed back":
                job.hand_back()
            case "cancelled":
                choices = [choice for choice in range(request.choices) if choice not in told.ended]
                job.outcome = "cancelled before it was prepared"
                said = [len(told.said.get(choice, ())) for choice in choices]
                job.finished += [
                    Finished(job.number(), choice, "cancelled", Usage(0, 0, tokens), seed=request.sampling.seed)
                    for choice, tokens in zip(choices, said, strict=True)
                ]
                self._publisher.put([Outgoing(job, event, ends=event is job.finished[-1]) for event in job.finished])

    def _tokenized(self, job: Job, request: TokenizeRequest) -> list[Outgoing]:
        """Nothing to compute: the ticket's own thread answers."""
        prompts = self._engine.tokenized(request)
        job.outcome = f"{sum(len(tokens) for tokens, _ in prompts)} tokens counted"
        events = [
            Tokenized(job.number(), place, tokens, text, self._worker) for place, (tokens, text) in enumerate(prompts)
        ]
        return [Outgoing(job, event, ends=event is events[-1]) for event in events]

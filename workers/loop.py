"""The one thread that owns model and scheduler. Others post to its inbox; so there are no locks.

A turn of the loop: take what was posted, plan, evaluate, sample, apply, and hand every event of the step to the outbox in
one list. Events carry their job, so that whoever publishes them knows the attempt and can tell the ticket holder when the
last one is safe.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any, Protocol

from tropilla.common.errors import GenerationFailed, to_failed
from tropilla.common.generation import Alternative, Event, FailureCode, Prompted
from tropilla.workers.scheduler import Chunk, Scheduler
from tropilla.workers.sequence import Sampled, Sequence

log = logging.getLogger(__name__)


class Vocabulary(Protocol):
    def piece(self, token: int) -> bytes: ...
    def is_marker(self, token: int) -> bool: ...
    def ends_turn(self, token: int) -> bool: ...


class Model(Protocol):
    """What the loop needs of `llama.Llama`. Only the loop's thread calls it."""

    @property
    def vocabulary(self) -> Vocabulary: ...
    def evaluate(self, chunks: SequenceOf[Chunk]) -> list[int]: ...
    def sample(self, sampler: Any, row: int) -> int: ...
    def logprobs(self, row: int, token: int, top: int) -> tuple[float, tuple[Alternative, ...]]: ...
    def forget(self, slot: int) -> None: ...


@dataclass(eq=False, slots=True)
class Job:
    """One request while it lives in this process. `ended` is set once its last event is safe, or it was taken away."""

    request_id: str
    attempt: int
    inbox: str
    open_choices: int
    next_index: int = 0
    #: What the ticket holder tells Celery, and Flower shows.
    outcome: str = "running"
    ended: threading.Event = field(default_factory=threading.Event)

    def be_taken_away(self) -> None:
        """Somebody else writes the request's events now."""
        self.outcome = "taken away"
        self.ended.set()

    def number(self) -> int:
        """The next event's index."""
        self.next_index += 1
        return self.next_index - 1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event on its way out. `ends`: nothing follows it."""

    job: Job
    event: Event
    ends: bool


@dataclass(frozen=True, slots=True)
class _Submit:
    job: Job
    sequences: list[Sequence]


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str


@dataclass(frozen=True, slots=True)
class _Fence:
    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class _FailAll:
    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


class Loop:
    """Drives one model. `outbox` is called from the loop's thread with the events of each step, and may block it: that is
    how a Redis that does not take events stops decoding.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        *,
        outbox: Callable[[list[Outgoing]], None],
        worker: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._outbox = outbox
        self._worker = worker
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Fence | _FailAll | _Stop] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._stopped = False
        #: Once set, whoever comes late fails likewise.
        self._refusing: GenerationFailed | None = None

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits; what was posted since the last turn is not counted."""
        return self._scheduler.idle

    # -- from any thread ------------------------------------------------------------------------------------------

    def submit(self, job: Job, sequences: list[Sequence]) -> None:
        """Starts a request. Its events, the last one with `ends`, come out of the outbox."""
        self._inbox.put(_Submit(job, sequences))

    def cancel(self, request_id: str) -> None:
        """Nobody wants the request: ends it at the next step. Unknown ones are ignored."""
        self._inbox.put(_Cancel(request_id))

    def fence(self, request_id: str, attempt: int) -> None:
        """Somebody else owns the request now: drops this attempt without another word. A later attempt is left alone."""
        self._inbox.put(_Fence(request_id, attempt))

    def fail_all(self, code: FailureCode, message: str) -> None:
        """Ends every request here with a failure, and every later one at once."""
        self._inbox.put(_FailAll(code, message))

    def stop(self) -> None:
        """Ends `run` after the current step. Sequences that still run are dropped without a word."""
        self._inbox.put(_Stop())

    # -- the loop's thread ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped:
            self.turn(wait=True)

    def turn(self, *, wait: bool = False) -> None:
        """One turn. wait: when there is nothing to do, block until something is posted."""
        events = self._take(wait=wait and self.idle)
        if not self._stopped and (chunks := self._scheduler.plan()):
            events += self._step(chunks)
        if events:
            self._outbox(events)

    def _take(self, *, wait: bool) -> list[Outgoing]:
        events: list[Outgoing] = []
        while not self._stopped:
            try:
                posted = self._inbox.get(block=wait)
            except queue.Empty:
                break
            wait = False
            match posted:
                case _Submit():
                    events += self._start(posted)
                case _Cancel():
                    events += [self._leave(sequence) for sequence in self._scheduler.of(posted.request_id)]
                case _Fence():
                    self._take_away(posted.request_id, posted.attempt)
                case _FailAll():
                    self._refusing = GenerationFailed(posted.message, code=posted.code)
                    for request_id in list(self._jobs):
                        events += self._fail(request_id, self._refusing)
                case _Stop():
                    self._stopped = True
        return events

    def _start(self, posted: _Submit) -> list[Outgoing]:
        job, now = posted.job, self._clock()
        # The ticket came back to the very worker that had lost its lease: the earlier attempt is fenced.
        self._take_away(job.request_id, job.attempt - 1)
        self._jobs[job.request_id] = job
        if self._refusing is not None:
            for sequence in posted.sequences:
                sequence.sampler.close()
            return self._fail(job.request_id, self._refusing)
        events = []
        for sequence in posted.sequences:
            if sequence.reported_prompt:
                prompted = Prompted(job.number(), sequence.choice, sequence.reported_prompt)
                events.append(Outgoing(job, prompted, ends=False))
            sequence.added_at = now
            self._scheduler.add(sequence)
            if sequence.max_tokens == 0:
                sequence.reason = "length"
                events.append(self._leave(sequence))
        return events

    def _step(self, chunks: list[Chunk]) -> list[Outgoing]:
        now = self._clock()
        for chunk in chunks:
            if chunk.start == 0:
                chunk.sequence.started_at = now
        try:
            rows = self._model.evaluate(chunks)
            drawn = [self._draw(chunk, row) for chunk, row in zip(chunks, rows, strict=True) if chunk.samples]
        except Exception as error:  # the outermost loop: whatever broke, these requests end and the others go on
            log.exception("a step failed")
            failure = GenerationFailed(f"the worker could not evaluate a step: {error}")
            stepped = dict.fromkeys(chunk.sequence.request_id for chunk in chunks)
            return [event for request_id in stepped for event in self._fail(request_id, failure)]
        self._scheduler.apply(chunks)
        return self._accept([chunk.sequence for chunk in chunks if chunk.samples], drawn)

    def _draw(self, chunk: Chunk, row: int) -> Sampled:
        sequence, vocabulary = chunk.sequence, self._model.vocabulary
        token = self._model.sample(sequence.sampler, row)
        piece, ends, special = vocabulary.piece(token), vocabulary.ends_turn(token), vocabulary.is_marker(token)
        if sequence.logprobs is None:
            return Sampled(token, piece, ends, special)
        logprob, top = self._model.logprobs(row, token, sequence.logprobs)
        return Sampled(token, piece, ends, special, logprob, top)

    def _accept(self, sequences: list[Sequence], drawn: list[Sampled]) -> list[Outgoing]:
        events, now = [], self._clock()
        for sequence, sampled in zip(sequences, drawn, strict=True):
            job = self._jobs[sequence.request_id]
            events.append(Outgoing(job, sequence.take(sampled, job.number(), now), ends=False))
            if sequence.reason is not None:
                events.append(self._leave(sequence))
        return events

    def _leave(self, sequence: Sequence) -> Outgoing:
        """Retires a sequence and says so; the request ends with its last choice."""
        job = self._jobs[sequence.request_id]
        self._release(sequence)
        job.open_choices -= 1
        finished = sequence.finish(job.number(), self._clock(), self._worker)
        ends = job.open_choices == 0
        if ends:
            del self._jobs[job.request_id]
            job.outcome = f"{finished.reason}, {finished.usage.prompt} + {finished.usage.generated} tokens"
        return Outgoing(job, finished, ends)

    def _take_away(self, request_id: str, attempt: int) -> None:
        """Drops the request unless a later attempt than this runs here."""
        job = self._jobs.get(request_id)
        if job is None or job.attempt > attempt:
            return
        self._release_all(request_id)
        del self._jobs[request_id]
        job.be_taken_away()

    def _fail(self, request_id: str, failure: GenerationFailed) -> list[Outgoing]:
        self._release_all(request_id)
        job = self._jobs.pop(request_id)
        job.outcome = f"failed: {failure.code}"
        return [Outgoing(job, to_failed(failure, job.number()), ends=True)]

    def _release_all(self, request_id: str) -> None:
        for sequence in self._scheduler.of(request_id):
            self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        slot = self._scheduler.retire(sequence)
        if slot is not None:
            self._model.forget(slot)
        sequence.sampler.close()

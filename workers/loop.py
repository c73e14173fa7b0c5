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

from tropilla.common import logs
from tropilla.common.errors import GenerationFailed, to_failed
from tropilla.common.generation import Alternative, Event, Finished, Prompted, PromptToken
from tropilla.common.terms import Newcomer, Priority
from tropilla.workers import fairness
from tropilla.workers.fairness import Held
from tropilla.workers.pace import Lap, Pace
from tropilla.workers.prefixes import Move
from tropilla.workers.scheduler import Chunk, Scheduler
from tropilla.workers.sequence import Sampled, Sequence

log = logging.getLogger(__name__)


class Vocabulary(Protocol):
    def piece(self, token: int) -> bytes: ...
    def is_marker(self, token: int) -> bool: ...
    def ends_turn(self, token: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Draw:
    """A token to be drawn from a row of the last pass; with `logprobs`, and of so many alternatives."""

    sampler: Any
    row: int
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    id: int
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()


class Model(Protocol):
    """What the loop needs of `llama.model.Llama`. Only the loop's thread calls it."""

    @property
    def vocabulary(self) -> Vocabulary: ...
    def move(self, moves: SequenceOf[Move]) -> None:
        """Changes which KV cells belong to which slot."""

    def evaluate(self, chunks: SequenceOf[Chunk]) -> SequenceOf[int | Exception]:
        """The passes of a step. Answers the row of each chunk's last token; where its pass was refused, why."""

    def draw(self, draws: SequenceOf[Draw]) -> list[Drawn | Exception]:
        """Draws and accepts; what went wrong with one of them stands in its place."""

    def score(self, row: int, tokens: SequenceOf[int], top: int) -> list[tuple[float, tuple[Alternative, ...]]]:
        """Log-probabilities of the token that follows each row from `row` on, and of the likeliest alternatives."""


class Desk(Protocol):
    """What answers embedding requests: `embeddings.Desk`."""

    @property
    def idle(self) -> bool: ...
    def add(self, job: Job, inputs: list[list[int]], *, dimensions: int | None, normalize: bool) -> None: ...
    def step(self) -> list[Outgoing]: ...
    def cancel(self, request_id: str) -> list[Outgoing]: ...
    def take_away(self, request_id: str, attempt: int) -> None: ...
    def hand_back(self) -> None: ...
    def fail_all(self, failure: GenerationFailed) -> list[Outgoing]: ...


@dataclass(eq=False, slots=True)
class Job:
    """One request while it lives in this process. `ended` is set once its last event is safe, or it was taken away;
    `begun` once the first that was computed here is, or it has ended.
    """

    request_id: str
    attempt: int
    open_choices: int
    next_index: int = 0
    #: Who asks, and how urgently; see terms.py.
    key: str = ""
    priority: Priority = "normal"
    #: Of its prompts, each counted once however many answers it gets.
    prompt_tokens: int = 0
    #: To each of its prompts.
    answers: int = 1
    #: What the ticket holder tells Celery, and Flower shows.
    outcome: str = "running"
    #: Of its choices, those that have ended here.
    finished: list[Finished] = field(default_factory=list)
    #: Somebody else has it.
    taken_away: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    #: Set when it has ended, and when a rival is named: there is something to do for who minds it.
    bell: threading.Event = field(default_factory=threading.Event)
    #: Who is to have its place; None again once that has been tried in vain.
    rival: Newcomer | None = None
    #: Not finished here: another worker is to go on with it; or whoever takes it next, this one or another.
    handed_back: bool = False
    stood_aside: bool = False
    #: What loading the model took, where the request is thought to have waited for that.
    load_seconds: float = 0.0
    #: Index of the first event that is not known to be safe.
    _unsafe: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._unsafe = self.next_index

    def end(self) -> None:
        """Nothing more comes of it here."""
        self.ended.set()
        self.begun.set()
        self.bell.set()

    def be_taken_away(self) -> None:
        """Somebody else writes the request's events now."""
        self.outcome = "taken away"
        self.taken_away = True
        self.end()

    def hand_back(self) -> None:
        """Somebody else is to write the rest of the request's events."""
        self.handed_back = True
        self.outcome = "handed back"
        self.end()

    def stand_aside(self) -> None:
        """As `hand_back`, once all that was said is safe: whoever goes on, be it this very worker, goes on behind that."""
        self.outcome = f"stood aside at event {self.next_index}"
        self.stood_aside = True
        self._end_aside()

    def be_safe(self, index: int) -> None:
        """The event of that index, and all before it, are in the journal."""
        self._unsafe = index + 1
        self._end_aside()

    def _end_aside(self) -> None:
        # Called by the loop and by the publisher, each after it has changed one of the two.
        if self.stood_aside and self._unsafe >= self.next_index:
            self.end()

    def call(self, rival: Newcomer) -> None:
        """Its place is wanted for somebody else."""
        self.rival = rival
        self.bell.set()

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
class _Embed:
    job: Job
    inputs: list[list[int]]
    dimensions: int | None
    normalize: bool


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str


@dataclass(frozen=True, slots=True)
class _Fence:
    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class _StandAside:
    job: Job


class _HandBack:
    pass


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Posted = _Submit | _Embed | _Cancel | _Fence | _StandAside | _HandBack | _Stop


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
        desk: Desk | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._pace = pace
        self._scheduler = scheduler
        self._outbox = outbox
        self._worker = worker
        self._desk = desk
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Posted] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        #: Log-probabilities of prompts on their way, by sequence.
        self._scores: dict[Sequence, list[PromptToken]] = {}
        self._stopped = False
        self._handing_back = False
        self._busy_since: float | None = None
        self._computed_at = clock()
        self._held: tuple[Held, ...] = ()

    @property
    def held(self) -> tuple[Held, ...]:
        """Who was here when the current step was planned, in the order of arrival; nobody where all had slots. From any
        thread.
        """
        return self._held

    @property
    def shares(self) -> fairness.Shares:
        """To be read from any thread."""
        return self._scheduler.shares

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits; what was posted since the last turn is not counted."""
        return self._scheduler.idle and (self._desk is None or self._desk.idle)

    @property
    def busy_since(self) -> float | None:
        """Since when the current step runs, on the loop's clock; None between steps. From any thread."""
        return self._busy_since

    @property
    def computed_at(self) -> float:
        """When a step was computed last, on the loop's clock; before the first one, when the loop was made. From any
        thread.
        """
        return self._computed_at

    # -- from any thread ------------------------------------------------------------------------------------------

    def submit(self, job: Job, sequences: list[Sequence]) -> None:
        """Starts a request. Its events, the last one with `ends`, come out of the outbox."""
        self._inbox.put(_Submit(job, sequences))

    def embed(self, job: Job, inputs: list[list[int]], *, dimensions: int | None, normalize: bool) -> None:
        """Starts an embedding request; needs a desk."""
        self._inbox.put(_Embed(job, inputs, dimensions, normalize))

    def cancel(self, request_id: str) -> None:
        """Nobody wants the request: ends it at the next step. Unknown ones are ignored."""
        self._inbox.put(_Cancel(request_id))

    def fence(self, request_id: str, attempt: int) -> None:
        """Somebody else owns the request now: drops this attempt without another word. A later attempt is left alone."""
        self._inbox.put(_Fence(request_id, attempt))

    def stand_aside(self, job: Job) -> None:
        """Somebody who deserves it more has the job's place: drops it, so that it can wait in the room again."""
        self._inbox.put(_StandAside(job))

    def hand_back(self) -> None:
        """Drops every request here, and every later one at once, so that another worker goes on with it. What of their
        events has not gone out yet, he will make again.
        """
        self._inbox.put(_HandBack())

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
        if not self._stopped:
            self._busy_since = self._clock()
            events += self._embed()
            events += self._generate()
            self._busy_since = None
        if events:
            self._outbox(events)

    def _generate(self) -> list[Outgoing]:
        lap = Lap(self._clock)
        plan = self._scheduler.plan()
        self._held = self._overview() if self._scheduler.waiting else ()
        self._model.move(plan.moves)
        lap.end("concat")
        asked = [chunk for chunk in plan.chunks if not chunk.sequence.alone]
        joined = sum(1 for chunk in asked if not chunk.sequence.started_at)
        events = self._step(plan.chunks, lap) if plan.chunks else []
        # What has ended since gives its cells back now, not with the next request.
        self._model.move(self._scheduler.moves())
        lap.end("filter")
        if self._pace is not None:
            self._keep_books(self._pace, asked, lap, joined)
        return events

    def _keep_books(self, pace: Pace, chunks: list[Chunk], lap: Lap, joined: int) -> None:
        scheduler = self._scheduler
        if chunks:
            broke = "forward" not in lap.parts
            pace.stepped(
                chunks,
                lap,
                joined=joined,
                broke=broke,
                running=scheduler.running,
                waiting=scheduler.waiting,
                used=scheduler.cells_used,
            )
        if scheduler.idle:
            pace.rests(used=scheduler.cells_used)

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
                case _Embed():
                    events += self._add_inputs(posted)
                case _Cancel():
                    events += self._cancel(posted.request_id)
                case _Fence():
                    self._take_away(posted.request_id, posted.attempt)
                case _StandAside():
                    self._stand_aside(posted.job)
                case _HandBack():
                    self._handing_back = True
                    for job in list(self._jobs.values()):
                        self._hand_back(job)
                    if self._desk is not None:
                        self._desk.hand_back()
                case _Stop():
                    self._stopped = True
        return events

    def _start(self, posted: _Submit) -> list[Outgoing]:
        job, now = posted.job, self._clock()
        # The ticket came back to the very worker that had lost its lease: the earlier attempt is fenced.
        self._take_away(job.request_id, job.attempt - 1)
        self._jobs[job.request_id] = job
        if self._handing_back:
            self._hand_back(job)
            return []
        events: list[Outgoing] = []
        for sequence in posted.sequences:
            sequence.added_at = now
            sequence.key, sequence.rank = job.key, fairness.rank(job.priority)
            told = sequence.reported_prompt
            if sequence.scores_prompt:
                # One token has nothing to be scored; more are told when they are.
                told = tuple(self._unscored(sequence)) if sequence.prompt_length == 1 else ()
            if told:
                events.append(self._prompted(sequence, told))
            self._scheduler.add(sequence)
            if sequence.rules.max_tokens == 0 and not sequence.scores_prompt:
                sequence.reason = "length"
                events.append(self._leave(sequence))
        return events

    def _add_inputs(self, posted: _Embed) -> list[Outgoing]:
        assert self._desk is not None, "this worker was made without a desk"
        job = posted.job
        self._desk.take_away(job.request_id, job.attempt - 1)
        if self._handing_back:
            job.hand_back()
            return []
        self._desk.add(job, posted.inputs, dimensions=posted.dimensions, normalize=posted.normalize)
        return []

    def _embed(self) -> list[Outgoing]:
        """Embeddings are short, and whoever asks for them waits for all of them at once."""
        if self._desk is None or self._desk.idle:
            return []
        try:
            events = self._desk.step()
        except Exception as error:  # the outermost loop, as in `_step`
            log.exception("a pass over embeddings failed")
            return self._desk.fail_all(GenerationFailed(f"the worker could not evaluate a pass: {error}"))
        self._computed_at = self._clock()
        return events

    def _cancel(self, request_id: str) -> list[Outgoing]:
        left = [self._leave(sequence) for sequence in self._scheduler.of(request_id)]
        return left if self._desk is None else left + self._desk.cancel(request_id)

    def _prompted(self, sequence: Sequence, tokens: tuple[PromptToken, ...]) -> Outgoing:
        job = self._jobs[sequence.request_id]
        return Outgoing(job, Prompted(job.number(), sequence.choice, tokens), ends=False)

    def _step(self, chunks: list[Chunk], lap: Lap) -> list[Outgoing]:
        now = self._clock()
        for chunk in chunks:
            chunk.sequence.started_at = chunk.sequence.started_at or now
        chunks, rows, failed = self._evaluated(chunks)
        if not chunks:
            return failed
        lap.end("forward")
        self._computed_at = self._clock()
        self._scheduler.took(chunks, lap.parts["forward"])
        scored = self._score(chunks, rows)
        sampling = [(chunk.sequence, row) for chunk, row in zip(chunks, rows, strict=True) if chunk.samples]
        wanted = [(sequence, row) for sequence, row in sampling if sequence.rules.max_tokens > 0]
        drawn = self._model.draw([Draw(s.sampler, row, s.rules.logprobs) for s, row in wanted])
        lap.end("decode")
        self._scheduler.apply(chunks)
        events = failed + scored
        events += [
            event for (sequence, _), token in zip(wanted, drawn, strict=True) for event in self._accept(sequence, token)
        ]
        # Nothing but the prompt's log-probabilities was wanted.
        for sequence, _ in sampling:
            if sequence.rules.max_tokens == 0:
                sequence.reason = "length"
                events.append(self._leave(sequence))
        return events

    def _evaluated(self, chunks: list[Chunk]) -> tuple[list[Chunk], list[int], list[Outgoing]]:
        """The chunks that were evaluated, and their rows; requests of which a chunk was not have ended by then."""
        rows: SequenceOf[int | Exception]
        try:
            rows = self._model.evaluate(chunks)
        except Exception as error:  # the outermost loop: whatever broke, these requests end and the others go on
            log.exception("a step failed")
            rows = [error] * len(chunks)
        events: list[Outgoing] = []
        broken = {c.sequence.request_id: row for c, row in zip(chunks, rows, strict=True) if isinstance(row, Exception)}
        for request_id, why in broken.items():
            log.error("request %s: a pass failed: %s", request_id, why)
            events += self._fail(request_id, GenerationFailed(f"the worker could not evaluate a step: {why}"))
        whole = [
            (chunk, row)
            for chunk, row in zip(chunks, rows, strict=True)
            if isinstance(row, int) and chunk.sequence.request_id not in broken
        ]
        return [chunk for chunk, _ in whole], [row for _, row in whole], events

    def _score(self, chunks: list[Chunk], rows: list[int]) -> list[Outgoing]:
        """Takes down the log-probabilities of prompt tokens; tells them once they are complete."""
        events = []
        for chunk, row in zip(chunks, rows, strict=True):
            sequence = chunk.sequence
            if not chunk.scores:
                continue
            end = min(chunk.stop + 1, sequence.prompt_length)
            ids = sequence.tokens[chunk.start + 1 : end]
            scores = self._model.score(row - (chunk.stop - chunk.start - 1), ids, sequence.rules.prompt_logprobs or 0)
            known = self._scores.setdefault(sequence, self._unscored(sequence))
            # From the beginning again where cells had run out.
            del known[chunk.start + 1 :]
            known += [self._prompt_token(i, p, top) for i, (p, top) in zip(ids, scores, strict=True)]
            if len(known) == sequence.prompt_length:
                sequence.scored = True
                events.append(self._prompted(sequence, tuple(self._scores.pop(sequence))))
        return events

    def _unscored(self, sequence: Sequence) -> list[PromptToken]:
        """The first token has no log-probability: nothing stands before it."""
        return [self._prompt_token(sequence.tokens[0])]

    def _prompt_token(self, token: int, logprob: float | None = None, top: tuple[Alternative, ...] = ()) -> PromptToken:
        vocabulary = self._model.vocabulary
        return PromptToken(token, vocabulary.piece(token), logprob, top, vocabulary.is_marker(token))

    def _accept(self, sequence: Sequence, drawn: Drawn | Exception) -> list[Outgoing]:
        job = self._jobs.get(sequence.request_id)
        if job is None:
            # Another choice of the request has just failed it.
            return []
        if isinstance(drawn, Exception):
            # What a grammar says of it quotes the answer: with its request a line has no words of what was raised.
            about = {"facts": {"request_id": logs.named(sequence.request_id)}}
            log.error("request %s: a token could not be drawn", sequence.request_id, exc_info=drawn, extra=about)
            return self._fail(sequence.request_id, GenerationFailed(f"a token could not be drawn: {drawn}"))
        now, vocabulary = self._clock(), self._model.vocabulary
        piece, ends = vocabulary.piece(drawn.id), vocabulary.ends_turn(drawn.id)
        sampled = Sampled(drawn.id, piece, ends, vocabulary.is_marker(drawn.id), drawn.logprob, drawn.top)
        events = [Outgoing(job, sequence.take(sampled, job.number(), now), ends=False)]
        if sequence.reason is not None:
            events.append(self._leave(sequence))
        elif sequence.full:
            self._scheduler.shift(sequence)
        return events

    def _leave(self, sequence: Sequence) -> Outgoing:
        """Retires a sequence and says so; the request ends with its last choice."""
        job = self._jobs[sequence.request_id]
        self._release(sequence)
        job.open_choices -= 1
        finished = sequence.finish(job.number(), self._clock(), self._worker, load_seconds=job.load_seconds)
        job.finished.append(finished)
        ends = job.open_choices == 0
        if ends:
            del self._jobs[job.request_id]
            job.outcome = f"{finished.reason}, {finished.usage.prompt} + {finished.usage.generated} tokens"
        return Outgoing(job, finished, ends)

    def _take_away(self, request_id: str, attempt: int) -> None:
        """Drops the request unless a later attempt than this runs here."""
        if self._desk is not None:
            self._desk.take_away(request_id, attempt)
        job = self._jobs.get(request_id)
        if job is None or job.attempt > attempt:
            return
        self._release_all(request_id)
        del self._jobs[request_id]
        job.be_taken_away()

    def _hand_back(self, job: Job) -> None:
        self._release_all(job.request_id)
        del self._jobs[job.request_id]
        job.hand_back()

    def _stand_aside(self, job: Job) -> None:
        if self._jobs.get(job.request_id) is job:
            self._release_all(job.request_id)
            del self._jobs[job.request_id]
            job.stand_aside()

    def _overview(self) -> tuple[Held, ...]:
        of: dict[str, list[Sequence]] = {}
        for sequence in self._scheduler.alive:
            if not sequence.alone:
                of.setdefault(sequence.request_id, []).append(sequence)
        return tuple(
            Held(
                job.request_id,
                job.key,
                fairness.rank(job.priority),
                choices=len(of[job.request_id]),
                waits=all(sequence.slot is None for sequence in of[job.request_id]),
                begun=any(sequence.generated for sequence in of[job.request_id]),
            )
            for job in self._jobs.values()
            if job.request_id in of
        )

    def _fail(self, request_id: str, failure: GenerationFailed) -> list[Outgoing]:
        self._release_all(request_id, keep=False)
        job = self._jobs.pop(request_id)
        job.outcome = f"failed: {failure.code}"
        return [Outgoing(job, to_failed(failure, job.number()), ends=True)]

    def _release_all(self, request_id: str, *, keep: bool = True) -> None:
        for sequence in self._scheduler.of(request_id):
            self._release(sequence, keep=keep)

    def _release(self, sequence: Sequence, *, keep: bool = True) -> None:
        self._scheduler.retire(sequence, keep=keep)
        self._scores.pop(sequence, None)

"""Small real implementations of the house's seams: a model of bytes, an outbox, a store, mailboxes, a clock.

They behave instead of expecting: the model keeps a KV cache and refuses what llama.cpp would refuse, the store journals
and fences as the scripts do, and time passes only when somebody lets it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from tropilla.api.batches.records import Asked, Batch, Status
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.inbox import Mailbox
from tropilla.api.showing import Showing
from tropilla.api.streams import Streams
from tropilla.common import codec
from tropilla.common.bus import Appended, Delivered, Entry, Listener
from tropilla.common.catalogue import Catalogue, Definition, Lane, Model, Trouble, Worker, catalogue
from tropilla.common.errands import Errand, Task, Word
from tropilla.common.errors import StoreUnavailable
from tropilla.common.generation import (
    Alternative,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    Image,
    Request,
    Sampling,
    TextPrompt,
    Token,
    Usage,
)
from tropilla.common.keys import Key
from tropilla.common.orders import Order
from tropilla.common.room import Admitted, Position
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Bounds, Terms
from tropilla.workers.loop import Draw, Drawn, Job, Outgoing
from tropilla.workers.prefixes import Copy, Drop, Move, Shift
from tropilla.workers.scheduler import Chunk
from tropilla.workers.sequence import Rules
from tropilla.workers.sequence import Sequence as Run
from tropilla.workers.text import Text
from tropilla.workers.views import Span


class Clock:
    """Time that passes by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


# -- a model -----------------------------------------------------------------------------------------------------------

BOS, EOS, IM_START, IM_END = 256, 257, 258, 259
MARKERS = {BOS: b"<s>", EOS: b"</s>", IM_START: b"<|im_start|>", IM_END: b"<|im_end|>"}
MARKER_TEXTS = [piece.decode() for piece in MARKERS.values()]


class FakeVocabulary:
    """A token per byte, and four markers."""

    size = 260
    start = BOS
    ends = frozenset({EOS, IM_END})
    #: Fill-in-the-middle: the tokens before prefix, suffix and middle.
    infill: tuple[int, int, int] | None = None

    def __init__(self, *, adds_bos: bool = True, adds_eos: bool = False) -> None:
        self.adds_bos, self.adds_eos = adds_bos, adds_eos

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        ids = [BOS] if start and self.adds_bos else []
        data = text.encode()
        while data:
            marker = next((i for i, piece in MARKERS.items() if special and data.startswith(piece)), None)
            ids.append(data[0] if marker is None else marker)
            data = data[1 if marker is None else len(MARKERS[marker]) :]
        return [*ids, EOS] if start and self.adds_eos else ids

    def piece(self, token: int) -> bytes:
        return MARKERS.get(token) or bytes([token])

    @property
    def tags(self) -> dict[str, int]:
        return {piece.decode(): token for token, piece in MARKERS.items()}

    def is_marker(self, token: int) -> bool:
        return token in MARKERS

    def ends_turn(self, token: int) -> bool:
        return token in (EOS, IM_END)


class FakeSampler:
    """Says its script, token by token; without one, letters that depend on every token the KV cache holds."""

    edits = False

    def __init__(self, script: Iterable[int] | None = None, *, seed: int = 0) -> None:
        self._script = None if script is None else deque(script)
        self.seed = seed
        #: Accepted without having been drawn.
        self.replayed: list[int] = []
        #: What a grammar would say.
        self.ended = False

    def draw(self, resident: Sequence[int]) -> int:
        if self._script is not None:
            return self._script.popleft()
        number = zlib.crc32(repr((self.seed, list(resident))).encode())
        return EOS if number % 29 == 0 else ord("a") + number % 26

    def accept(self, token: int) -> None:
        self.replayed.append(token)
        if self._script is not None:
            assert self._script.popleft() == token


class FakeModel:
    """Holds what llama.cpp's unified KV cache would hold, and insists on its rules: cells, each of one token at one
    position after exactly the tokens before it, that may belong to several slots. Each has what one adapter left in it,
    and a pass is of one adapter.
    """

    def __init__(self, *, step_tokens: int, slots: int, cells: int = 1 << 20) -> None:
        self.vocabulary = FakeVocabulary()
        self.step_tokens, self.slots, self.cells = step_tokens, slots, cells
        #: slot -> position -> cell; a cell is the (numbered) token that was computed for it
        self.resident: dict[int, dict[int, tuple[int, int]]] = {}
        #: step by step: (request, tokens computed) in batch order
        self.steps: list[list[tuple[str, int]]] = []
        self.moves: list[Move] = []
        #: called before each step; whatever it raises, the step raises
        self.before_step: Callable[[], None] = lambda: None
        #: Whether llama.cpp would not compute a chunk's pass.
        self.refuses: Callable[[Chunk], bool] = lambda chunk: False
        #: cell number -> the adapter that computed it
        self.adapters: dict[int, str] = {}
        self._rows: dict[int, int] = {}
        self._chunks: list[tuple[int, Chunk]] = []
        self._numbers = count()

    @property
    def cells_used(self) -> int:
        return len({cell for cells in self.resident.values() for cell in cells.values()})

    def tokens(self, slot: int) -> list[int]:
        """What a slot holds, by position, which must have no gap."""
        cells = self.resident.get(slot, {})
        assert sorted(cells) == list(range(len(cells))), f"slot {slot} has gaps"
        return [cells[position][0] for position in range(len(cells))]

    def move(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self.moves.append(move)
            match move:
                case Copy():
                    source, target = self.resident[move.source], self.resident.setdefault(move.target, {})
                    assert move.source != move.target
                    for position in range(move.start, move.stop):
                        assert position not in target, "a position would have two cells"
                        target[position] = source[position]
                case Drop():
                    cells = self.resident.get(move.slot, {})
                    for position in [p for p in cells if p >= move.start and (move.stop is None or p < move.stop)]:
                        del cells[position]
                case Shift():
                    cells = self.resident[move.slot]
                    moved = {p: cells.pop(p) for p in range(move.start, move.stop)}
                    for others in (c for slot, c in self.resident.items() if slot != move.slot):
                        assert not set(moved.values()) & set(others.values()), "a shared cell has one position for all"
                    assert not {p - move.by for p in moved} & cells.keys()
                    cells.update({p - move.by: cell for p, cell in moved.items()})

    def evaluate(self, chunks: Sequence[Chunk]) -> list[int | Exception]:
        self.before_step()
        for passed in _passes(chunks):
            assert 0 < sum(chunk.stop - chunk.start for chunk in passed) <= self.step_tokens, "n_batch exceeded"
        assert len({chunk.sequence.slot for chunk in chunks}) == len(chunks), "one chunk per slot"
        assert len({chunk.sequence.adapter for chunk in chunks}) == 1, "one adapter per pass"
        self._rows, self._chunks, at = {}, [], 0
        rows: list[int | Exception] = []
        for chunk in chunks:
            if self.refuses(chunk):
                rows.append(RuntimeError("llama_decode answered -1"))
                continue
            sequence, slot = chunk.sequence, chunk.sequence.slot
            assert slot is not None
            assert 0 <= slot < self.slots
            assert self.tokens(slot) == sequence.tokens[: chunk.start], "the cells are not those of its tokens"
            assert chunk.start < chunk.stop <= len(sequence.tokens), "tokens that are not known yet"
            cells = self.resident.setdefault(slot, {})
            assert {self.adapters[number] for _, number in cells.values()} <= {sequence.adapter}, "another's cells"
            for position in range(chunk.start, chunk.stop):
                number = next(self._numbers)
                cells[position] = (sequence.tokens[position], number)
                self.adapters[number] = sequence.adapter
            self._chunks.append((at, chunk))
            at += chunk.stop - chunk.start
            rows.append(at - 1)
            if chunk.samples:
                self._rows[at - 1] = slot
        assert self.cells_used <= self.cells, "no cell is free"
        self.steps.append([(chunk.sequence.request_id, chunk.stop - chunk.start) for chunk in chunks])
        return rows

    def draw(self, draws: Sequence[Draw]) -> list[Drawn | Exception]:
        return [self._draw(draw) for draw in draws]

    def _draw(self, draw: Draw) -> Drawn | Exception:
        assert draw.row in self._rows, "no output was asked for in this row"
        try:
            slot = self._rows[draw.row]
            # What is said depends on the adapter, too: as if it were a token before the first.
            (adapter,) = {self.adapters[number] for _, number in self.resident[slot].values()}
            token = draw.sampler.draw([*adapter.encode(), *self.tokens(slot)])
        except ValueError as error:
            return error
        if draw.logprobs is None:
            return Drawn(token)
        return Drawn(token, -0.5, tuple(Alternative(n, bytes([n]), -1.0 - n) for n in range(draw.logprobs)))

    def score(self, row: int, tokens: Sequence[int], top: int) -> list[tuple[float, tuple[Alternative, ...]]]:
        """The log-probability of a token is minus its id."""
        chunk = next(chunk for at, chunk in self._chunks if at == row)
        assert chunk.scores
        start = chunk.start + 1
        assert chunk.sequence.tokens[start : start + len(tokens)] == list(tokens)
        return [(-float(token), tuple(Alternative(n, b"", -1.0) for n in range(top))) for token in tokens]


def _passes(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """What goes through llama.cpp at once: a view whose places see each other, all other views, all tokens."""
    for chunk in chunks:
        places = chunk.sequence.tokens[chunk.start : chunk.stop]
        assert {place < 0 for place in places} == {chunk.view is not None}, "tokens and places of an image in one chunk"
        if chunk.view is not None:
            assert chunk.view.start <= chunk.start, "places of two views in one chunk"
            assert chunk.stop <= chunk.view.stop, "places of two views in one chunk"
            assert not chunk.samples, "an image gives no logits"
            whole = (chunk.start, chunk.stop) == (chunk.view.start, chunk.view.stop)
            assert whole or not chunk.view.shape.together, "places that see each other, torn apart"
    together = [[chunk] for chunk in chunks if chunk.view is not None and chunk.view.shape.together]
    causal = [chunk for chunk in chunks if chunk.view is not None and not chunk.view.shape.together]
    text = [chunk for chunk in chunks if chunk.view is None]
    return [*together, *([causal] if causal else []), *([text] if text else [])]


def sequence(
    request_id: str = "a",
    *,
    prompt: int | list[int] = 3,
    script: Iterable[int] | str | None = None,
    max_tokens: int = 1000,
    choice: int = 0,
    stop: Sequence[str] = (),
    keep_stop: bool = False,
    seed: int = 0,
    adapter: str = "",
    spans: Sequence[Span] = (),
    **rules: Any,
) -> Run:
    """A sequence with a prompt of so many tokens, whose sampler says the script and then EOS for ever."""
    # Those of different requests begin differently.
    start = ord(request_id[-1])
    tokens = list(prompt) if isinstance(prompt, list) else [start, *(ord("p") + i % 7 for i in range(prompt))][:prompt]
    said = script.encode() if isinstance(script, str) else script
    return Run(
        request_id=request_id,
        choice=choice,
        prompt=tokens,
        sampler=FakeSampler(None if said is None else [*said, EOS], seed=seed),
        text=Text(stop, keep_stop=keep_stop),
        rules=Rules(max_tokens, **rules),
        seed=seed,
        adapter=adapter,
        spans=spans,
    )


class FakeOutbox:
    """Keeps what a loop says, and checks the numbering of every request as it comes."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self._over: set[Job] = set()

    def __call__(self, events: list[Outgoing]) -> None:
        assert events, "an empty step is not worth a call"
        for outgoing in events:
            said = self.events.setdefault(outgoing.job.request_id, [])
            assert outgoing.job not in self._over, "an event after the last"
            assert outgoing.event.index == len(said), "indices are 0, 1, 2, ..."
            said.append(outgoing.event)
            if outgoing.ends:
                self._over.add(outgoing.job)
                outgoing.job.ended.set()

    def tokens(self, request_id: str = "a", choice: int = 0) -> list[Token]:
        return [e for e in self.events.get(request_id, []) if isinstance(e, Token) and e.choice == choice]

    def text(self, request_id: str = "a", choice: int = 0) -> str:
        return "".join(token.text for token in self.tokens(request_id, choice))

    def finished(self, request_id: str = "a") -> dict[int, Finished]:
        return {e.choice: e for e in self.events.get(request_id, []) if isinstance(e, Finished)}

    def failed(self, request_id: str = "a") -> Failed:
        last = self.events[request_id][-1]
        assert isinstance(last, Failed)
        return last


def job(request_id: str = "a", *, choices: int = 1, attempt: int = 1) -> Job:
    return Job(request_id, attempt, choices)


# -- a cluster ---------------------------------------------------------------------------------------------------------

MODEL = Model("m", "0" * 64, 1, "llama", 1, "F32", 100, 100, 8, 260, 0.0)
WORKER = Worker("w@host", "cpu", "ready", 4, MODEL)


def request(request_id: str = "r", **fields: Any) -> GenerationRequest:
    fields = {"model": "m", "prompts": (TextPrompt("hello"),), "sampling": Sampling(), **fields}
    return GenerationRequest(id=request_id, **fields)


def answer(text: str, *, choice: int = 0, first: int = 0) -> list[Event]:
    """The events of a choice that says a text, a token per character."""
    tokens: list[Event] = [Token(first + i, choice, ord(c), c) for i, c in enumerate(text)]
    return [*tokens, Finished(first + len(text), choice, "eos", Usage(1, 0, len(text)), seed=0, worker="w")]


class FakeAnnouncements:
    """What `cluster.Cluster` reads, of the registry and of the room."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)
        self.stored: tuple[Definition, ...] = ()
        self.troubles: dict[str, Trouble] = {}
        self.failures: dict[str, dict[str, Trouble]] = {}
        #: Lane -> requests in it.
        self.lanes: dict[str, int] = {}
        self.read = self.counted = self.weighed = 0
        self.full = 0.0
        self.down = False

    def catalogue(self) -> Catalogue:
        self.read += 1
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        return catalogue(self.workers, self.stored, self.troubles, self.failures)

    def waiting(self, lanes: Iterable[str]) -> dict[str, int]:
        self.counted += 1
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        return {lane: self.lanes.get(lane, 0) for lane in lanes}

    def full_percent(self) -> float:
        self.weighed += 1
        return self.full


class FakeStore:
    """One request's state, journal, lease and place, with the rules of the scripts."""

    def __init__(self, clock: Clock, *, room: bool = True) -> None:
        self.clock = clock
        self.room = room
        self.journal: list[bytes] = []
        self.attempt: int | None = None
        self.lease: str | None = None
        #: How long a lease has left whenever somebody asks.
        self.lease_seconds = 2.0
        self.done = False
        self.cancelled: list[str] = []
        self.released: list[str] = []
        #: Redis does not answer before this time.
        self.down_until = float("-inf")
        #: Tickets that nobody has popped.
        self.unpopped = 1
        self.waits = False
        self.terms = NO_TERMS
        self.bounds: Bounds | None = None
        self.deadline_seconds = 0.0
        #: The lane it waits in, or did.
        self.lane = Lane("m", "cpu")
        #: How many go before it, and seconds from one to the next.
        self.before = 0
        self.pace: float | None = None
        #: Who else listens; and whether nobody needs to.
        self.others, self.background = 0, False
        self.joined: list[str] = []
        #: What whoever joins it is told that it has left, in seconds.
        self.left = 3600.0
        #: (key, word) -> the request, and the digest of what it asks for.
        self.words: dict[tuple[str, str], tuple[str, str]] = {}
        #: What the request was asked with.
        self.calls = FakeCalls()
        #: called when a question about the lease or the attempts has been answered, before the next one
        self.after_question: Callable[[], None] = lambda: None

    def claim(self) -> None:
        """A worker takes the request."""
        assert self.attempt is not None
        self.waits = False
        self.attempt, self.lease = self.attempt + 1, f"w/{self.attempt + 1}"

    def write(self, *events: Event) -> list[Delivered]:
        """A worker journals events; what comes back is what it publishes."""
        published = []
        for event in events:
            assert event.index == len(self.journal)
            self.journal.append(codec.encode_event(event))
            published.append(Delivered("r", event.index, self.journal[-1]))
        return published

    def _answer(self) -> None:
        if self.clock.now < self.down_until:
            raise StoreUnavailable("Redis cannot serve")

    def admit(
        self,
        request: Request,
        lane: Lane,
        terms: Terms,
        *,
        inbox: str,
        bounds: Bounds,
        deadline_seconds: float,
        kept_seconds: float,
        call: bytes = b"",
        listener: str = "",
    ) -> Admitted:
        self._answer()
        self.terms, self.bounds, self.deadline_seconds = terms, bounds, deadline_seconds
        self.background = inbox == ""
        before = self.words.get((terms.key, terms.idempotency)) if terms.digest else None
        if before is not None and self.attempt is not None and not self.cancelled:
            return Admitted("joined" if before[1] == terms.digest else "conflict", 0, before[0])
        if not self.room:
            return Admitted("model", bounds.model, "")
        self.attempt, self.waits, self.lane = 0, True, lane
        if terms.digest:
            self.words[terms.key, terms.idempotency] = request.id, terms.digest
        if call:
            self.calls.kept[request.id] = call
        return Admitted("admitted", self.before, request.id)

    def put_back(self, request_id: str) -> list[Lane]:
        self._answer()
        if self.done or self.waits or self.lease:
            return []
        self.waits = True
        return [self.lane]

    def move(self, request_id: str, lane: Lane) -> bool:
        self._answer()
        if self.waits:
            self.lane = lane
        return self.waits

    def position(self, request_id: str) -> Position | None:
        self._answer()
        if self.attempt is None or not self.waits:
            return None
        # What has a journal was taken.
        attempts = self.attempt or int(bool(self.journal))
        return Position(self.before, self.before + 1, self.pace, self.lane, self.unpopped, attempts)

    def tickets(self, lane: str) -> int:
        self._answer()
        return self.unpopped

    def cancel(self, request_id: str, *, seconds: float, journal_seconds: float) -> bool:
        self._answer()
        self.cancelled.append(request_id)
        return self.waits

    def join(self, request_id: str, *, inbox: str, listener: str) -> float | None:
        self._answer()
        self.inbox = inbox
        self.joined.append(request_id)
        return self.left if self.attempt is not None else None

    def leave(self, request_id: str, *, inbox: str, listener: str) -> bool:
        self._answer()
        return self.background or self.others > 0 or bool(self.words)

    def read_journal(self, request_id: str, start: int = 0) -> list[Delivered]:
        self._answer()
        return [Delivered(request_id, i, data) for i, data in enumerate(self.journal) if i >= start]

    def held_for(self, request_id: str) -> float | None:
        self._answer()
        left = self.lease and self.lease_seconds
        self.after_question()
        return left or None

    def attempts(self, request_id: str) -> int | None:
        self._answer()
        attempt = self.attempt
        self.after_question()
        return attempt

    def conclude(
        self, request_id: str, payload: bytes, *, outcome: str, attempt: int | None, journal_seconds: float
    ) -> int | None:
        self._answer()
        if self.done or self.attempt is None or attempt not in (None, self.attempt):
            return None
        self.done, self.lease, self.attempt = True, None, self.attempt + 1
        self.journal.append(payload)
        return len(self.journal) - 1

    def release(self, request_id: str) -> None:
        self._answer()
        self.released.append(request_id)


#: One thing that happens next: a delivery or mark arrives, None is a silence, a callable is run and nothing arrives yet.
Happening = Any


class FakeMailbox(Mailbox):
    """Pops a script; after its end there is only silence. Waiting moves the clock instead of the reader's."""

    def __init__(self, clock: Clock, script: Iterable[Happening]) -> None:
        super().__init__()
        self._clock = clock
        self._script = iter(script)
        self._reads = count()

    def get(self, timeout_seconds: float) -> Any:
        assert next(self._reads) < 100_000, "the reader never ends"
        for happening in self._script:
            if callable(happening):
                happening()
                continue
            if happening is None:
                break
            return happening
        self._clock.advance(timeout_seconds)
        return None


class FakeInbox:
    """An inbox whose only mailbox pops a script."""

    def __init__(self, clock: Clock, script: Iterable[Happening] = ()) -> None:
        self.name = "here"
        self.script = script
        self.registered: list[str] = []
        self._clock = clock

    def register(self, request_id: str) -> Mailbox:
        self.registered.append(request_id)
        return FakeMailbox(self._clock, self.script)

    def forget(self, request_id: str, mailbox: Mailbox) -> None:
        self.registered.remove(request_id)


class FakeJournal:
    """What the publisher appends to: remembers every entry, refuses and fails as it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[Entry]] = []
        self.refused: set[str] = set()
        self.refused_writers: set[tuple[str, int]] = set()
        self.unheard: set[str] = set()
        #: Who has come to listen when a worker is about to give up.
        self.joined: set[str] = set()
        self.failures = 0

    def append(self, entries: list[Entry], *, journal_seconds: float) -> Appended:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("Redis cannot serve")
        self.calls.append(list(entries))
        writers = {(entry.request_id, entry.attempt) for entry in entries}
        refused = frozenset(w for w in writers if w[0] in self.refused or w in self.refused_writers)
        return Appended(refused, frozenset(self.unheard))

    def give_up(self, request_id: str, *, seconds: float) -> bool:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("Redis cannot serve")
        return request_id not in self.joined


class FakeCalls:
    """What is kept of calls."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def kept_call(self, request_id: str) -> bytes | None:
        return self.kept.get(request_id)


def streams(calls: FakeCalls | None = None) -> Streams:
    return Streams(calls or FakeCalls())


class FakeAlbum:
    """Where images lie: in memory, with no end of room."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes | None] = {}
        self.keys: list[str] = []
        self.renewed: list[str] = []

    def keep(self, images: Iterable[Image], key: str = "") -> None:
        self.keys.append(key)
        self.kept |= {image.digest: image.data for image in images}

    def renew(self, digests: Iterable[str]) -> None:
        self.renewed += digests


def showing(settings: Settings, cluster: Cluster, album: FakeAlbum | None = None) -> Showing:
    return Showing(settings, cluster.catalogue, album or FakeAlbum(), lambda url: url)


class FakeBatches:
    """What the clerk needs of batches: in memory, with the rules of cancel.lua."""

    def __init__(self) -> None:
        self.kept: dict[str, Batch] = {}

    def put(self, batch_id: str, **fields: Any) -> None:
        """As whoever runs it would say."""
        self.kept[batch_id] = replace(self.kept[batch_id], **fields)

    def begin(self, asked: Asked) -> Batch:
        self.kept[asked.id] = Batch(asked)
        return self.kept[asked.id]

    def find(self, batch_id: str) -> Batch | None:
        return self.kept.get(batch_id)

    def listing(self, after: str) -> Iterator[Batch]:
        ids = sorted((each for each in self.kept if not after or each < after), reverse=True)
        return (self.kept[each] for each in ids)

    def cancel(self, batch_id: str, *, now: int) -> Status | None:
        status = self.kept[batch_id].status
        if status in ("validating", "in_progress"):
            self.kept[batch_id] = replace(self.kept[batch_id], status="cancelling", times={"cancelling": now})
        return status

    def open(self) -> frozenset[str]:
        return frozenset(each.asked.id for each in self.kept.values() if not each.ended)


class FakeKeys:
    """API keys in memory, with the rules of keystore.py; a ring by itself, which needs no refreshing."""

    def __init__(self, *keys: Key) -> None:
        self.kept = list(keys)
        self.uses: dict[str, int] = {}
        self.down = False

    def all(self) -> tuple[Key, ...]:
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        return tuple(self.kept)

    def used(self, moments: Mapping[str, int]) -> None:
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        self.uses.update(moments)

    def listen(self) -> Listener:
        raise AssertionError("nobody starts it")


class FakeBook:
    """What views and chores need of the registry: remembers what it is told, and says what it was given to say."""

    def __init__(self, *words: Word, information: dict[str, bytes] | None = None) -> None:
        self.words = list(words)
        #: What it says of one errand, by its id, instead of `words`.
        self.said: dict[str, list[Word]] = {}
        self.orders: list[tuple[str, Order]] = []
        self.begun: list[tuple[Errand, str]] = []
        self.stopped: list[str] = []
        self.discarded = False
        self.listeners = 0
        self.flights: dict[str, str] = {}
        #: Whether a store is there to do errands.
        self.open = True
        self._information = information or {}

    def order(self, worker: str, order: Order) -> bool:
        self.orders.append((worker, order))
        return True

    def information(self, digest: str) -> bytes | None:
        return self._information.get(digest)

    def staffed(self, office: str) -> bool:
        return self.open

    def begin(self, errand: Errand, flight: str) -> str:
        self.begun.append((errand, flight))
        return self.flights.setdefault(flight, errand.id)

    def hear(self, errand_id: str, after: str = "0", *, wait_seconds: float = 0.0) -> list[tuple[str, Word]]:
        words = self.said.get(errand_id, self.words)
        return [(str(place), word) for place, word in enumerate(words, start=1) if place > int(after)]

    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in map(self.task, [errand.id for errand, _ in self.begun]) if task and not task.over)

    def task(self, errand_id: str) -> Task | None:
        found = next((errand for errand, _ in self.begun if errand.id == errand_id), None)
        return None if found is None else Task(found, tuple(self.said.get(errand_id, self.words)))

    def attend(self, errand_id: str, more: int) -> int:
        self.listeners += more
        return self.listeners

    def paused(self, errand_id: str) -> bool:
        return False

    def stop_errand(self, errand_id: str, *, discard: bool) -> None:
        self.stopped.append(errand_id)
        self.discarded = discard


def errands(book: FakeBook) -> Errands:
    return Errands(book, lambda errand, flight: None)

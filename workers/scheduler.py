"""Which tokens the next forward pass evaluates, and in which KV cells. Pure: sequences and numbers, no model, no clock.

A step is `plan` -> (somebody makes the moves, evaluates and samples) -> `apply`. Every running sequence that is one token
behind goes first, so that a long prompt never stalls streams; what the step's budget leaves is given to prompts, in
chunks. Beside streams a prompt gets no more than they can wait for, by the speed of earlier steps.

    budget  d d d d p p p p p p p p       d: one token of a decoding sequence, p: a chunk of somebody's prompt

While several keys are about, nobody is to wait for a step that is long because of another, nor to be computed in one:
prompts that take long and streams then have steps of their own, in turns. The prompt of a key that crowds is cut shorter,
and passed over once for those of the others; for these, streams are left out of as many steps as they can wait for. Of one
key alone all this is nothing, nor where a step takes no longer for a prompt (headway.py).

A prompt starts where the longest resident prefix ends (prefixes.py). If somebody ahead is just computing a longer one, it
waits and takes that over chunk by chunk: requests that arrive together compute what they share once. When cells run out,
idle prefixes go first; then a running sequence gives its cells back and waits again, with all it had said. All sequences
of a step have the same adapter; adapters take turns (rotation.py).

A chunk is tokens, or places of one image's view (views.py), never both: the two are computed in passes of their own, text
last. A view whose places see each other is computed whole, in a pass that has nothing else; it may take longer than
streams were promised, but no more places than a step has.

Who gets a slot, whose prompt is computed first and who gives way is a matter of fairness.py, and of age among equals. A
sequence that stands aside for another keeps what it had computed as an idle prefix: where nobody wants the cells, it goes
on at the cost of one token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from tropilla.workers import fairness
from tropilla.workers.headway import STALL_SECONDS, Headway
from tropilla.workers.prefixes import Drop, Match, Move, Prefixes, Shift, common_length
from tropilla.workers.rotation import Rotation
from tropilla.workers.sequence import Sequence
from tropilla.workers.views import Span

#: How many of a prompt's tokens are computed in one step when each gives a row of logits.
SCORED_TOKENS = 32
#: An idle prefix that was never shared is kept for this part of the time that one is kept that was.
UNSHARED_PATIENCE = 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [start, stop) of a sequence, to be computed in this step. `samples`: the next token is drawn after it.
    `scores`: each of them gives a row of logits.
    """

    sequence: Sequence
    start: int
    stop: int
    samples: bool
    scores: bool = False
    #: Whose places they are; None: tokens.
    view: Span | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: the moves first, in their order; then the chunks, each sequence at most once, all of one adapter."""

    moves: list[Move] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker's context can hold.

    slots: sequences that run at once. sequences: those and the idle prefixes kept for later ones. cells: tokens in all.
    step_tokens: evaluated in one step at the most, which every stream waits for; beside that, one image's view whose
    places see each other. reuse: prefixes can be shared (not in recurrent memories or sliding windows). shift: positions
    can be moved.
    idle_tokens: when so many tokens were evaluated since an idle prefix was last of use, it is let go of (0: never).
    Every token looks at every cell, be it only to see that it is somebody else's: by then the prefix has cost as much as
    computing it again. What nobody has shared yet stays for a sixteenth of that.
    """

    slots: int
    cells: int
    step_tokens: int
    sequences: int = 0
    idle_tokens: int = 0
    reuse: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        assert 0 < self.slots <= self.step_tokens, "every running sequence must fit into a step"


class Scheduler:
    """Sequences waiting and running. All methods belong to one thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: list[Sequence] = []
        #: By slot, in the order in which they were given one.
        self._running: dict[int, Sequence] = {}
        #: What each key has had of this worker.
        self.shares = fairness.Shares()
        self._places = count()
        #: follower -> the sequence whose prompt it shares, and how far
        self._leaders: dict[Sequence, tuple[Sequence, int]] = {}
        self._free = list(range(max(limits.sequences, limits.slots)))[::-1]
        self._prefixes = Prefixes()
        self._rotation = Rotation(limits.step_tokens)
        self._moves: list[Move] = []
        self._headway = Headway()
        #: Adapter -> tokens of prompts that were computed since its streams had a part in a step.
        self._silent: Counter[str] = Counter()
        #: Of the last step that had prompts in it: those of crowding keys that it was computed without.
        self._passed_over: set[Sequence] = set()

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def cells_used(self) -> int:
        """Cells that hold a token: of running sequences, and of idle prefixes."""
        return self._prefixes.cells + sum(self._private(sequence) for sequence in self._running.values())

    @property
    def cells_idle(self) -> int:
        """Those of idle prefixes alone."""
        return self._prefixes.idle_cells

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence: behind those already waiting for a slot that deserve one as much."""
        sequence.place = next(self._places)
        self._waiting.append(sequence)

    def plan(self) -> Plan:
        """The next step; without chunks when there is nothing to do."""
        self._fade()
        self._seat()
        for sequence in list(self._leaders):
            self._follow(sequence)
        chunks = self._chunks()
        while not chunks and self._running and self._give_way():
            chunks = self._chunks()
        return Plan(self.moves(), chunks)

    def moves(self) -> list[Move]:
        """What has to be done to the KV cells since the last time."""
        moves, self._moves = self._moves, []
        return moves

    def apply(self, chunks: list[Chunk]) -> None:
        """The step was evaluated: the KV cache now holds the chunks."""
        if chunks:
            self._rotation.stepped(chunks[0].sequence.adapter, _tokens(chunks))
            self._remember_who_waits(chunks)
        for chunk in chunks:
            sequence = chunk.sequence
            sequence.computed = chunk.stop
            self._prefixes.now += chunk.stop - chunk.start
            self.shares.charge(sequence.key, chunk.stop - chunk.start)
            # The prompt is there: whoever comes may share it.
            if chunk.start < sequence.prompt_length <= chunk.stop:
                self._publish(sequence)

    def took(self, chunks: list[Chunk], seconds: float) -> None:
        """What the step took: how much the next one may hold."""
        keys = {chunk.sequence.key for chunk in chunks if not chunk.sequence.alone}
        self._headway.took(keys, tokens=_tokens(chunks), chunks=len(chunks), seconds=seconds)

    def shift(self, sequence: Sequence) -> None:
        """The context is full: part of it goes, and the rest moves up.

        In place where the cells that move are the sequence's own; those that others share have one place for all, and
        what lies behind is computed again.
        """
        assert sequence.slot is not None
        keep, gone = sequence.shift()
        end = sequence.computed
        if self.limits.shift and end >= keep + gone >= self._prefixes.held(sequence.slot):
            self._moves += [
                Drop(sequence.slot, keep, keep + gone),
                Shift(sequence.slot, keep + gone, end, gone),
            ]
            sequence.computed = end - gone
        else:
            sequence.computed = min(end, keep)
            self._moves.append(Drop(sequence.slot, sequence.computed))
        self._prefixes.trim(sequence.slot, keep)

    def retire(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Takes a sequence out, wherever it is. keep: what it computed stays for others, until the cells are wanted."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
            return
        if keep:
            self._publish(sequence)
        self._vacate(sequence, keep=keep)

    def forget_idle(self) -> None:
        """Lets go of every idle prefix."""
        while self._evict():
            pass

    @property
    def alive(self) -> list[Sequence]:
        """All that run, and all that wait."""
        return [*self._running.values(), *self._waiting]

    def of(self, request_id: str) -> Iterator[Sequence]:
        """The request's sequences that still run or wait."""
        return iter([sequence for sequence in self.alive if sequence.request_id == request_id])

    # -- seats ------------------------------------------------------------------------------------------------------------

    def _seat(self) -> None:
        while self._waiting and self._seated(self._first()):
            pass

    def _first(self) -> Sequence:
        """Who of those that wait gets the next slot."""
        slots = self._slots
        return min(self._waiting, key=lambda each: (*fairness.standing(each, slots, self.shares), each.place))

    def _seated(self, sequence: Sequence) -> bool:
        """Gives a slot to who waits, and if need be somebody's who deserves it less."""
        full = len(self._running) >= self.limits.slots
        aside = fairness.stands_aside(sequence, self._running.values(), self._slots, self.shares) if full else None
        if full and aside is None:
            return False
        match = self._match(sequence)
        # The last to be evicted when room is made now.
        self._prefixes.touch(match.slot)
        if not self._free and aside is None:
            self._evict()
        leader = self._leader(sequence, match.length)
        wanted = len(sequence.tokens) - max(match.length, leader[1] if leader else 0)
        while not self._room_for(wanted + self._promised) and self._running:
            # Only urgency takes cells away, too: among equals much that had been computed could be lost for nothing.
            less_urgent = [each for each in self._running.values() if each.rank > sequence.rank]
            if not less_urgent:
                return False
            self._stand_aside(fairness.least(less_urgent, self._slots, self.shares) or less_urgent[-1])
            aside = None
        if aside is not None:
            self._stand_aside(aside)
        if not self._free:
            self._evict()
        self._waiting.remove(sequence)
        # Making room may have cost even what had matched.
        self._take_slot(sequence, self._match(sequence))
        if leader is not None and leader[0].slot is not None:
            self._leaders[sequence] = leader
        return True

    @property
    def _slots(self) -> Counter[str]:
        """How many slots each key has."""
        return Counter(sequence.key for sequence in self._running.values())

    def _stand_aside(self, sequence: Sequence) -> None:
        """Somebody deserves the slot more. What was computed in it stays, until the cells are wanted."""
        self._publish(sequence)
        self._vacate(sequence, keep=True)
        sequence.computed = 0
        self._waiting.append(sequence)

    @property
    def _promised(self) -> int:
        """Cells that the prompts on their way will need, and each stream for its next token."""
        followed = {sequence: length for sequence, (_, length) in self._leaders.items()}
        return sum(
            len(sequence.tokens) - max(sequence.computed, followed.get(sequence, 0))
            for sequence in self._running.values()
        )

    def _take_slot(self, sequence: Sequence, match: Match) -> None:
        slot = sequence.slot = self._free.pop()
        self._running[slot] = sequence
        sequence.seatings += 1
        if match.length:
            self._share(sequence, match)

    def _share(self, sequence: Sequence, match: Match) -> None:
        assert sequence.slot is not None
        self._moves += self._prefixes.share(sequence.slot, sequence.tokens, match)
        sequence.computed = match.length
        # What it had computed itself, in another slot or elsewhere, was not there before.
        if sequence.seatings == 1 and not sequence.generated:
            sequence.cached = max(sequence.cached, match.length)

    def _match(self, sequence: Sequence) -> Match:
        """What of it is resident; all but the last token, which must be computed to draw the next."""
        most = min(len(sequence.tokens) - 1, sequence.sharable)
        if not self.limits.reuse or not most or sequence.scores_prompt:
            return Match(0)
        match = self._prefixes.match(sequence.tokens[:most], sequence.adapter)
        # An image is shared whole or not at all; whoever holds more holds less, too.
        length = sequence.views.whole(match.length)
        return Match(length, match.slot) if length else Match(0)

    def _leader(self, sequence: Sequence, length: int) -> tuple[Sequence, int] | None:
        """Who is on the way to computing more of this prompt than is resident, and how much of it."""
        if not self.limits.reuse or sequence.scores_prompt:
            return None
        found, most = None, min(len(sequence.tokens) - 1, sequence.sharable)
        for other in self._running.values():
            if other is sequence or other.adapter != sequence.adapter:
                continue
            # Only what it has or will surely compute: its next token is not known yet.
            same = common_length(other.tokens, sequence.tokens)
            shared = sequence.views.whole(min(same, most, other.sharable))
            if shared > length and other.computed < shared:
                found, length = (other, shared), shared
        return found

    def _follow(self, sequence: Sequence) -> None:
        """Takes over what the leader has computed by now."""
        leader, length = self._leaders[sequence]
        if sequence.slot is None:
            del self._leaders[sequence]
            return
        if leader.slot is not None and not leader.shifted:
            self._publish(leader)
        match = self._match(sequence)
        if match.length > sequence.computed and self._private(sequence) == 0:
            self._share(sequence, match)
        if sequence.computed >= length or leader.slot is None or leader.shifted or leader.computed >= length:
            del self._leaders[sequence]

    # -- a step -----------------------------------------------------------------------------------------------------------

    def _chunks(self) -> list[Chunk]:
        """What the adapter whose turn it is can compute, or the next one that can compute anything."""
        # In order of arrival.
        present = list({sequence.adapter: None for sequence in self._running.values()})
        for adapter in present if len(present) < 2 else self._rotation.order(present):
            streams = self._decoding(adapter)
            chunks = self._in_turn(adapter, streams, self._prompts(adapter, streams))
            if chunks:
                return chunks
        return []

    def _in_turn(self, adapter: str, streams: list[Chunk], prompts: list[Chunk]) -> list[Chunk]:
        """What of both is this step. They are computed together, unless several keys are about and the prompts take long:
        then the streams are left out of this step, and have the next one for themselves. For the prompt of a key that
        does not crowd they are left out again, while they can wait.
        """
        tokens, silent = _tokens(prompts), self._silent[adapter]
        if not streams or not self._headway.lasts(tokens) or len(self._headway.about(self._slots)) < 2:
            return streams + prompts
        too_long = self._headway.seconds(silent + tokens) > STALL_SECONDS
        return streams if silent and (too_long or prompts[0].sequence.key in self._crowding) else prompts

    def _remember_who_waits(self, chunks: list[Chunk]) -> None:
        """Who was left out of the step, which is not applied yet."""
        adapter, stepped = chunks[0].sequence.adapter, {chunk.sequence for chunk in chunks}
        waiting = [s for s in self._running.values() if s.adapter == adapter and s not in stepped]
        left_out = any(sequence.pending == 1 for sequence in waiting)
        self._silent[adapter] = self._silent[adapter] + _tokens(chunks) if left_out else 0
        if any(chunk.sequence.pending > 1 for chunk in chunks):
            self._passed_over = {s for s in waiting if s.pending > 1 and s.key in self._crowding}

    @property
    def _crowding(self) -> set[str]:
        """The keys that have more slots than their part."""
        slots = self._slots
        return fairness.crowding(slots, self._headway.about(slots), self.shares)

    def _decoding(self, adapter: str) -> list[Chunk]:
        """A token of each sequence that is one behind. Where cells are wanting, those who deserve them least give way."""
        while True:
            behind = [s for s in self._running.values() if s.pending == 1 and s.adapter == adapter]
            if self._room_for(len(behind)):
                return [_chunk(sequence, 1) for sequence in behind]
            if not self._give_way():
                return []

    def _prompts(self, adapter: str, decoding: list[Chunk]) -> list[Chunk]:
        limits = self.limits
        budget = limits.step_tokens - len(decoding)
        if decoding:
            budget = self._headway.beside(len(decoding), budget)
        chunks: list[Chunk] = []
        reserved = len(decoding)
        slots, crowding = self._slots, self._crowding
        for sequence in sorted(self._running.values(), key=lambda each: (each.rank, slots[each.key])):
            if sequence.pending <= 1 or sequence in self._leaders or sequence.adapter != adapter:
                continue
            if sequence.key in crowding:
                most = self._headway.crowding(budget)
                second = chunks and chunks[0].sequence.key not in crowding and sequence not in self._passed_over
                if second and self._headway.lasts(self._size(sequence, most)):
                    continue
                budget = most
            size = self._size(sequence, budget, first=not chunks)
            self._room_for(reserved + size)
            size = self._size(sequence, min(size, limits.cells - self.cells_used - reserved))
            if size <= 0:
                break
            chunks.append(_chunk(sequence, size))
            budget = max(budget - size, 0)
            reserved += size
        return chunks

    def _size(self, sequence: Sequence, budget: int, *, first: bool = False) -> int:
        """How much of a prompt comes next where so much may: text up to an image or to its end, or as much of an image.
        Of one that is computed at once that is all or nothing, and all where it is the `first`: nothing else makes room
        for it, however long it waited.
        """
        start = sequence.computed
        end = sequence.views.edge(start, len(sequence.tokens))
        view = sequence.views.at(start)
        if view is not None and view.shape.together:
            return end - start if first or end - start <= budget else 0
        return min(budget, end - start, SCORED_TOKENS if sequence.scores_prompt else budget)

    # -- cells ------------------------------------------------------------------------------------------------------------

    def _private(self, sequence: Sequence) -> int:
        """Cells that are in nobody's tree yet."""
        assert sequence.slot is not None
        return sequence.computed - self._prefixes.held(sequence.slot)

    def _room_for(self, wanted: int) -> bool:
        """Whether so many cells are free, at the cost of idle prefixes."""
        while self.limits.cells - self.cells_used < wanted:
            if not self._evict():
                return False
        return True

    def _fade(self) -> None:
        """Lets go of idle prefixes that cost more than they are worth."""
        patience, now = self.limits.idle_tokens, self._prefixes.now
        if patience:
            free, moves = self._prefixes.fade(fresh=now - patience // UNSHARED_PATIENCE, reused=now - patience)
            self._moves += moves
            self._free += free

    def _evict(self) -> bool:
        evicted = self._prefixes.evict()
        if evicted is None:
            return False
        slot, moves = evicted
        self._moves += moves
        self._free.append(slot)
        return True

    def _give_way(self) -> bool:
        """Nobody can go on for want of cells: who deserves his own least gives them back, of equals the youngest."""
        if len(self._running) == 1:
            return False
        slots = self._slots
        chosen = max(self._running.values(), key=lambda each: (each.rank, slots[each.key], each.place))
        self._vacate(chosen, keep=False)
        chosen.computed = 0
        self._waiting.append(chosen)
        return True

    def _publish(self, sequence: Sequence) -> None:
        if self.limits.reuse and not sequence.alone and sequence.slot is not None:
            known = sequence.tokens[: min(sequence.computed, sequence.sharable)]
            if len(known) > self._prefixes.held(sequence.slot):
                self._moves += self._prefixes.publish(sequence.slot, known, sequence.adapter)

    def _vacate(self, sequence: Sequence, *, keep: bool) -> None:
        slot = sequence.slot
        assert slot is not None
        del self._running[slot]
        self._leaders.pop(sequence, None)
        sequence.slot = None
        held = self._prefixes.held(slot)
        if keep and sequence.computed > held:
            self._moves.append(Drop(slot, held))
        moves = self._prefixes.rest(slot) if keep else self._prefixes.release(slot)
        self._moves += moves
        # Slots are free again once nothing of them is left.
        self._free += [move.slot for move in moves if isinstance(move, Drop)]


def _chunk(sequence: Sequence, size: int) -> Chunk:
    stop = sequence.computed + size
    scores = sequence.scores_prompt and sequence.computed < sequence.prompt_length - 1
    view = sequence.views.at(sequence.computed)
    return Chunk(sequence, sequence.computed, stop, stop == len(sequence.tokens), scores, view)


def _tokens(chunks: list[Chunk]) -> int:
    return sum(chunk.stop - chunk.start for chunk in chunks)

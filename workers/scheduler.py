"""Which tokens the next forward pass evaluates. Pure: it knows sequences and numbers, no model, no clock, no queue.

A step is `plan` -> (somebody evaluates and samples) -> `apply`. Every running sequence that is one token behind goes first,
so that a long prompt never stalls streams; what the step's budget leaves is given to prompts, in chunks, oldest first.

    slots   0 1 2 3 ...      a sequence holds one from its first chunk until it retires
    budget  d d d d p p p p p p p p       d: one token of a decoding sequence, p: a chunk of somebody's prompt
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tropilla.workers.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [start, stop) of a sequence, to be computed in this step. `samples`: the next token is drawn after it."""

    sequence: Sequence
    start: int
    stop: int
    samples: bool


class Scheduler:
    """Sequences waiting and running. All methods belong to one thread.

    slots: how many sequences run at once. step_tokens: how many tokens one step evaluates at the most.
    """

    def __init__(self, *, slots: int, step_tokens: int) -> None:
        assert slots > 0
        assert step_tokens >= slots, "every running sequence must fit into a step"
        self.step_tokens = step_tokens
        self._waiting: deque[Sequence] = deque()
        #: In order of arrival: the oldest prompt is served first.
        self._running: dict[int, Sequence] = {}
        self._free = list(range(slots))

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence behind those already waiting for a slot."""
        self._waiting.append(sequence)

    def plan(self) -> list[Chunk]:
        """The chunks of the next step, each sequence at most once; empty when there is nothing to do."""
        self._seat()
        behind = [sequence for sequence in self._running.values() if sequence.pending == 1]
        prompts = [sequence for sequence in self._running.values() if sequence.pending > 1]
        chunks = [_chunk(sequence, 1) for sequence in behind]
        budget = self.step_tokens - len(chunks)
        for sequence in prompts:
            if budget <= 0:
                break
            size = min(budget, sequence.pending)
            chunks.append(_chunk(sequence, size))
            budget -= size
        return chunks

    def apply(self, chunks: list[Chunk]) -> None:
        """The step was evaluated: the KV cache now holds the chunks."""
        for chunk in chunks:
            chunk.sequence.computed = chunk.stop

    def retire(self, sequence: Sequence) -> int | None:
        """Takes a sequence out, wherever it is. Answers the slot it held, whose KV cells the caller must clear."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
            return None
        slot = sequence.slot
        del self._running[slot]
        heapq.heappush(self._free, slot)
        sequence.slot = None
        return slot

    def of(self, request_id: str) -> Iterator[Sequence]:
        """The request's sequences that still run or wait."""
        alive = [*self._running.values(), *self._waiting]
        return iter([sequence for sequence in alive if sequence.request_id == request_id])

    def _seat(self) -> None:
        while self._waiting and self._free:
            sequence = self._waiting.popleft()
            sequence.slot = heapq.heappop(self._free)
            self._running[sequence.slot] = sequence


def _chunk(sequence: Sequence, size: int) -> Chunk:
    stop = sequence.computed + size
    return Chunk(sequence, sequence.computed, stop, samples=stop == len(sequence.tokens))

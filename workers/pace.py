"""What the loop's steps take, and how full they are, for whoever watches the worker.

A step that computes prompts is a prefill and any other one a decode, whatever else is in it: there are no two modes here,
but those who compare servers look for the two words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from tropilla.common.metrics import BETWEEN_TOKENS, SECONDS, SIZES, Load, Tally
from tropilla.workers.scheduler import Chunk

#: concat: the batch is made. forward: it is evaluated. decode: tokens are drawn. filter: what has ended leaves.
Part = Literal["concat", "forward", "decode", "filter"]


class Lap:
    """The times of one step, taken one after the other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self.parts: dict[Part, float] = {}

    def end(self, part: Part) -> None:
        now = self._clock()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def ended_at(self) -> float:
        return self._last

    @property
    def total(self) -> float:
        return self._last - self._began


class Pace:
    """Keeps the books of one worker's steps. Written by the loop's thread; `load` may be read by any."""

    def __init__(self, model: str, tally: Tally, *, slots: int = 0, cells: int = 0) -> None:
        """slots, cells: what the worker has."""
        self._model, self._tally = model, tally
        self._rest = self._load = Load(model, slots=slots, cells=cells)
        #: Adapter -> when the last step did that was computed with it, of those that follow each other: where adapters
        #: take turns, an answer has no token while others have theirs.
        self._ended_at: dict[str, float] = {}

    @property
    def load(self) -> Load:
        return self._load

    def rests(self, *, used: int = 0) -> None:
        """Nothing runs any more. used: KV cells that idle prefixes keep."""
        self._ended_at.clear()
        if self._load.sequences or self._load.used != used:
            self._load = replace(self._rest, used=used)

    def stepped(
        self,
        chunks: Sequence[Chunk],
        lap: Lap,
        *,
        joined: int,
        broke: bool,
        running: int = 0,
        waiting: int = 0,
        used: int = 0,
    ) -> None:
        """joined: how many of the step's sequences were in none before. running, waiting, used: sequences that have a slot
        now, those that have none, and cells that are taken.
        """
        decoding = sum(1 for chunk in chunks if chunk.start >= chunk.sequence.prompt_length)
        method = "prefill" if decoding < len(chunks) else "decode"
        count, observe, model = self._tally.count, self._tally.observe, self._model
        count("batch_inference_count", model, label=method)
        if joined:
            observe("batch_next_size", joined, SIZES, model)
            if joined < len(chunks):
                count("batch_concat", model, label="joined")
        sequences = [chunk.sequence for chunk in chunks]
        most = sum(s.prompt_length + s.rules.max_tokens for s in sequences)
        have = sum(len(s.tokens) for s in sequences)
        self._load = replace(
            self._rest,
            sequences=len(sequences),
            most_tokens=most,
            tokens=have,
            running=running,
            waiting=waiting,
            used=used,
        )
        adapter = sequences[0].adapter
        before = self._ended_at.pop(adapter, None)
        if broke:
            count("batch_inference_failure", model, label=method)
            return
        self._ended_at[adapter] = lap.ended_at
        count("batch_inference_success", model, label=method)
        if decoding and before is not None:
            observe("inter_token", lap.ended_at - before, BETWEEN_TOKENS, model, times=decoding)
        observe("batch_inference_duration", lap.total, SECONDS, model, label=method)
        for part, seconds in lap.parts.items():
            observe(f"batch_{part}_duration", seconds, SECONDS, model, label=method)

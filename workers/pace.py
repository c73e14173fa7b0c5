"""What the loop's steps take, and how full they are, for whoever watches the worker.

A step that computes prompts is a prefill and any other one a decode, whatever else is in it: there are no two modes here,
but those who compare servers look for the two words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from tropilla.common.metrics import SECONDS, SIZES, Load, Tally
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
    def total(self) -> float:
        return self._last - self._began


class Pace:
    """Keeps the books of one worker's steps. Written by the loop's thread; `load` may be read by any."""

    def __init__(self, model: str, tally: Tally) -> None:
        self._model, self._tally = model, tally
        self._load = Load(model)

    @property
    def load(self) -> Load:
        return self._load

    def rests(self) -> None:
        """Nothing runs any more."""
        if self._load.sequences:
            self._load = Load(self._model)

    def stepped(self, chunks: Sequence[Chunk], lap: Lap, *, joined: int, broke: bool) -> None:
        """joined: how many of the step's sequences were in none before."""
        method = "prefill" if any(chunk.start < chunk.sequence.prompt_length for chunk in chunks) else "decode"
        count, observe, model = self._tally.count, self._tally.observe, self._model
        count("batch_inference_count", model, label=method)
        if joined:
            observe("batch_next_size", joined, SIZES, model)
            if joined < len(chunks):
                count("batch_concat", model, label="joined")
        sequences = [chunk.sequence for chunk in chunks]
        most = sum(s.prompt_length + s.rules.max_tokens for s in sequences)
        self._load = Load(model, len(sequences), most, sum(len(s.tokens) for s in sequences))
        if broke:
            count("batch_inference_failure", model, label=method)
            return
        count("batch_inference_success", model, label=method)
        observe("batch_inference_duration", lap.total, SECONDS, model, label=method)
        for part, seconds in lap.parts.items():
            observe(f"batch_{part}_duration", seconds, SECONDS, model, label=method)

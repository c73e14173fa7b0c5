"""The forward passes of one step: images first, in passes of their own, text last.

A batch of llama.cpp is of tokens or of embeddings, and every pass overwrites the logits of the one before it. Only text
gives any, so it comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
from tropilla.workers.llama.batch import Batch
from tropilla.workers.scheduler import Chunk

#: Of a chunk that gives no logits.
NO_ROW = -1


class EvaluationFailed(Exception):
    """A forward pass was refused."""


class Passes:
    """Over one context; step_tokens: of one pass, at the most."""

    def __init__(self, context: Any, step_tokens: int) -> None:
        self._context = context
        self._step_tokens = step_tokens
        self._tokens = Batch(step_tokens)
        #: Made with the first image.
        self._views: Batch | None = None

    def evaluate(self, chunks: Sequence[Chunk]) -> list[int | EvaluationFailed]:
        """Answers the row of each chunk's last token; where its pass was refused, why. The others' are none the worse."""
        # Where places see each other a pass has one view; all the others are one pass together.
        causal: list[int] = []
        text: list[int] = []
        rows: list[int | EvaluationFailed] = [NO_ROW] * len(chunks)
        for place, chunk in enumerate(chunks):
            if chunk.view is None:
                text.append(place)
            elif not chunk.view.shape.together:
                causal.append(place)
            else:
                rows[place] = self._see([chunk], causal=False) or NO_ROW
        if causal:
            refused = self._see([chunks[place] for place in causal])
            for place in causal:
                rows[place] = refused or NO_ROW
        if text:
            found = self._tokens.fill([chunks[place] for place in text])
            refused = self._decode(self._tokens)
            for place, row in zip(text, found, strict=True):
                rows[place] = row if refused is None else refused
        return rows

    def _see(self, chunks: Sequence[Chunk], *, causal: bool = True) -> EvaluationFailed | None:
        if self._views is None:
            width = int(llama_cpp.llama_model_n_embd_inp(llama_cpp.llama_get_model(self._context)))
            self._views = Batch(self._step_tokens, width=width)
        self._views.fill_with_views(chunks)
        llama_cpp.llama_set_causal_attn(self._context, causal)
        try:
            return self._decode(self._views)
        finally:
            llama_cpp.llama_set_causal_attn(self._context, True)

    def _decode(self, batch: Batch) -> EvaluationFailed | None:
        result = llama_cpp.llama_decode(self._context, batch.struct)
        if result == 0:
            return None
        return EvaluationFailed(f"llama_decode answered {result} for {batch.struct.n_tokens} tokens")

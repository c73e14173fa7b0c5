"""The arrays of one forward pass."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp
import numpy
from tropilla.workers.scheduler import Chunk

#: Numbers that say where a place stands, in a model with M-RoPE.
SECTIONS = 4


class Batch:
    """The arrays of one llama_batch, allocated once and filled in place: of tokens, or with a `width` of embeddings."""

    def __init__(self, capacity: int, *, width: int = 0) -> None:
        self.tokens = numpy.zeros(0 if width else capacity, numpy.int32)
        self.rows = numpy.zeros((capacity, width), numpy.float32)
        self.positions = numpy.zeros(SECTIONS * capacity if width else capacity, numpy.int32)
        self.slots = numpy.zeros(capacity, numpy.int32)
        self.outputs = numpy.zeros(capacity, numpy.int8)
        self._counts = numpy.ones(capacity, numpy.int32)
        step = self.slots.itemsize
        #: seq_id is an array of pointers: the i-th points at slots[i].
        self._pointers = self.slots.ctypes.data + step * numpy.arange(capacity, dtype=numpy.uintp)
        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=None if width else self.tokens.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token)),
            embd=self.rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) if width else None,
            pos=self.positions.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(llama_cpp.llama_seq_id))),
            logits=self.outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, chunks: Sequence[Chunk]) -> list[int]:
        """Lays chunks of tokens out one after another; answers the row of each one's last token."""
        at, rows = 0, []
        for chunk in chunks:
            end = at + chunk.stop - chunk.start
            self.tokens[at:end] = chunk.sequence.tokens[chunk.start : chunk.stop]
            first = chunk.sequence.views.position(chunk.start)
            self.positions[at:end] = numpy.arange(first, first + end - at)
            assert chunk.sequence.slot is not None
            self.slots[at:end] = chunk.sequence.slot
            self.outputs[at:end] = chunk.scores
            self.outputs[end - 1] = chunk.samples or chunk.scores
            rows.append(end - 1)
            at = end
        self.struct.n_tokens = at
        return rows

    def fill_with_views(self, chunks: Sequence[Chunk]) -> None:
        """Lays chunks of images out one after another. None of them gives a row of logits."""
        total = sum(chunk.stop - chunk.start for chunk in chunks)
        grid = any(chunk.view is not None and chunk.view.shape.grid is not None for chunk in chunks)
        sections = SECTIONS if grid else 1
        # Section by section, as many of each as there are places in this pass.
        positions = self.positions[: sections * total].reshape(sections, total)
        at = 0
        for chunk in chunks:
            view, slot = chunk.view, chunk.sequence.slot
            assert view is not None
            assert slot is not None
            end = at + chunk.stop - chunk.start
            seen = slice(chunk.start - view.start, chunk.stop - view.start)
            self.rows[at:end] = view.rows[seen]
            self.slots[at:end] = slot
            first = chunk.sequence.views.position(chunk.start)
            if view.shape.grid is None:
                positions[:, at:end] = numpy.arange(first, first + end - at)
            else:
                from_0, from_1 = view.shape.grid[:, :, seen]
                positions[:, at:end] = from_0 + first * (from_1 - from_0)
            at = end
        self.outputs[:total] = 0
        self.struct.n_tokens = total

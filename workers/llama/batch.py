"""The arrays of one forward pass."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp
import numpy
from tropilla.workers.scheduler import Chunk


class Batch:
    """The arrays of one llama_batch, allocated once and filled in place."""

    def __init__(self, capacity: int) -> None:
        self.tokens = numpy.zeros(capacity, numpy.int32)
        self.positions = numpy.zeros(capacity, numpy.int32)
        self.slots = numpy.zeros(capacity, numpy.int32)
        self.outputs = numpy.zeros(capacity, numpy.int8)
        self._counts = numpy.ones(capacity, numpy.int32)
        step = self.slots.itemsize
        #: seq_id is an array of pointers: the i-th points at slots[i].
        self._pointers = self.slots.ctypes.data + step * numpy.arange(capacity, dtype=numpy.uintp)
        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=self.tokens.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token)),
            embd=None,
            pos=self.positions.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(llama_cpp.llama_seq_id))),
            logits=self.outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, chunks: Sequence[Chunk]) -> list[int]:
        """Lays the chunks out one after another; answers the row of each chunk's last token."""
        at, rows = 0, []
        for chunk in chunks:
            end = at + chunk.stop - chunk.start
            self.tokens[at:end] = chunk.sequence.tokens[chunk.start : chunk.stop]
            self.positions[at:end] = numpy.arange(chunk.start, chunk.stop)
            assert chunk.sequence.slot is not None
            self.slots[at:end] = chunk.sequence.slot
            self.outputs[at:end] = chunk.scores
            self.outputs[end - 1] = chunk.samples or chunk.scores
            rows.append(end - 1)
            at = end
        self.struct.n_tokens = at
        return rows

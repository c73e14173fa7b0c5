"""A projector beside the model (mmproj): pictures -> embeddings that the model reads in the place of tokens.

llama.cpp's mtmd cuts a picture into views as the projector wants it, says how many places each takes, and encodes them. To
measure is cheap and may be done by several threads at once; encoding computes, with a graph and a buffer that mtmd has one
of, so it is done by one thread at a time.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy
from llama_cpp import mtmd_cpp
from numpy.typing import NDArray
from tropilla.common.bitmaps import Bitmap
from tropilla.common.errors import ConfigurationError, GenerationFailed, InvalidPrompt
from tropilla.workers.llama import library
from tropilla.workers.views import Shape

log = logging.getLogger(__name__)

Rows = NDArray[numpy.float32]

#: One that takes longer says how far it is.
PATIENCE_SECONDS = 5.0


class _Chunks:
    """mtmd's list of what a picture was cut into; freed with the last reference."""

    def __init__(self) -> None:
        self.pointer = mtmd_cpp.mtmd_input_chunks_init()
        weakref.finalize(self, mtmd_cpp.mtmd_input_chunks_free, self.pointer)

    def __iter__(self) -> Any:
        return (
            mtmd_cpp.mtmd_input_chunks_get(self.pointer, place)
            for place in range(mtmd_cpp.mtmd_input_chunks_size(self.pointer))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A picture as the model is shown it: views, and the ids of the text that mtmd puts around them."""

    parts: tuple[tuple[int, ...] | Shape, ...]
    chunks: _Chunks


class Eyes:
    """Raises `ConfigurationError`, with what mtmd complains of, for a file that is no projector, does not fit the model or
    reads no images. `model` is llama.cpp's pointer to the weights; `close` before those are freed.

    gpu: it encodes there, where llama.cpp was built for one (never tried by this project's tests, which have none).
    """

    def __init__(self, path: Path, model: Any, *, threads: int, gpu: bool = False) -> None:
        library.start()
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu = gpu
        params.n_threads = threads
        params.print_timings = False
        with library.complaints() as complaints:
            self._context = mtmd_cpp.mtmd_init_from_file(str(path).encode(), model, params)
        if not self._context:
            reason = complaints[0].splitlines()[0] if complaints else "llama.cpp does not say why"
            raise ConfigurationError(f"{path} could not be loaded as a projector: {reason}")
        if not mtmd_cpp.mtmd_support_vision(self._context):
            mtmd_cpp.mtmd_free(self._context)
            raise ConfigurationError(f"{path} is a projector that reads no images")
        #: Numbers in one embedding.
        self.width = int(llama_cpp.llama_model_n_embd_inp(model))
        self._grid = bool(mtmd_cpp.mtmd_decode_use_mrope(self._context))
        self._encoding = threading.Lock()
        self._busy_since: float | None = None

    def measure(self, bitmap: Bitmap) -> Measured:
        """How many places the picture takes. From any thread. Raises `InvalidPrompt` where mtmd cannot cut it."""
        # Where they stand: mtmd makes its own copy, and writes into that alone.
        pixels = ctypes.cast(ctypes.c_char_p(bitmap.pixels), ctypes.POINTER(ctypes.c_uint8))
        picture = mtmd_cpp.mtmd_bitmap_init(bitmap.width, bitmap.height, pixels)
        try:
            chunks = _Chunks()
            part = mtmd_cpp.mtmd_input_part(text=None, bitmap=picture)
            parts = (ctypes.POINTER(mtmd_cpp.mtmd_input_part) * 1)(ctypes.pointer(part))
            with library.complaints() as complaints:
                result = mtmd_cpp.mtmd_tokenize_from_parts(self._context, chunks.pointer, parts, 1, False)
        finally:
            mtmd_cpp.mtmd_bitmap_free(picture)
        if result != 0:
            reason = complaints[0] if complaints else f"mtmd_tokenize_from_parts answered {result}"
            size = f"{bitmap.width} x {bitmap.height}"
            raise InvalidPrompt(f"the model cannot read an image of {size} pixels: {reason}", code="invalid_prompt")
        return Measured(tuple(map(self._part, chunks)), chunks)

    @property
    def busy_since(self) -> float | None:
        """Since when the view that is encoded now is, on the monotonic clock. From any thread."""
        return self._busy_since

    def encode(self, measured: Measured, go_on: Callable[[], None] = lambda: None) -> list[Rows]:
        """The embeddings of each view, (places, width). Before each `go_on` is asked, which raises what it likes. Raises
        `GenerationFailed`.
        """
        views = [chunk for chunk in measured.chunks if _is_image(chunk)]
        rows: list[Rows] = []
        with self._encoding:
            began = told = time.monotonic()
            for view in views:
                go_on()
                rows.append(self._encode(view))
                if time.monotonic() - told >= PATIENCE_SECONDS and len(rows) < len(views):
                    told = time.monotonic()
                    log.info("encoding an image: %d of %d views in %.0f s", len(rows), len(views), told - began)
        return rows

    def _encode(self, chunk: Any) -> Rows:
        self._busy_since = time.monotonic()
        try:
            result = mtmd_cpp.mtmd_encode_chunk(self._context, chunk)
        finally:
            self._busy_since = None
        if result != 0:
            raise GenerationFailed("the worker could not encode an image")
        output = mtmd_cpp.mtmd_get_output_embd(self._context)
        shape = (int(mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)), self.width)
        # Out of mtmd's memory, which the next image overwrites.
        return numpy.array(numpy.ctypeslib.as_array(output, shape=shape), numpy.float32)

    def _part(self, chunk: Any) -> tuple[int, ...] | Shape:
        length = int(mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk))
        if not _is_image(chunk):
            ids = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(ctypes.c_size_t()))
            return tuple(ids[:length])
        return Shape(
            length,
            steps=int(mtmd_cpp.mtmd_input_chunk_get_n_pos(chunk)),
            together=bool(mtmd_cpp.mtmd_decode_use_non_causal(self._context, chunk)),
            grid=_grid(chunk, length) if self._grid else None,
        )

    def close(self) -> None:
        """After the last thread has left it."""
        mtmd_cpp.mtmd_free(self._context)


def _is_image(chunk: Any) -> bool:
    return bool(mtmd_cpp.mtmd_input_chunk_get_type(chunk) == mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_IMAGE)


def _grid(chunk: Any, length: int) -> NDArray[numpy.int32]:
    """(2, 4, length): the positions of each place, in llama.cpp's order, for a view that begins at 0, and at 1. Some of
    them count from there, and some do not; with both, `llama.batch` knows them for any beginning.
    """
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_image(chunk)
    places = [
        [mtmd_cpp.mtmd_image_tokens_get_decoder_pos(tokens, first, place) for place in range(length)]
        for first in (0, 1)
    ]
    return numpy.array([[(at.t, at.y, at.x, at.z) for at in each] for each in places], numpy.int32).transpose(0, 2, 1)

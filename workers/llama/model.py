"""One pinned GGUF, with one context that holds many sequences in one unified KV cache."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import llama_cpp
import numpy
from numpy.typing import NDArray
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import Alternative
from tropilla.workers import filters
from tropilla.workers.llama import library
from tropilla.workers.llama.adapters import Adapters
from tropilla.workers.llama.passes import EvaluationFailed, Passes
from tropilla.workers.llama.vocabulary import Vocabulary
from tropilla.workers.loop import Draw, Drawn
from tropilla.workers.memory import CELLS_BLOCK, MAX_PHYSICAL_BATCH, DoesNotFit
from tropilla.workers.prefixes import Copy, Drop, Move, Shift
from tropilla.workers.scheduler import SCORED_TOKENS, Chunk

#: llama.cpp's LLAMA_MAX_SEQ.
MAX_SEQUENCES = 256
#: A draw from fewer logits than this is over before another thread has woken up.
PARALLEL_VOCABULARY = 1 << 15

Logits = NDArray[numpy.float32]


@dataclass(frozen=True, slots=True)
class Size:
    """How much a context holds: `slots` sequences that run at once, `sequences` with the idle prefixes, `cells` in all,
    `context` tokens in any one of them, `step_tokens` in one pass; `resident_bytes` with the weights, as planned.
    """

    slots: int
    context: int
    step_tokens: int
    cells: int = 0
    sequences: int = 0
    resident_bytes: int = 0

    @property
    def longest_view(self) -> int:
        """Places of an image that may see each other: one physical batch."""
        return min(self.step_tokens, MAX_PHYSICAL_BATCH)

    @property
    def outputs(self) -> int:
        """Rows of logits a pass may give. llama.cpp insists on one for each sequence."""
        return max(self.slots + SCORED_TOKENS, self.sequences)


class Llama:
    """Raises `ConfigurationError` when llama.cpp will not load the file. Only the thread that made it evaluates and draws.

    gpu_layers: kept on a GPU, -1 all. cache_type: ggml's number of the KV cache's type. adapters: LoRA files by name, which
    the headers say will fit. `on_progress` gets 0.0 to 1.0.
    """

    def __init__(
        self,
        path: Path,
        size: Size,
        *,
        threads: int,
        gpu_layers: int = 0,
        cache_type: int = llama_cpp.GGML_TYPE_F16,
        adapters: Mapping[str, Path] = MappingProxyType({}),
        on_progress: Any = None,
    ) -> None:
        library.start()
        self.size = size
        self._model = self._load(path, gpu_layers, on_progress)
        self.vocabulary = Vocabulary(self._model)
        try:
            self.adapters = Adapters(self._model, adapters)
            self._context = self._create_context(path, threads, cache_type)
        except ConfigurationError:
            llama_cpp.llama_model_free(self._model)
            raise
        self._passes = Passes(self._context, size.step_tokens)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._row = ctypes.c_float * self.vocabulary.size
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="draw")
        self._threads = threads
        self._parallel = threads > 1 and self.vocabulary.size >= PARALLEL_VOCABULARY

    @property
    def pointer(self) -> Any:
        """llama.cpp's own handle, for a second context on the same weights."""
        return self._model

    @property
    def generates(self) -> bool:
        """It writes text: an encoder only reads it."""
        return self._memory is not None and bool(llama_cpp.llama_model_has_decoder(self._model))

    @property
    def shares_prefixes(self) -> bool:
        """Part of a sequence's memory can be handed to another: not a recurrent state, nor a window that has moved on."""
        if self._memory is None:
            return False
        recurrent = llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model)
        return not recurrent and llama_cpp.llama_model_n_swa(self._model) == 0

    @property
    def shifts_positions(self) -> bool:
        return self.shares_prefixes and bool(llama_cpp.llama_memory_can_shift(self._memory))

    def _load(self, path: Path, gpu_layers: int, on_progress: Any) -> Any:
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers

        @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
        def progress(done: float, _: Any) -> bool:
            if on_progress is not None:
                on_progress(done)
            return True

        params.progress_callback = progress
        with library.complaints() as complaints:
            model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            reason = complaints[0] if complaints else "llama.cpp does not say why"
            raise ConfigurationError(f"{path} could not be loaded: {reason}")
        return model

    def _create_context(self, path: Path, threads: int, cache_type: int) -> Any:
        size, params = self.size, llama_cpp.llama_context_default_params()
        cells = size.cells or size.slots * size.context
        params.n_ctx = -(-cells // CELLS_BLOCK) * CELLS_BLOCK
        params.n_batch = size.step_tokens
        params.n_ubatch = min(size.step_tokens, MAX_PHYSICAL_BATCH)
        params.n_seq_max = max(size.sequences, size.slots)
        # Only the last token of a chunk gives a row of logits, and each of a scored prompt: memory for no more.
        params.n_outputs_max = size.outputs
        # One pool of cells for all sequences: prefixes are shared without a copy, and none lies idle in a short slot.
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = cache_type
        params.no_perf = True
        created = llama_cpp.llama_init_from_model(self._model, params)
        if not created:
            raise DoesNotFit(f"{path}: no memory for {params.n_ctx} KV cells of {size.slots} slots")
        return created

    # -- the loop's calls -------------------------------------------------------------------------------------------------

    def move(self, moves: Sequence[Move]) -> None:
        """Changes which KV cells belong to which slot; no tensor is touched."""
        for move in moves:
            match move:
                case Copy():
                    llama_cpp.llama_memory_seq_cp(self._memory, move.source, move.target, move.start, move.stop)
                case Drop():
                    stop = -1 if move.stop is None else move.stop
                    llama_cpp.llama_memory_seq_rm(self._memory, move.slot, move.start, stop)
                case Shift():
                    llama_cpp.llama_memory_seq_add(self._memory, move.slot, move.start, move.stop, -move.by)

    def evaluate(self, chunks: Sequence[Chunk]) -> list[int | EvaluationFailed]:
        """One step, of one adapter. Answers the row of each chunk's last token; where its pass was refused, why. Raises
        `EvaluationFailed`.
        """
        adapter = chunks[0].sequence.adapter
        if not self.adapters.apply(self._context, adapter):
            raise EvaluationFailed(f"llama.cpp refused to apply the adapter {adapter!r}")
        return self._passes.evaluate(chunks)

    def resident(self, slot: int) -> int:
        """How many positions a slot holds, by llama.cpp's own account."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, slot)) + 1

    def draw(self, draws: Sequence[Draw]) -> list[Drawn | Exception]:
        """Draws and accepts, in parallel over sequences; what went wrong with one of them stands in its place."""
        # llama.cpp brings its rows in order at the first question; after that they may be read from any thread.
        rows = [self._logits(draw.row) for draw in draws]
        drawn: list[Drawn | Exception] = [Drawn(0)] * len(draws)

        def some(places: Iterable[int]) -> None:
            for place in places:
                drawn[place] = self._draw(draws[place], rows[place])

        # A draw from few candidates takes 0.1 ms, most of it holding the interpreter's lock: two threads are slower.
        slow = [place for place, draw in enumerate(draws) if draw.sampler.slow] if self._parallel else []
        if len(slow) < 2:
            some(range(len(draws)))
            return drawn
        helpers = [self._pool.submit(some, slow[at :: self._threads]) for at in range(1, self._threads)]
        some(place for place in range(len(draws)) if place not in slow)
        some(slow[:: self._threads])
        for helper in helpers:
            helper.result()
        return drawn

    def score(self, row: int, tokens: Sequence[int], top: int) -> list[tuple[float, tuple[Alternative, ...]]]:
        """Log-probabilities of the token that follows each row from `row` on, and of the likeliest alternatives."""
        return [self._logprobs(self._logits(row + at), token, top) for at, token in enumerate(tokens)]

    def _logits(self, row: int) -> Logits:
        """A row of the last pass, as a view."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, row)
        assert pointer, f"row {row} was not asked for"
        return numpy.ctypeslib.as_array(self._row.from_address(ctypes.addressof(pointer.contents)))

    def _draw(self, draw: Draw, row: Logits) -> Drawn | Exception:
        try:
            # Log-probabilities are of the raw logits, whatever the draw does to its row.
            raw = row.copy() if draw.logprobs is not None and draw.sampler.edits else row
            token = draw.sampler.draw(row)
        except Exception as error:  # one sequence's grammar or numbers; the others' draws are fine
            return error
        if draw.logprobs is None:
            return Drawn(token)
        return Drawn(token, *self._logprobs(raw, token, draw.logprobs))

    def _logprobs(self, row: Logits, token: int, top: int) -> tuple[float, tuple[Alternative, ...]]:
        """Log-softmax of a row: of one token, and of the `top` likeliest, best first."""
        peak = float(row.max())
        total = peak + float(numpy.log(numpy.exp(row - peak).sum(dtype=numpy.float64)))
        best = filters.best(row, min(top, row.size)) if top else None
        ids = [] if best is None else best.ids.tolist()
        alternatives = tuple(Alternative(i, self.vocabulary.piece(i), float(row[i]) - total) for i in ids)
        return float(row[token]) - total, alternatives

    def close(self) -> None:
        self._pool.shutdown()
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

"""One pinned GGUF, with one context that holds many sequences in one unified KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy
from numpy.typing import NDArray
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import Alternative, Sampling
from tropilla.workers.llama import library
from tropilla.workers.llama.batch import Batch
from tropilla.workers.llama.sampler import Sampler
from tropilla.workers.llama.vocabulary import Vocabulary
from tropilla.workers.scheduler import Chunk

#: The KV cache is allocated in blocks of this many cells.
CELLS_BLOCK = 256
#: A physical batch larger than this gains nothing on any backend measured by llama.cpp.
MAX_PHYSICAL_BATCH = 512


class EvaluationFailed(Exception):
    """A forward pass was refused; the KV cache is as before."""


class Llama:
    """One pinned GGUF. Raises `ConfigurationError` when llama.cpp will not load it.

    context: tokens one sequence may hold; `on_progress` gets 0.0 to 1.0 while loading.
    """

    def __init__(
        self,
        path: Path,
        *,
        slots: int,
        context: int,
        step_tokens: int,
        threads: int,
        gpu_layers: int = 0,
        on_progress: Any = None,
    ) -> None:
        library.start()
        self.context = context
        self._model = self._load(path, gpu_layers, on_progress)
        self.vocabulary = Vocabulary(self._model)
        self._batch = Batch(step_tokens)
        self._context = self._create_context(path, slots, context, step_tokens, threads)
        self._memory = llama_cpp.llama_get_memory(self._context)

    def _load(self, path: Path, gpu_layers: int, on_progress: Any) -> Any:
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers

        @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
        def progress(done: float, _: Any) -> bool:
            if on_progress is not None:
                on_progress(done)
            return True

        params.progress_callback = progress
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise ConfigurationError(f"{path} could not be loaded by llama.cpp; its log lines above say why")
        return model

    def _create_context(self, path: Path, slots: int, context: int, step_tokens: int, threads: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-slots * context // CELLS_BLOCK) * CELLS_BLOCK
        params.n_batch = step_tokens
        params.n_ubatch = min(step_tokens, MAX_PHYSICAL_BATCH)
        params.n_seq_max = slots
        # One pool of cells for all sequences: none of it lies idle because a slot is short.
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        created = llama_cpp.llama_init_from_model(self._model, params)
        if not created:
            cells = params.n_ctx
            raise ConfigurationError(f"{path}: no memory for {cells} KV cells ({slots} slots of {context} tokens)")
        return created

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        return Sampler(sampling, self.vocabulary.size, self.context, prompt)

    def evaluate(self, chunks: Sequence[Chunk]) -> list[int]:
        """One forward pass. Answers, for each chunk, the row to sample from. Raises `EvaluationFailed`."""
        rows = self._batch.fill(chunks)
        result = llama_cpp.llama_decode(self._context, self._batch.struct)
        if result != 0:
            raise EvaluationFailed(f"llama_decode answered {result} for {self._batch.struct.n_tokens} tokens")
        return rows

    def sample(self, sampler: Sampler, row: int) -> int:
        """Draws and accepts the next token from a row of the last pass."""
        return int(llama_cpp.llama_sampler_sample(sampler.chain, self._context, row))

    def logprobs(self, row: int, token: int, top: int) -> tuple[float, tuple[Alternative, ...]]:
        """Log-softmax of the raw logits of a row: of one token, and of the `top` likeliest, best first."""
        logits: NDArray[numpy.float32] = numpy.ctypeslib.as_array(
            llama_cpp.llama_get_logits_ith(self._context, row), shape=(self.vocabulary.size,)
        )
        peak = float(numpy.max(logits))
        total = peak + float(numpy.log(numpy.sum(numpy.exp(logits - peak))))
        best: list[int] = []
        if top:
            candidates = numpy.argpartition(logits, -top)[-top:]
            best = [int(i) for i in candidates[numpy.argsort(-logits[candidates], kind="stable")]]
        alternatives = tuple(Alternative(i, self.vocabulary.piece(i), float(logits[i]) - total) for i in best)
        return float(logits[token]) - total, alternatives

    def forget(self, slot: int) -> None:
        """Frees every KV cell of a slot."""
        llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

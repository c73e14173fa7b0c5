"""llama.cpp, through the low-level bindings of llama-cpp-python; nothing else imports `llama_cpp`.

The version is pinned because the C signatures change between releases; `check_version` refuses any other. One `Llama` is
one GGUF with one context that holds `slots` sequences in one unified KV cache. Only the thread that made it may evaluate
and sample; the vocabulary is constant and may be asked from any thread.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import llama_cpp
import numpy
from numpy.typing import NDArray
from tropilla.common.catalogue import Flavour
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import Alternative, Sampling
from tropilla.workers.scheduler import Chunk

log = logging.getLogger(__name__)

PINNED_VERSION = "0.3.36"
#: The KV cache is allocated in blocks of this many cells.
CELLS_BLOCK = 256
#: A physical batch larger than this gains nothing on any backend measured by llama.cpp.
MAX_PHYSICAL_BATCH = 512
#: llama.cpp's log levels, see ggml_log_level. Its warnings are about what is meant here: one pool of cells that is larger
#: than any one sequence may be.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.ERROR}


#: Below this a temperature is greedy: dividing logits by it would overflow.
GREEDY_BELOW = 1e-4
#: Beyond these a repeat penalty overflows too, and means nothing.
REPEAT_PENALTIES = (0.01, 100.0)


class EvaluationFailed(Exception):
    """A forward pass was refused; the KV cache is as before."""


def installed_version() -> str:
    return metadata.version("llama-cpp-python")


def check_version(found: str) -> None:
    """Raises `ConfigurationError` unless llama-cpp-python is the release this file was written against."""
    if found != PINNED_VERSION:
        raise ConfigurationError(
            f"llama-cpp-python is {found}; this release of Tropilla needs exactly {PINNED_VERSION}"
        )


def check_flavour(flavour: Flavour) -> None:
    """Raises `ConfigurationError` for `gpu` when this build of llama.cpp cannot use one: never a silent fall-back."""
    if flavour == "gpu" and not llama_cpp.llama_supports_gpu_offload():
        raise ConfigurationError(
            "a gpu worker needs a GPU and a llama-cpp-python built for it "
            "(CMAKE_ARGS=-DGGML_CUDA=on make up); this build runs on the CPU only"
        )


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _forward_log(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", errors="replace").strip()
    if line and level in _LOG_LEVELS:
        log.log(_LOG_LEVELS[level], "llama.cpp: %s", line)


class Vocabulary:
    """Text <-> token ids, and what each id is. Safe from every thread."""

    def __init__(self, model: Any) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))
        self._pieces: dict[int, bytes] = {}
        self._markers = frozenset(i for i in range(self.size) if llama_cpp.llama_vocab_is_control(self._vocab, i))
        self._ends = frozenset(i for i in range(self.size) if llama_cpp.llama_vocab_is_eog(self._vocab, i))
        bos, eos = llama_cpp.llama_vocab_bos(self._vocab), llama_cpp.llama_vocab_eos(self._vocab)
        #: What an empty prompt starts from.
        self.start = int(bos if bos >= 0 else eos if eos >= 0 else 0)
        self.bos_text = self.piece(bos).decode(errors="replace") if bos >= 0 else ""
        self.eos_text = self.piece(eos).decode(errors="replace") if eos >= 0 else ""

    @property
    def marker_texts(self) -> frozenset[str]:
        """The spellings of all control tokens: what user text must not be able to say."""
        return frozenset(self.piece(token).decode(errors="replace") for token in self._markers)

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        """Token ids. special: markers spelled in the text become markers. start: add a BOS if the model wants one."""
        data = text.encode()
        room = len(data) + 2
        for _ in range(2):
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, start, special)
            if count >= 0:
                return list(ids[:count])
            room = -count
        raise AssertionError("llama_tokenize asked for more room than it had said it needs")

    def piece(self, token: int) -> bytes:
        """The token's bytes; a marker is spelled out."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token)
        return known

    def is_marker(self, token: int) -> bool:
        return token in self._markers

    def ends_turn(self, token: int) -> bool:
        return token in self._ends

    def _render(self, token: int) -> bytes:
        room = 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            room = -length
        raise AssertionError("llama_token_to_piece asked for more room than it had said it needs")


class Sampler:
    """A chain of llama.cpp's samplers for one sequence. To be closed."""

    def __init__(self, sampling: Sampling, vocabulary: int, context: int, prompt: Sequence[int]) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        self._add_penalties(sampling, vocabulary, context, prompt)
        for link in _links(sampling, vocabulary):
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    @property
    def chain(self) -> Any:
        return self._chain

    def close(self) -> None:
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None

    def _add_penalties(self, sampling: Sampling, vocabulary: int, context: int, prompt: Sequence[int]) -> None:
        """Repeat penalty looks at prompt and answer, presence and frequency at the answer only: two samplers."""
        low, high = REPEAT_PENALTIES
        penalty = min(max(sampling.repeat_penalty, low), high)
        last = context if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context)
        if penalty != 1.0 and last > 0:
            repeat = llama_cpp.llama_sampler_init_penalties(vocabulary, last, penalty, 0.0, 0.0)
            for token in prompt[-last:]:
                llama_cpp.llama_sampler_accept(repeat, token)
            llama_cpp.llama_sampler_chain_add(self._chain, repeat)
        if sampling.presence_penalty or sampling.frequency_penalty:
            counted = llama_cpp.llama_sampler_init_penalties(
                vocabulary, context, 1.0, sampling.frequency_penalty, sampling.presence_penalty
            )
            llama_cpp.llama_sampler_chain_add(self._chain, counted)


def _links(sampling: Sampling, vocabulary: int) -> list[Any]:
    """llama.cpp's samplers in the order every dialect's upstream applies them, temperature last."""
    if sampling.temperature < GREEDY_BELOW:
        return [llama_cpp.llama_sampler_init_greedy()]
    temperature = llama_cpp.llama_sampler_init_temp(sampling.temperature)
    if sampling.mirostat == 1:
        # 100 is the m of the paper, and what llama.cpp's own server passes.
        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        return [temperature, llama_cpp.llama_sampler_init_mirostat(vocabulary, sampling.seed, tau, eta, 100)]
    if sampling.mirostat == 2:
        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        return [temperature, llama_cpp.llama_sampler_init_mirostat_v2(sampling.seed, tau, eta)]
    links = []
    if sampling.top_k > 0:
        links.append(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1.0:
        links.append(llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1.0:
        links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0.0:
        links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
    return [*links, temperature, llama_cpp.llama_sampler_init_dist(sampling.seed)]


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
            self.outputs[at:end] = 0
            self.outputs[end - 1] = chunk.samples
            rows.append(end - 1)
            at = end
        self.struct.n_tokens = at
        return rows


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
        check_version(installed_version())
        llama_cpp.llama_log_set(_forward_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
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

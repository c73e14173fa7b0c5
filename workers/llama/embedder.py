"""Vectors from the weights that are already loaded: a second context beside the one that generates.

Two kinds of model, told apart when the context is made:

    causal   a token sees only what stands before it (chat models, and embedders made of them). Long inputs are evaluated
             in chunks over a KV cache, and the vectors of the tokens pooled here: llama.cpp pools each chunk by itself.
    whole    every token sees every other (BERT and its like). An input must be evaluated at once, and llama.cpp pools.

How an input's tokens become one vector is what the model's header says: their mean, the first one's or the last one's. For
a model that says nothing it is the mean. llama-server pools nothing then, hands out a vector per token and refuses OpenAI's
route; the last token, the other candidate, says what comes next and not what the text is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import llama_cpp
import numpy
from numpy.typing import NDArray
from tropilla.common.errors import GenerationFailed
from tropilla.workers.llama.batch import Batch
from tropilla.workers.llama.vocabulary import Vocabulary

Vector = NDArray[numpy.float32]

#: Tokens of one pass: where a CPU is fastest. In a longer one more time goes into attention scores between tokens of
#: different inputs, which are masked out afterwards. A GPU wants more at once.
PASS_TOKENS = 128
#: llama.cpp keeps a row of logits for every token of a pass, wanted or not; a large vocabulary gets smaller passes.
LOGITS_BYTES = 256 * 2**20
#: Inputs of one pass. llama.cpp can number 256.
SEQUENCES = 64
#: llama.cpp's flash attention rounds to 16 bits: the same text had, alone and in company, vectors 5e-5 (pocket) to 8e-4 (a
#: small BERT) apart in cosine distance; without it less than 2e-6, for a quarter of the speed. It is used where the scores,
#: which it never writes down, would be larger than this.
SCORES_BYTES = 256 * 2**20
#: Enough of a context to ask the model what it is.
PROBE_TOKENS = 32

#: llama.cpp's pooling types, where it is done here -> how much each of an input's tokens counts.
_WEIGHTS: Mapping[int, Callable[[int], Vector]] = {
    llama_cpp.LLAMA_POOLING_TYPE_MEAN: lambda length: numpy.full(length, 1 / length, numpy.float32),
    llama_cpp.LLAMA_POOLING_TYPE_CLS: lambda length: numpy.eye(1, length, 0, numpy.float32)[0],
    llama_cpp.LLAMA_POOLING_TYPE_LAST: lambda length: numpy.eye(1, length, length - 1, numpy.float32)[0],
}


@dataclass(frozen=True, slots=True)
class _Nature:
    """What a model says of itself once it has a context."""

    pooling: int
    whole: bool


class Embedder:
    """Vectors of token sequences. The context is made by the first `embed`, so that who never embeds pays no memory.

    One thread at a time; that need not be the one that generates on the same weights, which nobody writes. `close` before
    the weights are freed. `model` is llama.cpp's pointer to them, `context` how many tokens one input may have at most.
    """

    def __init__(
        self, model: Any, vocabulary: Vocabulary, *, context: int, threads: int, pass_tokens: int = PASS_TOKENS
    ) -> None:
        self._model = model
        self._threads = threads
        #: Dimensions of a vector.
        self.length = int(llama_cpp.llama_model_n_embd_out(model))
        #: Tokens of one input, at most. Models with learned positions have none beyond those they were trained on.
        self.longest = min(context, int(llama_cpp.llama_model_n_ctx_train(model)) or context)
        #: Tokens of one pass, at most; a longer input goes alone.
        self.tokens = max(PROBE_TOKENS, min(pass_tokens, LOGITS_BYTES // (4 * vocabulary.size)))
        recurrent = llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model)
        #: Inputs of one pass, at most. Recurrent states are large, and llama.cpp evaluates them one by one anyway.
        self.sequences = 1 if recurrent else min(SEQUENCES, self.tokens)
        self._encodes = bool(llama_cpp.llama_model_has_encoder(model))
        self._nature = _Nature(llama_cpp.LLAMA_POOLING_TYPE_MEAN, whole=False)
        self._context: Any = None
        self._batch = Batch(1)

    @property
    def is_open(self) -> bool:
        return self._context is not None

    def embed(self, inputs: Sequence[Sequence[int]]) -> list[Vector]:
        """One vector per input, as the model gives it. Raises `GenerationFailed` when llama.cpp refuses.

        At most `sequences` inputs of `tokens` tokens in all, or one input of up to `longest`.
        """
        sizes = [len(ids) for ids in inputs]
        # llama.cpp ends the process where these do not hold.
        assert all(0 < size <= self.longest for size in sizes), "an empty or overlong input"
        assert 0 < len(sizes) <= self.sequences, "too many inputs for one pass"
        assert len(sizes) == 1 or sum(sizes) <= self.tokens, "too many tokens for one pass"
        if self._context is None:
            self._open()
        try:
            return self._pooled(inputs) if self._nature.whole else self._pool(inputs)
        finally:
            memory = llama_cpp.llama_get_memory(self._context)
            if memory:
                # The cells only: what they held is never read again.
                llama_cpp.llama_memory_clear(memory, False)

    def close(self) -> None:
        """Frees the context; the next `embed` makes another."""
        if self._context is not None:
            llama_cpp.llama_free(self._context)
            self._context, self._batch = None, Batch(1)

    def _open(self) -> None:
        self._nature = nature = self._ask()
        if self._encodes and llama_cpp.llama_model_has_decoder(self._model):
            raise GenerationFailed("a model with an encoder and a decoder gives no embeddings", code="unsupported")
        if nature.pooling not in _WEIGHTS:
            raise GenerationFailed("this model ranks texts; it gives no embeddings", code="unsupported")
        at_once = max(self.tokens, self.longest) if nature.whole else self.tokens
        pooling = nature.pooling if nature.whole else llama_cpp.LLAMA_POOLING_TYPE_NONE
        self._context = self._create(
            cells=max(self.tokens, self.longest), at_once=at_once, sequences=self.sequences, pooling=pooling
        )
        self._batch = Batch(at_once)

    def _ask(self) -> _Nature:
        """Some architectures decide by themselves what others say in the header: a small context knows."""
        unspecified = llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED
        probe = self._create(cells=PROBE_TOKENS, at_once=PROBE_TOKENS, sequences=1, pooling=unspecified)
        pooling = int(llama_cpp.llama_pooling_type(probe))
        chunks = llama_cpp.llama_get_memory(probe) and llama_cpp.llama_get_causal_attn(probe) and not self._encodes
        llama_cpp.llama_free(probe)
        if pooling == llama_cpp.LLAMA_POOLING_TYPE_NONE:
            pooling = llama_cpp.LLAMA_POOLING_TYPE_MEAN
        return _Nature(pooling, whole=not chunks)

    def _create(self, *, cells: int, at_once: int, sequences: int, pooling: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = at_once
        params.n_seq_max = sequences
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = self._threads
        params.embeddings = True
        if 4 * at_once * cells * llama_cpp.llama_model_n_head(self._model) <= SCORES_BYTES:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.pooling_type = pooling
        params.no_perf = True
        created = llama_cpp.llama_init_from_model(self._model, params)
        if not created:
            raise GenerationFailed(f"the worker has no memory for embeddings of up to {self.longest} tokens")
        return created

    def _pooled(self, inputs: Sequence[Sequence[int]]) -> list[Vector]:
        """All at once, pooled by llama.cpp."""
        self._evaluate(*_laid_out(inputs))
        return [self._copy(llama_cpp.llama_get_embeddings_seq(self._context, at), 1)[0] for at in range(len(inputs))]

    def _pool(self, inputs: Sequence[Sequence[int]]) -> list[Vector]:
        """Chunk by chunk. Each input is summed by itself: a NaN in one leaves the others whole."""
        tokens, positions, slots = _laid_out(inputs)
        vectors = [numpy.zeros(self.length, numpy.float32) for _ in inputs]
        weights = [_WEIGHTS[self._nature.pooling](len(ids)) for ids in inputs]
        edges = list(pairwise(numpy.cumsum([0, *map(len, inputs)]).tolist()))
        for start in range(0, len(tokens), self.tokens):
            stop = min(start + self.tokens, len(tokens))
            self._evaluate(tokens[start:stop], positions[start:stop], slots[start:stop])
            rows = self._copy(llama_cpp.llama_get_embeddings(self._context), stop - start)
            for at, (first, last) in enumerate(edges):
                begin, end = max(first, start), min(last, stop)
                if begin < end:
                    vectors[at] += weights[at][begin - first : end - first] @ rows[begin - start : end - start]
        return vectors

    def _evaluate(self, tokens: NDArray[Any], positions: NDArray[Any], slots: NDArray[Any]) -> None:
        batch, count = self._batch, len(tokens)
        batch.tokens[:count], batch.positions[:count], batch.slots[:count] = tokens, positions, slots
        batch.outputs[:count] = 1
        batch.struct.n_tokens = count
        name = "llama_encode" if self._encodes else "llama_decode"
        result = getattr(llama_cpp, name)(self._context, batch.struct)
        if result != 0:
            raise GenerationFailed(f"the worker could not embed: {name} answered {result} for {count} tokens")

    def _copy(self, rows: Any, count: int) -> Vector:
        """Out of llama.cpp's memory, which the next pass overwrites."""
        if not rows:
            raise GenerationFailed("the worker could not embed: llama.cpp gave no vector")
        return numpy.array(numpy.ctypeslib.as_array(rows, shape=(count, self.length)), numpy.float32)


def _laid_out(inputs: Sequence[Sequence[int]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """One input after another: tokens, their places in their input, and which input they belong to."""
    sizes = [len(ids) for ids in inputs]
    tokens = numpy.concatenate([numpy.asarray(ids, numpy.int32) for ids in inputs])
    positions = numpy.concatenate([numpy.arange(size, dtype=numpy.int32) for size in sizes])
    return tokens, positions, numpy.repeat(numpy.arange(len(inputs), dtype=numpy.int32), sizes)

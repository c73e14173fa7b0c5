"""What a GGUF header says about memory: bytes of a KV cell, numbers of a recurrent state, and of a token on its way.

It repeats what llama.cpp 0.3.36 computes in llama-hparams.cpp, llama-kv-cache.cpp and llama-memory-recurrent.cpp. Where a
header leaves a layer's kind open, the layer is counted as both attention and recurrent: too much, never too little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header


class CacheType(NamedTuple):
    """How ggml stores a number of the KV cache: its number for the type, and elements and bytes of a block."""

    number: int
    elements: int
    size_bytes: int


CACHE_TYPES: Mapping[str, CacheType] = {
    "f32": CacheType(0, 1, 4),
    "f16": CacheType(1, 1, 2),
    "bf16": CacheType(30, 1, 2),
    "q8_0": CacheType(8, 32, 34),
    "q5_1": CacheType(7, 32, 24),
    "q5_0": CacheType(6, 32, 22),
    "q4_1": CacheType(3, 32, 20),
    "q4_0": CacheType(2, 32, 18),
    "iq4_nl": CacheType(20, 32, 18),
}

#: llm_arch_is_recurrent: they have states only.
RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
#: Every nth layer attends where the header does not say; the others are recurrent.
ATTENTION_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8}
#: Only the first layers have cells; the others read theirs.
OWN_CELLS = {"gemma3n": 20}


class Shape:
    """The numbers of a header that decide about memory. Names on the right are llama.cpp's keys."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.layers = self._number("block_count")
        self.width = self._number("embedding_length")
        self.vocabulary = header.vocabulary or self._number("vocab_size")
        #: Dense layers and those with a window have a mask each.
        self.masks = 2 if self._number("attention.sliding_window") or header.architecture == "llama4" else 1

    def _number(self, key: str, layer: int = 0) -> int:
        """A number, or a layer's own where the header has an array of them; 0 when absent."""
        value = self._header.values.get(f"{self._header.architecture}.{key}")
        if isinstance(value, tuple):
            return int(value[layer]) if layer < len(value) else 0
        return self._header.of_architecture(key)

    def _largest(self, key: str) -> int:
        return max((self._number(key, layer) for layer in range(self.layers)), default=0)

    def cell_bytes(self, cache_type: str) -> int:
        """One token's keys and values in all layers."""
        _, elements, size_bytes = CACHE_TYPES[cache_type]
        total = 0
        for layer in filter(self._attends, range(self.layers)):
            heads = self._heads(layer)
            for length in self._lengths(layer):
                if heads and length % elements:
                    raise ConfigurationError(
                        f"heads of {length} elements cannot be kept as {cache_type}, in {elements}s"
                    )
                total += heads * length // elements * size_bytes
        index = self._number("attention.indexer.key_length")
        return total + math.ceil(self.layers * index / elements) * size_bytes

    def _heads(self, layer: int) -> int:
        key = "attention.head_count_kv"
        known = f"{self._header.architecture}.{key}" in self._header.values
        return self._number(key if known else "attention.head_count", layer)

    def _lengths(self, layer: int) -> tuple[int, ...]:
        """Of one head's keys and values. Latent attention (MLA) keeps keys only."""
        equal = self.width // max(1, self._number("attention.head_count"))
        key, value = (
            max(self._number(f"attention.{part}_length") or equal, self._number(f"attention.{part}_length_swa"))
            for part in ("key", "value")
        )
        pattern = self._header.values.get(f"{self._header.architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, tuple) and layer < len(pattern):
            ending = "_swa" if pattern[layer] else ""
            key = self._number(f"attention.key_length{ending}") or key
            value = self._number(f"attention.value_length{ending}") or value
        return (key,) if self._number("attention.key_length_mla") else (key, value)

    def _attends(self, layer: int) -> bool:
        own = OWN_CELLS.get(self._header.architecture, self.layers - self._number("attention.shared_kv_layers"))
        return layer < own and self._header.architecture not in RECURRENT and self._kind(layer) != "recurrent"

    def _recurs(self, layer: int) -> bool:
        return self._kind(layer) != "attention"

    def _kind(self, layer: int) -> str:
        values, architecture = self._header.values, self._header.architecture
        marked = values.get(f"{architecture}.attention.recurrent_layers")
        if isinstance(marked, tuple) and layer < len(marked):
            return "recurrent" if marked[layer] else "attention"
        if isinstance(values.get(f"{architecture}.attention.head_count_kv"), tuple):
            return "attention" if self._heads(layer) else "recurrent"
        interval = self._number("full_attention_interval") or ATTENTION_INTERVALS.get(architecture, 0)
        if interval:
            return "recurrent" if (layer + 1) % interval else "attention"
        return "either"

    @property
    def state_floats(self) -> int:
        """Of one sequence, over all layers."""
        return self.layer_state_floats * sum(map(self._recurs, range(self.layers)))

    @property
    def layer_state_floats(self) -> int:
        """llama_hparams::n_embd_r + n_embd_s."""
        heads = self._largest("attention.head_count")
        if size := self._number("wkv.head_size"):
            return self.width * ((self._number("token_shift_count") or 2) + size)
        if length := self._number("shortconv.l_cache"):
            return self.width * (length - 1)
        if size := self._number("kda.head_dim"):
            return 3 * max(self._number("ssm.conv_kernel") - 1, 3) * heads * size + size * size * heads
        if self._header.architecture == "minimax-01":
            return heads * self._lengths(0)[0] ** 2
        inner, state = self._number("ssm.inner_size"), self._number("ssm.state_size")
        kept = max(0, self._number("ssm.conv_kernel") - 1) * (inner + 2 * self._number("ssm.group_count") * state)
        return kept + state * inner

    @property
    def activation_floats(self) -> int:
        """Of one token, at the widest point of the widest layer: fitted to llama.cpp's own numbers."""
        width, heads, spread = self.width, self._largest("attention.head_count"), self._largest("feed_forward_length")
        queries = heads * (self._lengths(0)[0] if heads else 0)
        dense = 4 * width + 3 * spread
        attention = 2 * width + 4 * queries
        used, expert = self._largest("expert_used_count"), self._largest("expert_feed_forward_length") or spread
        shared = self._number("expert_shared_feed_forward_length") or self._number("expert_shared_count") * expert
        experts = used * max(2 * width + 2 * expert, width + 3 * expert) + (3 * shared + 2 * width if shared else 0)
        inner = self._number("ssm.inner_size") + 2 * self._number("ssm.group_count") * self._number("ssm.state_size")
        recurrent = (2 * width + 6 * max(inner, width)) if self.layer_state_floats else 0
        return max(dense, attention, experts, recurrent)

"""The facts of one GGUF file, as a value: what is asked of its keys, its vocabulary and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tropilla.common.ggml import FILE_TYPES

TOKENS = "tokenizer.ggml.tokens"

#: Tokens that ask for what stands between two texts; llama.cpp knows them by these spellings, first, second, third.
FILL_MARKERS = (
    frozenset({
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
        "<|code_prefix|>", "<|prefix|>",
    }),
    frozenset({
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>",
    }),
    frozenset({
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
        "<|code_middle|>", "<|middle|>",
    }),
)  # fmt: skip
#: The same by their ids, in files that name them; the first names are newer.
FILL_KEYS = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))
ALL_FILL_MARKERS = frozenset().union(*FILL_MARKERS)


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of one file. `values` has every scalar and string key, and of arrays only their lengths."""

    values: Mapping[str, Any]
    parameter_count: int
    size_bytes: int
    #: Those of `FILL_MARKERS` that are in the vocabulary.
    fill_markers: frozenset[str] = frozenset()
    #: Each tensor's shape, ggml's way: the innermost dimension first.
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    #: Each tensor's type by name, `Q4_K`.
    tensor_types: Mapping[str, str] = field(default_factory=dict)
    #: The keys that hold arrays.
    arrays: frozenset[str] = frozenset()

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def quantization(self) -> str:
        return FILE_TYPES.get(self.values.get("general.file_type", -1), "unknown")

    @property
    def chat_template(self) -> str:
        return _text(self.values.get("tokenizer.chat_template"))

    @property
    def chat_templates(self) -> Mapping[str, str]:
        """Further templates by name, `tool_use` and the like."""
        prefix = "tokenizer.chat_template."
        named = {key.removeprefix(prefix): _text(value) for key, value in self.values.items() if key.startswith(prefix)}
        return {name: source for name, source in named.items() if source}

    @property
    def fills_in(self) -> bool:
        """Whether it has the three tokens that ask for what stands between two texts."""
        return all(
            any(_whole(self.values.get(f"tokenizer.ggml.{key}_token_id"), -1) >= 0 for key in keys)
            or bool(markers & self.fill_markers)
            for keys, markers in zip(FILL_KEYS, FILL_MARKERS, strict=True)
        )

    @property
    def vocabulary(self) -> int:
        return _whole(self.values.get(TOKENS))

    def of_architecture(self, key: str) -> int:
        """A number under the architecture's own name, `llama.context_length`; 0 when absent."""
        return _whole(self.values.get(f"{self.architecture}.{key}"))


def _whole(value: Any, otherwise: int = 0) -> int:
    """For a key that is absent or of a type it should not have, something else."""
    return value if isinstance(value, int) else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

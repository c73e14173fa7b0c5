"""What a GGUF file says of itself, read in Python before llama.cpp is let near it.

A file that is missing, cut short or something else is refused here with one sentence, so that a bad download costs an
error message and not a process. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3,
little-endian. Every count and length is checked against what the file can hold before anything is allocated for it.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tropilla.common.errors import ConfigurationError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
#: Guards against absurd headers; the largest models known have about 3,000 tensors and 300 keys.
MAX_TENSORS, MAX_KEYS, MAX_KEY_BYTES, MAX_DIMENSIONS, MAX_NESTING = 100_000, 100_000, 65_535, 4, 4
#: Of one tensor; so that the sum over all of them fits into 64 bits.
MAX_ELEMENTS = 1 << 46

#: GGUF value type -> struct format. 8 is a string, 9 an array.
_SCALARS: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9

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
_ALL_FILL_MARKERS = frozenset().union(*FILL_MARKERS)
_TOKENS = "tokenizer.ggml.tokens"
#: llama.cpp knows no model of more: a longer array does not speak of layers, and only its length is kept.
MAX_LAYERS = 512

#: ggml tensor type -> (elements per block, bytes per block); a type missing here is not measured.
_BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

#: general.file_type -> its name in every listing.
_FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip


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

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def quantization(self) -> str:
        return _FILE_TYPES.get(self.values.get("general.file_type", -1), "unknown")

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
        return _whole(self.values.get(_TOKENS))

    def of_architecture(self, key: str) -> int:
        """A number under the architecture's own name, `llama.context_length`; 0 when absent."""
        return _whole(self.values.get(f"{self.architecture}.{key}"))


def _whole(value: Any, otherwise: int = 0) -> int:
    """For a key that is absent or of a type it should not have, something else."""
    return value if isinstance(value, int) else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class _Truncated(Exception):
    pass


class _Malformed(Exception):
    pass


def read_header(path: Path) -> Header:
    """Raises `ConfigurationError` with one sentence that names the file and what is wrong with it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if file.read(4) != MAGIC:
                raise ConfigurationError(f"{path} is not a GGUF file: it does not begin with {MAGIC.decode()}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).header(size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path} cannot be read: {reason}") from error
    except _Truncated as error:
        raise ConfigurationError(f"{path} is truncated: {error}") from error
    except _Malformed as error:
        raise ConfigurationError(f"{path} is not a sound GGUF file: {error}") from error


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = len(MAGIC)
        self._fill_markers: set[str] = set()

    def header(self, size: int) -> Header:
        version = self._scalar("I")
        if version not in VERSIONS:
            raise _Malformed(f"version {version}, known are {' and '.join(map(str, VERSIONS))}")
        tensors, keys = self._scalar("Q"), self._scalar("Q")
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise _Malformed(f"it claims {tensors} tensors and {keys} keys")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string(MAX_KEY_BYTES)
            values[key] = self._value(self._scalar("I"), seen=self._see if key == _TOKENS else None)
        shapes, extent = self._tensors(tensors)
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise _Malformed(f"its alignment is {alignment!r}")
        end = math.ceil(self._at / alignment) * alignment + extent if tensors else self._at
        if end > size:
            raise _Truncated(f"its tensors end at byte {end}, the file at {size}")
        return Header(values, sum(map(math.prod, shapes.values())), size, frozenset(self._fill_markers), shapes)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise _Truncated(f"{count} bytes are wanted at byte {self._at} of {len(self._data)}")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _scalar(self, form: str) -> Any:
        return struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]

    def _string(self, limit: int) -> str:
        length = self._scalar("Q")
        if length > limit:
            raise _Malformed(f"a string of {length} bytes at byte {self._at}")
        return self._take(length).decode("utf-8", errors="replace")

    def _see(self, token: Any) -> None:
        if isinstance(token, str) and token in _ALL_FILL_MARKERS:
            self._fill_markers.add(token)

    def _value(self, kind: int, depth: int = 0, *, seen: Callable[[Any], None] | None = None) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string(len(self._data))
        if kind == _ARRAY and depth < MAX_NESTING:
            return self._array(depth, seen)
        raise _Malformed(f"a value of unknown type {kind} at byte {self._at}")

    def _array(self, depth: int, seen: Callable[[Any], None] | None) -> int | tuple[int, ...]:
        """Passes over an array, showing its strings to `seen`; answers its length, or a value for each layer."""
        kind, length = self._scalar("I"), self._scalar("Q")
        if length > len(self._data):
            raise _Truncated(f"an array of {length} items at byte {self._at}")
        if kind in _SCALARS:
            form = f"<{length}{_SCALARS[kind]}"
            data = self._take(struct.calcsize(form))
            if length <= MAX_LAYERS and _SCALARS[kind] not in "fd":
                return tuple(struct.unpack(form, data))
        else:
            for _ in range(length):
                item = self._value(kind, depth + 1)
                if seen is not None:
                    seen(item)
        return int(length)

    def _tensors(self, count: int) -> tuple[dict[str, tuple[int, ...]], int]:
        """(shapes by name, bytes from the start of the tensor data to the end of the last tensor)."""
        shapes: dict[str, tuple[int, ...]] = {}
        extent = 0
        for _ in range(count):
            name, dimensions = self._string(MAX_KEY_BYTES), self._scalar("I")
            if dimensions > MAX_DIMENSIONS:
                raise _Malformed(f"tensor {name!r} has {dimensions} dimensions")
            elements = math.prod(shape := tuple(self._scalar("Q") for _ in range(dimensions)))
            if elements > MAX_ELEMENTS:
                raise _Malformed(f"tensor {name!r} has {elements} elements")
            kind, offset = self._scalar("I"), self._scalar("Q")
            per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
            if name in shapes:
                raise _Malformed(f"two tensors are called {name!r}")
            shapes[name] = shape
            extent = max(extent, offset + elements // per_block * block_bytes)
        return shapes, extent

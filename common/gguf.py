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
from pathlib import Path
from typing import Any, TypeVar

from tropilla.common.errors import ConfigurationError
from tropilla.common.ggml import BEGINNING_BYTES, TENSOR_TYPES, what_is
from tropilla.common.header import ALL_FILL_MARKERS, TOKENS
from tropilla.common.header import Header as Header

Read = TypeVar("Read")

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

#: llama.cpp knows no model of more: a longer array does not speak of layers, and only its length is kept.
MAX_LAYERS = 512


class _Truncated(Exception):
    pass


class _Malformed(Exception):
    pass


def read_header(path: Path, *, called: str = "") -> Header:
    """Raises `ConfigurationError` with one sentence that names the file (`called`: as it is known to who reads that) and
    what is wrong with it.
    """
    return _read(path, called, lambda data, size: _Reader(data).header(size))


def read_arrays(path: Path, *, called: str = "") -> dict[str, list[Any]]:
    """Every array of the file, which `read_header` keeps only the lengths of. Raises as it does."""
    kept: dict[str, list[Any]] = {}

    def read(data: mmap.mmap, size: int) -> dict[str, list[Any]]:
        _Reader(data, kept).header(size)
        return kept

    return _read(path, called, read)


def _read(path: Path, called: str, read: Callable[[mmap.mmap, int], Read]) -> Read:
    name = called or str(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            beginning = file.read(BEGINNING_BYTES)
            if not beginning.startswith(MAGIC):
                found = what_is(beginning)
                why = f"it is {found}" if found else f"it does not begin with {MAGIC.decode()}"
                raise ConfigurationError(f"{name} is not a GGUF file: {why}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return read(data, size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{name} cannot be read: {reason}") from error
    except _Truncated as error:
        raise ConfigurationError(f"{name} is truncated: {error}") from error
    except _Malformed as error:
        raise ConfigurationError(f"{name} is not a sound GGUF file: {error}") from error


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, data: mmap.mmap, kept: dict[str, list[Any]] | None = None) -> None:
        self._data = data
        self._kept = kept
        self._at = len(MAGIC)
        self._fill_markers: set[str] = set()
        self._arrays: set[str] = set()

    def header(self, size: int) -> Header:
        version = self._scalar("I")
        if version not in VERSIONS:
            big = f" (it is big-endian: {swapped})" if (swapped := _swapped(version)) in VERSIONS else ""
            raise _Malformed(f"version {version}{big}, known are {' and '.join(map(str, VERSIONS))}")
        tensors, keys = self._scalar("Q"), self._scalar("Q")
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise _Malformed(f"it claims {tensors} tensors and {keys} keys")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string(MAX_KEY_BYTES)
            if key in values:
                raise _Malformed(f"two keys are called {key!r}")
            kind = self._scalar("I")
            if kind == _ARRAY:
                self._arrays.add(key)
            values[key] = self._value(kind, seen=self._observer(key) if kind == _ARRAY else None)
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise _Malformed(f"its alignment is {alignment!r}")
        shapes, types, extent = self._tensors(tensors, alignment)
        end = _padded(self._at, alignment) + extent if tensors else self._at
        if end > size:
            raise _Truncated(f"its tensors end at byte {end}, the file at {size}")
        count = sum(map(math.prod, shapes.values()))
        return Header(values, count, size, frozenset(self._fill_markers), shapes, types, frozenset(self._arrays))

    def _observer(self, key: str) -> Callable[[Any], None] | None:
        """What is shown each item of an array."""
        if self._kept is not None:
            return self._kept.setdefault(key, []).append
        return self._see if key == TOKENS else None

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
        if isinstance(token, str) and token in ALL_FILL_MARKERS:
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
        """Passes over an array, showing its items to `seen`; answers its length, or a value for each layer."""
        kind, length = self._scalar("I"), self._scalar("Q")
        if length > len(self._data):
            raise _Truncated(f"an array of {length} items at byte {self._at}")
        if kind in _SCALARS:
            form = f"<{length}{_SCALARS[kind]}"
            data = self._take(struct.calcsize(form))
            if self._kept is not None and seen is not None:
                for item in struct.unpack(form, data):
                    seen(item)
            if length <= MAX_LAYERS and _SCALARS[kind] not in "fd":
                return tuple(struct.unpack(form, data))
        else:
            for _ in range(length):
                item = self._value(kind, depth + 1)
                if seen is not None:
                    seen(item)
        return int(length)

    def _tensors(self, count: int, alignment: int) -> tuple[dict[str, tuple[int, ...]], dict[str, str], int]:
        """(shapes by name, types by name, bytes from the start of the tensor data to the end of the last tensor)."""
        shapes: dict[str, tuple[int, ...]] = {}
        types: dict[str, str] = {}
        end = 0
        for _ in range(count):
            name, dimensions = self._string(MAX_KEY_BYTES), self._scalar("I")
            if dimensions > MAX_DIMENSIONS:
                raise _Malformed(f"tensor {name!r} has {dimensions} dimensions")
            elements = math.prod(shape := tuple(self._scalar("Q") for _ in range(dimensions)))
            if elements > MAX_ELEMENTS:
                raise _Malformed(f"tensor {name!r} has {elements} elements")
            number, offset = self._scalar("I"), self._scalar("Q")
            if (kind := TENSOR_TYPES.get(number)) is None:
                raise _Malformed(f"tensor {name!r} is of type {number}, which this llama.cpp does not know")
            if shape and shape[0] % kind.block:
                raise _Malformed(f"tensor {name!r} has rows of {shape[0]}, which {kind.name} cannot keep")
            if name in shapes:
                raise _Malformed(f"two tensors are called {name!r}")
            # ggml wants each tensor right behind the one before.
            if offset != (due := _padded(end, alignment)):
                place = "overlaps the one before" if offset < end else "is not where it is due"
                raise _Malformed(f"tensor {name!r} {place}: it begins at byte {offset} of the data, not at {due}")
            shapes[name], types[name] = shape, kind.name
            end = offset + kind.size_bytes(elements)
        return shapes, types, end


def _padded(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment


def _swapped(version: int) -> int:
    return int.from_bytes(int(version).to_bytes(4, "little"), "big")

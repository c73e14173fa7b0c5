"""Go's values in Python, and how Go judges and names them.

nil is None; bool, int, float, str and datetime are themselves; a list or tuple is a slice, a dict a map of strings. What a
map does not have is MISSING: Go's invalid value, which prints as `<no value>` and compares as nil.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tropilla.common.gotemplate.faults import Excess


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

#: Characters of a text that may be made or written; in a list or map, each part counts as so many more.
MAX_VALUE, PART = 1 << 23, 64
#: Lists and maps inside one another that are written.
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct: these fields and no others. `kind` is its type's name; `json` what it is as JSON, if not its fields.
    A `builtins.Function` among the fields is a method.

    `spoken`: it prints as JSON (it has a String method upstream).
    """

    kind: str
    fields: Mapping[str, Any]
    json: Mapping[str, Any] | None = None
    spoken: bool = False


class SpokenList(tuple[Any, ...]):
    """A list that prints as JSON."""

    __slots__ = ()


class SpokenMap(dict[str, Any]):
    """A map that prints as JSON."""


class Words(tuple[str, ...]):
    """A list of texts that is, as text and as JSON, its only one where it has one."""

    __slots__ = ()


def truth(value: Any) -> bool:
    """false, 0, "", nil and what is empty are false; a struct is always true."""
    return isinstance(value, Struct) or (value is not MISSING and bool(value))


def kind_of(value: Any) -> str:
    """The kinds that compare with one another."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    if value is None or value is MISSING:
        return "nil"
    if isinstance(value, list | tuple):
        return "slice"
    return "map" if isinstance(value, Mapping) else "struct"


_TYPES = {
    "bool": "bool",
    "int": "int",
    "float": "float64",
    "string": "string",
    "nil": "interface {}",
    "slice": "[]interface {}",
    "map": "map[string]interface {}",
    # The only one that is not a `Struct`: what `now` tells.
    "struct": "time.Time",
}


def type_of(value: Any) -> str:
    """A value's type, as Go's errors name it."""
    if isinstance(value, Struct):
        return value.kind
    return _TYPES[kind_of(value)]


def weigh(*values: Any) -> None:
    """Refuses what is too large to be written. Each part counts as often as it is contained: ten lists, each of which has
    the one before it twice, are small until somebody writes them.
    """
    weight, level = 0, list(values)
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            weight += PART + (len(value) if isinstance(value, str) else 0)
            if isinstance(value, Struct):
                value = value.fields
            if isinstance(value, Mapping):
                weight += sum(map(len, value))
                below.extend(value.values())
            elif isinstance(value, list | tuple):
                below.extend(value)
            if weight + PART * len(below) > MAX_VALUE:
                raise Excess("it writes a list or map that is too large")
        if not below:
            return
        level = below
    raise Excess(f"it writes lists or maps more than {MAX_DEPTH} deep inside one another")

"""The functions every Go template has."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tropilla.common.gotemplate.faults import Refusal
from tropilla.common.gotemplate.printf import sprintf
from tropilla.common.gotemplate.values import kind_of, truth, type_of
from tropilla.common.gotemplate.writing import printed

_BAD_COMPARISON = "incompatible types for comparison"
_BAD_TYPE = "invalid type for comparison"
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


#: No template has a reason for more.
MOST_ARGUMENTS = 1000
_TYPES = {"a": "", "s": "string", "i": "int", "b": "bool", "m": "map[string]interface {}"}


@dataclass(frozen=True, slots=True)
class Function:
    """`takes` has a letter for each parameter: s string, i int, b bool, m map, a any; a `*` behind the last one repeats it.

    `shares`: what it gives is a part of what it got, and costs little. A `call` raises `Refusal` or `Excess`.
    """

    call: Callable[..., Any]
    takes: str = "a"
    shares: bool = False

    @property
    def least(self) -> int:
        return len(self.takes) - (2 if self.takes.endswith("*") else 0)

    @property
    def most(self) -> int:
        return MOST_ARGUMENTS if self.takes.endswith("*") else len(self.takes)

    def expected(self, place: int) -> str:
        """The type of an argument; "" takes anything."""
        letters = self.takes.rstrip("*")
        return _TYPES[letters[min(place, len(letters) - 1)]]


def equal(first: Any, *others: Any) -> bool:
    if not others:
        raise Refusal("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Any, other: Any) -> bool:
    kinds = {kind_of(first), kind_of(other)}
    if "nil" in kinds:
        return len(kinds) == 1
    if kinds & {"slice", "map", "struct"}:
        # Go compares structs, but none of those that a template sees: each holds a list or a map.
        culprit = first if kind_of(first) in ("slice", "map", "struct") else other
        raise Refusal(_BAD_COMPARISON if len(kinds) > 1 else f"non-comparable type {type_of(culprit)}")
    if len(kinds) > 1:
        raise Refusal(_BAD_COMPARISON)
    return bool(first == other)


def less(first: Any, other: Any) -> bool:
    kinds = {kind_of(first), kind_of(other)}
    if not kinds <= {"int", "float", "string", "bool"}:
        raise Refusal(_BAD_TYPE)
    if len(kinds) > 1:
        raise Refusal(_BAD_COMPARISON)
    if kinds == {"bool"}:
        raise Refusal(_BAD_TYPE)
    return bool(first < other)


def length(value: Any) -> int:
    match kind_of(value):
        case "string":
            return len(value.encode("utf-8", "surrogatepass"))
        case "slice" | "map":
            return len(value)
        case "nil":
            raise Refusal("len of nil pointer")
    raise Refusal(f"len of type {type_of(value)}")


def index(item: Any, *keys: Any) -> Any:
    if item is None:
        raise Refusal("index of untyped nil")
    for key in keys:
        match kind_of(item):
            case "slice":
                item = item[_place(key, len(item) - 1)]
            case "string":
                data = item.encode("utf-8", "surrogatepass")
                item = data[_place(key, len(data) - 1)]
            case "map":
                if not isinstance(key, str):
                    raise Refusal(f"value has type {type_of(key)}; should be string")
                item = item.get(key)
            case "nil":
                raise Refusal("index of nil pointer")
            case _:
                raise Refusal(f"can't index item of type {type_of(item)}")
    return item


def _place(key: Any, most: int) -> int:
    if kind_of(key) != "int":
        shown = "nil" if key is None else f"type {type_of(key)}"
        raise Refusal(f"cannot index slice/array with {shown}")
    if not 0 <= key <= most:
        raise Refusal(f"index out of range: {key}")
    return int(key)


def slice_of(item: Any, *places: Any) -> Any:
    if item is None:
        raise Refusal("slice of untyped nil")
    if len(places) > 3:
        raise Refusal(f"too many slice indexes: {len(places)}")
    kind = kind_of(item)
    if kind not in ("slice", "string"):
        raise Refusal(f"can't slice item of type {type_of(item)}")
    if kind == "string" and len(places) == 3:
        raise Refusal("cannot 3-index slice a string")
    # Strings are bytes to Go; half a character becomes a mark of its own rather than broken text.
    parts = item.encode("utf-8", "surrogatepass") if kind == "string" else item
    bounds = [_place(place, len(parts)) for place in places]
    for low, high in itertools.pairwise(bounds):
        if low > high:
            raise Refusal(f"invalid slice index: {low} > {high}")
    cut = parts[slice(*bounds[:2])] if len(bounds) > 1 else parts[bounds[0] if bounds else 0 :]
    return cut.decode("utf-8", "replace") if isinstance(cut, bytes) else cut


_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _said(values: tuple[Any, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else printed(values)


def html(*values: Any) -> str:
    return re.sub("[\0\"'&<>]", lambda found: _HTML[found[0]], _said(values))


def javascript(*values: Any) -> str:
    def escaped(found: re.Match[str]) -> str:
        return _JS.get(found[0]) or f"\\u{ord(found[0]):04X}"

    return re.sub("[\\\\'\"<>&=\0-\x1f\x7f]", escaped, _said(values))


def urlquery(*values: Any) -> str:
    data = _said(values).encode("utf-8", "replace")
    return "".join(chr(byte) if byte in _SAFE else "+" if byte == 0x20 else f"%{byte:02X}" for byte in data)


def _short() -> Any:
    raise AssertionError("the evaluator runs `and` and `or` itself: they look at no argument too many")


BUILTINS: Mapping[str, Function] = {
    "and": Function(_short, "aa*"),
    "or": Function(_short, "aa*"),
    "eq": Function(equal, "aa*"),
    "ne": Function(lambda first, other: not equal(first, other), "aa"),
    "lt": Function(less, "aa"),
    "le": Function(lambda first, other: less(first, other) or equal(first, other), "aa"),
    "gt": Function(lambda first, other: not (less(first, other) or equal(first, other)), "aa"),
    "ge": Function(lambda first, other: not less(first, other), "aa"),
    "not": Function(lambda value: not truth(value)),
    "len": Function(length),
    "index": Function(index, "aa*", shares=True),
    "slice": Function(slice_of, "aa*", shares=True),
    "print": Function(lambda *values: printed(values), "a*"),
    "printf": Function(sprintf, "sa*"),
    "println": Function(lambda *values: " ".join(printed((value,)) for value in values) + "\n", "a*"),
    "html": Function(html, "a*"),
    "js": Function(javascript, "a*"),
    "urlquery": Function(urlquery, "a*"),
}

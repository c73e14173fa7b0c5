"""The Sprig functions that chat templates of LocalAI and aikit use (contracts, models sheet 2.4).

Never those that reach outside: env, files, hosts, random numbers, keys.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tropilla.common.gotemplate.builtins import Function, slice_of
from tropilla.common.gotemplate.faults import Excess, Refusal
from tropilla.common.gotemplate.quoting import quoted
from tropilla.common.gotemplate.values import MAX_VALUE, Struct, kind_of, type_of
from tropilla.common.gotemplate.writing import json_text, text_of

Clock = Callable[[], datetime.datetime]

#: Items of a list that a function makes.
MAX_ITEMS = 1 << 16
MAX_CUTSET = 256
_SPACES = " \t\n\v\f\r\x85\xa0"


def _empty(value: Any) -> bool:
    return not isinstance(value, Struct) and not value


def _int(value: Any) -> int:
    """Sprig's toInt64: what is no number is 0."""
    if isinstance(value, str):
        return _wrapped(int(value, 10)) if re.fullmatch(r"[+-]?[0-9]{1,19}", value) else 0
    if isinstance(value, float):
        return _wrapped(int(value)) if abs(value) < 1 << 63 else -(1 << 63)
    return int(value) if isinstance(value, int) else 0


def _wrapped(value: int) -> int:
    """Go's integers have 64 bits."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _sum(*values: Any) -> int:
    return _wrapped(sum(map(_int, values)))


def _product(*values: Any) -> int:
    product = 1
    for value in values:
        product = _wrapped(product * _int(value))
    return product


def _divided(first: Any, other: Any) -> tuple[int, int]:
    """Quotient and remainder; Go rounds towards zero."""
    dividend, divisor = _int(first), _int(other)
    if divisor == 0:
        raise Refusal("runtime error: integer divide by zero")
    quotient = abs(dividend) // abs(divisor) * (1 if (dividend < 0) == (divisor < 0) else -1)
    return _wrapped(quotient), _wrapped(dividend - quotient * divisor)


def _items(value: Any, name: str) -> Any:
    if kind_of(value) != "slice":
        raise Refusal(f"Cannot find {name} on type {type_of(value)}")
    return value


def _limited(items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise Excess(f"it makes a list of more than {MAX_ITEMS} items")
    return items


def _sized(length: int) -> None:
    if length > MAX_VALUE:
        raise Excess(f"it makes a text of more than {MAX_VALUE} characters")


def _replaced(old: str, new: str, text: str) -> str:
    _sized(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
    return text.replace(old, new)


def _repeated(count: int, text: str) -> str:
    if count < 0:
        raise Refusal("strings: negative Repeat count")
    _sized(count * len(text))
    return text * count


def _indented(spaces: int, text: str) -> str:
    if spaces < 0:
        raise Refusal("strings: negative Repeat count")
    _sized(spaces)
    return " " * spaces + _replaced("\n", "\n" + " " * spaces, text)


def _trimmed(cutset: str, text: str) -> str:
    """Python looks through the whole cutset at each character."""
    if len(cutset) > MAX_CUTSET:
        raise Excess(f"it trims more than {MAX_CUTSET} different characters")
    return text.strip(cutset) if cutset else text


def _pieces(separator: str, text: str) -> list[str]:
    if text.count(separator) > MAX_ITEMS:
        raise Excess(f"it makes a list of more than {MAX_ITEMS} items")
    return text.split(separator) if separator else list(text)


def _joined(separator: str, value: Any) -> str:
    items = value if kind_of(value) == "slice" else [value]
    texts = [text_of(item) for item in items if item is not None]
    _sized(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _dictionary(*pairs: Any) -> dict[str, Any]:
    keys, values = pairs[::2], [*pairs[1::2], ""]
    return {text_of(key): values[place] for place, key in enumerate(keys)}


def _pretty(value: Any) -> str:
    return json_text(value, "  ")


def _parsed(text: str) -> Any:
    """Numbers are floats; what is no JSON is nil."""
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return None


def _quiet(write: Callable[[Any], str]) -> Callable[[Any], str]:
    """Sprig writes nothing for what cannot be written."""

    def written(value: Any) -> str:
        try:
            return write(value)
        except Refusal:
            return ""

    return written


#: Go's reference time, piece by piece: how it is written in a layout, and what Python calls it.
_LAYOUT = {
    "2006": "%Y", "January": "%B", "Monday": "%A", "Jan": "%b", "Mon": "%a", "MST": "%Z", "-0700": "%z", "-07:00": "%:z",
    "Z07:00": "%:z", "01": "%m", "02": "%d", "03": "%I", "04": "%M", "05": "%S", "06": "%y", "15": "%H", "PM": "%p",
    "1": "%-m", "2": "%-d", "3": "%-I", "4": "%-M", "5": "%-S",
}  # fmt: skip
_PIECE = re.compile("|".join(map(re.escape, sorted(_LAYOUT, key=len, reverse=True))))


def _dated(layout: str, moment: Any) -> str:
    if not isinstance(moment, datetime.datetime):
        raise Refusal(f"date: {type_of(moment)} is not a time")
    return _PIECE.sub(lambda found: _date_piece(moment, _LAYOUT[found[0]]), layout)


def _date_piece(moment: datetime.datetime, form: str) -> str:
    if form == "%:z":
        zone = moment.strftime("%z")
        return f"{zone[:3]}:{zone[3:5]}" if zone else "Z"
    text = moment.strftime(form.replace("-", ""))
    return text.lstrip("0") or "0" if "-" in form else text


def _sliced(item: Any, *places: Any) -> Any:
    if kind_of(item) != "slice":
        raise Refusal(f"list should be type of slice or array but {type_of(item)}")
    return slice_of(item, *places)


def _texts() -> dict[str, Function]:
    return {
        "trim": Function(lambda text: text.strip(_SPACES), "s"),
        "trimPrefix": Function(lambda prefix, text: text.removeprefix(prefix), "ss"),
        "trimSuffix": Function(lambda suffix, text: text.removesuffix(suffix), "ss"),
        "trimAll": Function(_trimmed, "ss"),
        "upper": Function(lambda text: text.upper(), "s"),
        "lower": Function(lambda text: text.lower(), "s"),
        "title": Function(lambda text: re.sub(r"\b\w", lambda found: found[0].title(), text), "s"),
        "replace": Function(_replaced, "sss"),
        "contains": Function(lambda part, text: part in text, "ss"),
        "hasPrefix": Function(lambda prefix, text: text.startswith(prefix), "ss"),
        "hasSuffix": Function(lambda suffix, text: text.endswith(suffix), "ss"),
        "quote": Function(lambda *values: " ".join(quoted(text_of(v)) for v in values if v is not None), "a*"),
        "squote": Function(lambda *values: " ".join(f"'{text_of(v)}'" for v in values if v is not None), "a*"),
        "split": Function(lambda sep, text: {f"_{n}": part for n, part in enumerate(_pieces(sep, text))}, "ss"),
        "splitList": Function(_pieces, "ss"),
        "join": Function(_joined, "sa"),
        "repeat": Function(_repeated, "is"),
        "indent": Function(_indented, "is"),
        "nindent": Function(lambda spaces, text: "\n" + _indented(spaces, text), "is"),
        "nospace": Function(lambda text: "".join(text.split()), "s"),
        "toString": Function(text_of),
        "toJson": Function(_quiet(json_text)),
        "toPrettyJson": Function(_quiet(_pretty)),
        "fromJson": Function(_parsed, "s"),
    }


def _numbers() -> dict[str, Function]:
    return {
        "add": Function(_sum, "a*"),
        "add1": Function(lambda value: _sum(value, 1)),
        "sub": Function(lambda first, other: _wrapped(_int(first) - _int(other)), "aa"),
        "mul": Function(_product, "aa*"),
        "div": Function(lambda first, other: _divided(first, other)[0], "aa"),
        "mod": Function(lambda first, other: _divided(first, other)[1], "aa"),
        "max": Function(lambda *values: max(map(_int, values)), "aa*"),
        "min": Function(lambda *values: min(map(_int, values)), "aa*"),
    }


def _collections() -> dict[str, Function]:
    return {
        "default": Function(lambda fallback, *given: fallback if not given or _empty(given[0]) else given[0], "aa*"),
        "empty": Function(_empty),
        "coalesce": Function(lambda *values: next((v for v in values if not _empty(v)), None), "a*"),
        "ternary": Function(lambda yes, no, test: yes if test else no, "aab"),
        "list": Function(lambda *values: list(values), "a*"),
        "first": Function(lambda items: next(iter(_items(items, "first")), None), shares=True),
        "last": Function(lambda items: items[-1] if _items(items, "last") else None, shares=True),
        "rest": Function(lambda items: list(items[1:]) if _items(items, "rest") else None),
        "append": Function(lambda items, value: _limited([*_items(items, "push"), value]), "aa"),
        "slice": Function(_sliced, "aa*", shares=True),
        "dict": Function(_dictionary, "a*"),
        "get": Function(lambda values, key: values.get(key, ""), "ms", shares=True),
        "hasKey": Function(lambda values, key: key in values, "ms"),
        "keys": Function(lambda *maps: _limited(sorted({key for values in maps for key in values})), "m*"),
    }


def sprig(now: Clock) -> Mapping[str, Function]:
    """now: what `now` tells."""
    moments = {"now": Function(now, ""), "date": Function(_dated, "sa")}
    return {**_texts(), **_numbers(), **_collections(), **moments}

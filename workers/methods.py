"""The methods and operators a chat template may use on texts, numbers and lists, each paid for before it runs.

What is not in `TEXT_METHODS` is not there for templates: `encode` leads to bytes, `expandtabs` to gigabytes.
"""

from __future__ import annotations

import operator
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tropilla.workers.meter import CONTAINER, ITEM, MAX_BITS, Meter, TooMuch

#: Wider than any column a template has a reason to write.
MAX_WIDTH = 1000
#: `%5d`, `%-20s`, `%*d`: what makes a formatted value longer than it is.
_WIDE = re.compile(r"\*|\d{4}")
#: A search from the right compares the whole needle at every place.
_BACKWARDS = 16


def _replace(meter: Meter, text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old) if count < 0 else min(count, text.count(old))
    meter.allow(len(text) + found * max(0, len(new) - len(old)))
    return str.replace(text, old, new, count)


def _join(meter: Meter, text: str, items: Iterable[Any]) -> str:
    kept = meter.taken(items)
    meter.allow(meter.weigh(kept) + len(text) * len(kept))
    return str.join(text, kept)


def _split(meter: Meter, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    meter.spend(CONTAINER * _pieces(text, sep, maxsplit))
    return str.split(text, sep, maxsplit)


def _rsplit(meter: Meter, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    meter.spend(CONTAINER * _pieces(text, sep, maxsplit) + len(text) * len(sep or "") // _BACKWARDS)
    return str.rsplit(text, sep, maxsplit)


def _pieces(text: str, sep: str | None, maxsplit: int) -> int:
    pieces = text.count(sep) if sep else len(text) // 2
    return pieces + 1 if maxsplit < 0 else min(pieces, maxsplit) + 1


def _splitlines(meter: Meter, text: str, keepends: bool = False) -> list[str]:
    meter.spend(len(text) * 2)
    lines = str.splitlines(text, keepends)
    meter.spend(CONTAINER * len(lines))
    return lines


def _padded(method: Callable[..., str]) -> Callable[..., str]:
    def pad(meter: Meter, text: str, width: int, *fill: str) -> str:
        if width > max(MAX_WIDTH, len(text)):
            raise TooMuch(f"it pads a text to {width} characters")
        return meter.made(method(text, width, *fill))

    return pad


def _stripped(method: Callable[..., str]) -> Callable[..., str]:
    def strip(meter: Meter, text: str, chars: str | None = None) -> str:
        meter.spend(len(text) * len(chars or " ") // _BACKWARDS)
        return meter.made(method(text, chars))

    return strip


def _backwards(method: Callable[..., Any]) -> Callable[..., Any]:
    def search(meter: Meter, text: str, needle: str, *bounds: int) -> Any:
        meter.spend(len(text) * len(needle) // _BACKWARDS)
        return meter.made(method(text, needle, *bounds))

    return search


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that reads its text once; what it answers is about as long."""

    def call(meter: Meter, text: str, *arguments: Any) -> Any:
        meter.allow(len(text) >> 2)
        return meter.made(method(text, *arguments))

    return call


def _format(meter: Meter, text: str, *values: Any, **named: Any) -> str:
    """Without attributes and items of what is formatted, and without widths that are values themselves."""
    fields = 0
    for _, field, form, _ in string.Formatter().parse(text):
        if field is None:
            continue
        if (
            not (field == "" or field.isidentifier() or field.isdigit())
            or "{" in (form or "")
            or _WIDE.search(form or "")
        ):
            raise TooMuch(f"it formats with {{{field[:40]}:{(form or '')[:40]}}}")
        fields += 1
    meter.allow(len(text) + fields * (MAX_WIDTH // 8 + meter.weigh(*values, *named.values())))
    return str.format(text, *values, **named)


def percent(meter: Meter, text: str, values: Any) -> str:
    """`text % values`."""
    if any(_WIDE.search(form) for form in re.findall(r"%(?:\([^)]*\))?([^a-zA-Z%]*)", text)):
        raise TooMuch("it formats with a width that is too large")
    meter.allow(len(text) + text.count("%") * meter.weigh(values))
    return str(text % values)


_PLAIN = (
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric"
    " isprintable isspace istitle isupper lower partition removeprefix removesuffix startswith swapcase title upper"
)
TEXT_METHODS: Mapping[str, Callable[..., Any]] = {
    **{name: _plain(getattr(str, name)) for name in _PLAIN.split()},
    **{name: _stripped(getattr(str, name)) for name in ("strip", "lstrip", "rstrip")},
    **{name: _padded(getattr(str, name)) for name in ("center", "ljust", "rjust", "zfill")},
    **{name: _backwards(getattr(str, name)) for name in ("rfind", "rindex", "rpartition")},
    "format": _format,
    "join": _join,
    "replace": _replace,
    "rsplit": _rsplit,
    "split": _split,
    "splitlines": _splitlines,
}
#: type -> what templates may call on it; `append` and its like would change what others see.
METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
}

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "**": operator.pow, "%": operator.mod,
}  # fmt: skip


def operate(meter: Meter, sign: str, left: Any, right: Any) -> Any:
    """`left sign right`, when what comes of it may be made."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, int):
            _check_number(sign, one, other)
        if sign == "*" and isinstance(one, str | list | tuple) and isinstance(other, int):
            meter.allow(len(one) * max(other, 0) * (1 if isinstance(one, str) else ITEM))
    if sign == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        meter.allow((len(left) + len(right)) * (1 if isinstance(left, str) else ITEM))
    if sign == "%" and isinstance(left, str):
        return percent(meter, left, right)
    return meter.made(OPERATORS[sign](left, right))


def _check_number(sign: str, number: int, other: Any) -> None:
    bits = number.bit_length()
    if isinstance(other, int) and sign == "*":
        bits += other.bit_length()
    if isinstance(other, int) and sign == "**":
        bits *= max(abs(other), 1)
    if bits > MAX_BITS:
        raise TooMuch("it computes with a number of thousands of digits")

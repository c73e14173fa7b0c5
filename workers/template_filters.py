"""The filters and tests a chat template may use: Jinja's, paid for before they run, without those nobody uses.

What published templates use is here, and all of Jinja's that cannot grow a text or list beyond what can be estimated.
`batch`, `slice`, `wordwrap`, `xmlattr`, `urlize`, `pprint`, `random` and their like are not.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS
from tropilla.workers.meter import CONTAINER, ITEM, NODE, Meter, TooMuch
from tropilla.workers.methods import TEXT_METHODS, operate, percent

#: Read all of what they are given, as often as it is contained.
DEEP = (
    "capitalize", "dictsort", "e", "escape", "float", "groupby", "int", "lower", "max", "min", "safe", "sort", "string",
    "truncate", "unique", "upper",
)  # fmt: skip
#: Hand on items, or one of them, as they are.
SHALLOW = (
    "abs", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr", "reverse",
    "select", "selectattr",
)  # fmt: skip
#: Of the deep ones and others: walk through an iterable, which may be a chain of other filters.
WALKING = frozenset({"groupby", "list", "max", "min", "reverse", "sort", "unique"})

#: Look at the kind of a value, not at what is in it.
KINDS = (
    "boolean", "callable", "defined", "false", "float", "integer", "iterable", "mapping", "none", "number", "sameas",
    "sequence", "string", "true", "undefined",
)  # fmt: skip
COMPARING = (
    "!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan", "lower", "lt",
    "ne", "upper",
)  # fmt: skip
DIVIDING = ("divisibleby", "even", "odd")
#: Spaces or characters in front of a line.
MAX_INDENT = 64
MAX_DIGITS = 20
#: What `json.loads` makes of a character at the most: `[` is a list.
PARSED = 64


def guarded_filters(meter: Meter) -> dict[str, Callable[..., Any]]:
    own: Mapping[str, Callable[..., Any]] = {
        "center": lambda meter, value, width=80: TEXT_METHODS["center"](meter, str(value), width),
        "format": lambda meter, value, *values, **named: percent(meter, str(value), named or values),
        "from_json": _from_json,
        "indent": _indent,
        "join": _join,
        "replace": _replace,
        "round": _round,
        "sum": _sum,
        "title": _title,
        "tojson": _to_json,
        "trim": lambda meter, value, chars=None: TEXT_METHODS["strip"](meter, _text(meter, value), chars),
    }
    guarded = {name: _guarded(meter, name, deep=name in DEEP) for name in (*DEEP, *SHALLOW)}
    return {**guarded, **{name: _paid(function, meter) for name, function in own.items()}}


def guarded_tests(meter: Meter) -> dict[str, Callable[..., Any]]:
    def comparing(test: Callable[..., Any]) -> Callable[..., bool]:
        def compare(*values: Any) -> bool:
            meter.weigh(*(value for value in values if not isinstance(value, str)))
            meter.spend(sum(len(value) >> 2 for value in values if isinstance(value, str)))
            return bool(test(*values))

        return compare

    def dividing(test: Callable[..., Any]) -> Callable[..., bool]:
        def divide(*values: Any) -> bool:
            if not all(isinstance(value, int) for value in values):
                # `%` of a text is formatting.
                raise TypeError("only whole numbers are odd or even")
            meter.spend(NODE)
            return bool(test(*values))

        return divide

    tests: Mapping[str, Any] = TESTS
    return {
        **{name: tests[name] for name in KINDS},
        **{name: comparing(tests[name]) for name in COMPARING},
        **{name: dividing(tests[name]) for name in DIVIDING},
    }


def _paid(function: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return meter.made(function(meter, *arguments, **options))

    return call


def _guarded(meter: Meter, name: str, *, deep: bool) -> Callable[..., Any]:
    function = FILTERS[name]
    #: Some take Jinja's environment or context first.
    place = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        meter.spend(NODE)
        given = list(arguments)
        if name in WALKING and not isinstance(given[place], str | list | tuple | dict):
            given[place] = meter.taken(given[place])
        if name in WALKING and isinstance(given[place], str):
            meter.spend(CONTAINER * len(given[place]))
        if deep:
            meter.allow(meter.weigh(*given[place:], *options.values()))
        result = meter.made(function(*given, **options))
        # Escaped text would escape what it is joined with.
        return str(result) if isinstance(result, str) else result

    return call


def _text(meter: Meter, value: Any) -> str:
    if not isinstance(value, str):
        meter.allow(meter.weigh(value))
    return str(value)


def _replace(meter: Meter, value: Any, old: Any, new: Any, count: int | None = None) -> Any:
    texts = (_text(meter, value), _text(meter, old), _text(meter, new))
    return TEXT_METHODS["replace"](meter, *texts, -1 if count is None else count)


def _join(meter: Meter, value: Iterable[Any], d: str = "", attribute: str | None = None) -> Any:
    kept = meter.taken(value)
    if attribute is not None:
        kept = [item.get(attribute, "") for item in kept]
    meter.allow(meter.weigh(kept))
    return TEXT_METHODS["join"](meter, str(d), [str(item) for item in kept])


def _indent(meter: Meter, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
    text = _text(meter, value)
    wide = width if isinstance(width, int) else len(width)
    if wide > MAX_INDENT:
        raise TooMuch(f"it indents by {wide} characters")
    lines = text.count("\n") + 1
    meter.spend(CONTAINER * lines)
    meter.allow(len(text) + wide * lines)
    return str(FILTERS["indent"](text, width, first, blank))


def _round(meter: Meter, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not isinstance(value, int | float) or abs(precision) > MAX_DIGITS:
        raise TypeError("only numbers are rounded, and not to so many digits")
    meter.spend(NODE)
    return FILTERS["round"](value, precision, method)


def _sum(meter: Meter, value: Iterable[Any], attribute: str | None = None, start: Any = 0) -> Any:
    """Not Jinja's, which adds up lists in a time that grows with their square."""
    total = start
    for item in meter.taken(value):
        total = operate(meter, "+", total, item if attribute is None else item[attribute])
    return total


def _title(meter: Meter, value: Any) -> str:
    text = _text(meter, value)
    meter.spend(CONTAINER * len(text))
    return str(FILTERS["title"](text))


def _to_json(meter: Meter, value: Any, indent: int | str | None = None, **options: Any) -> str:
    """Not Jinja's, which writes for HTML. Unknown options (`skip_tojson`) say nothing."""
    wide = indent if isinstance(indent, int) else len(indent or "")
    allowed = {key: options[key] for key in ("sort_keys", "separators", "ensure_ascii") if key in options}
    if wide > MAX_INDENT or sum(map(len, allowed.get("separators") or ())) > ITEM:
        raise TooMuch(f"it indents by {wide} characters, or has long separators")
    meter.allow(meter.weigh(value) * (1 + wide * _depth(meter, value) // ITEM))
    return json.dumps(value, **{"ensure_ascii": False, **allowed}, indent=indent)


def _depth(meter: Meter, value: Any) -> int:
    """How deep lists and objects stand in each other."""
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, dict | list | tuple) and part]:
        depth += 1
        meter.spend(ITEM * len(level))
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
    return depth


def _from_json(meter: Meter, value: str) -> Any:
    """Not in transformers; some templates for llama.cpp have it."""
    meter.spend(len(re.findall(r"[\[{,:\"]", value)) * PARSED + len(value))
    return json.loads(value)

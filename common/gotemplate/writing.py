"""How Go writes values: as text (`%v`), and as JSON."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tropilla.common.gotemplate.faults import Refusal
from tropilla.common.gotemplate.values import MISSING, SpokenList, SpokenMap, Struct, Words, kind_of, weigh

NO_VALUE = "<no value>"
#: encoding/json writes these so that the text may stand in HTML.
_HTML = re.compile("[<>&\u2028\u2029]")
#: The powers of ten that are written without an exponent: as %v, and in JSON, which follows ECMAScript.
_TEXT_SCALES, _JSON_SCALES = range(-4, 6), range(-6, 21)


def text_of(value: Any) -> str:
    """%v; what has no value is <nil>."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | Mapping | Struct):
        weigh(value)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    if value is None or value is MISSING:
        return "<nil>"
    if isinstance(value, Words) and len(value) < 2:
        return "".join(value)
    if isinstance(value, SpokenList | SpokenMap) or (isinstance(value, Struct) and value.spoken):
        return _json(value, "")
    if isinstance(value, Struct):
        return "{" + " ".join(map(_text, value.fields.values())) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_text, value)) + "]"
    return moment_text(value)


def printed(values: tuple[Any, ...]) -> str:
    """fmt.Sprint: a blank between two values of which neither is a string."""
    pieces: list[str] = []
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            pieces.append(" ")
        pieces.append(text_of(value))
    return "".join(pieces)


def moment_text(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S %z %Z}" if isinstance(value, datetime.datetime) else str(value)


def float_text(value: float) -> str:
    """%v of a float64: the fewest digits that tell it from its neighbours."""
    return _float(value, scales=_TEXT_SCALES)


def _float(value: float, *, scales: range) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    shown = "".join(map(str, digits)).rstrip("0") or "0"
    scale = len(digits) + exponent - 1
    if shown == "0":
        return "-0" if sign else "0"
    minus = "-" if sign else ""
    if scale in scales:
        return minus + format(Decimal((0, tuple(map(int, shown)), scale - len(shown) + 1)), "f")
    fraction = f".{shown[1:]}" if len(shown) > 1 else ""
    return f"{minus}{shown[0]}{fraction}e{scale:+03d}"


def json_text(value: Any, indent: str = "") -> str:
    """encoding/json: compact, or with that indent; map keys sorted, HTML escaped. Raises `Refusal` for NaN and infinity."""
    weigh(value)
    return _json(value, indent)


def _json(value: Any, indent: str, margin: str = "\n") -> str:
    if isinstance(value, Words) and len(value) == 1:
        value = value[0]
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, str):
        escaped = json.dumps(value, ensure_ascii=False)
        return _HTML.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _json_float(value)
    inner = margin + indent if indent else ""
    if isinstance(value, Struct):
        value = value.fields if value.json is None else value.json
        keys = list(value)
    elif isinstance(value, Mapping):
        keys = sorted(value)
    elif kind_of(value) == "slice":
        return _enclosed("[", [_json(item, indent, inner) for item in value], "]", inner, margin)
    else:
        return _json(moment_text(value), indent)
    colon = ": " if indent else ":"
    items = [f"{_json(key, indent)}{colon}{_json(value[key], indent, inner)}" for key in keys]
    return _enclosed("{", items, "}", inner, margin)


def _enclosed(opening: str, items: list[str], closing: str, inner: str, margin: str) -> str:
    if not items:
        return opening + closing
    return f"{opening}{inner}{(',' + inner).join(items)}{margin if inner else ''}{closing}"


def _json_float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise Refusal(f"json: unsupported value: {float_text(value)}")
    text = _float(value, scales=_JSON_SCALES)
    return re.sub(r"e([+-])0(\d)$", r"e\1\2", text)

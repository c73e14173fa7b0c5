"""`keep_alive`: how long an idle model stays loaded (sheet, section 6.4). Numbers are seconds, strings Go durations.

It rides on the request: the worker counts. 0 with nothing to generate is an unload, and loads nothing first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tropilla.api.about import NUMBER, TEXT, either
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.ollama.fields import Field

#: As requests have it.
FOREVER = -1.0

_SECONDS: Mapping[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # U+00B5, the micro sign
    "μs": 1e-6,  # U+03BC, the Greek letter
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
#: One number and its unit; Go takes everything up to the next digit or dot for the unit.
_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[^0-9.]*)")
#: What Go calls the types a duration cannot be.
_GO_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
)


def seconds(value: Any) -> float:
    """The duration in seconds, `FOREVER` for every negative one. Raises `Wrong`."""
    unsupported = next((name for kind, name in _GO_TYPES if isinstance(value, kind)), None)
    if unsupported is not None:
        raise Wrong(f"Unsupported type: '{unsupported}'", "type")
    length = _duration(value) if isinstance(value, str) else float(value)
    return FOREVER if length < 0 else length


class KeepAlive(Field[float]):
    shape = either(NUMBER, TEXT)

    def read(self, value: Any) -> float:
        return seconds(value)


def _duration(text: str) -> float:
    """Go's time.ParseDuration: `1h30m`, `-1.5s`, `0`."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise Wrong(f'time: invalid duration "{text}"')
    total, place = 0.0, 0
    while place < len(rest):
        part = _PART.match(rest, place)
        if part is None:
            raise Wrong(f'time: invalid duration "{text}"')
        unit = part["unit"]
        if not unit:
            raise Wrong(f'time: missing unit in duration "{text}"')
        if unit not in _SECONDS:
            raise Wrong(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(part["number"]) * _SECONDS[unit]
        place = part.end()
    return sign * total

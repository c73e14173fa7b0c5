"""The functions of Helm and Sprig that the chart uses and `common.gotemplate` lacks, as their documentation has them.

Whole numbers of values.yaml are floats here, as they are to Helm: a chart that prints one without `int` finds out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import yaml
from tropilla.common.gotemplate.builtins import Function
from tropilla.common.gotemplate.faults import Refusal
from tropilla.common.gotemplate.values import kind_of, truth

_KINDS = {"float": "float64", "nil": "invalid"}


def as_helm(value: Any) -> Any:
    """A value of YAML as Go's JSON decoder gives it."""
    if isinstance(value, Mapping):
        return {str(key): as_helm(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_helm(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_yaml(value: Any) -> Any:
    """And back: JSON has no floats that end in .0."""
    if isinstance(value, Mapping):
        return {key: as_yaml(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_yaml(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def to_yaml(value: Any) -> str:
    return yaml.safe_dump(as_yaml(value), default_flow_style=False, sort_keys=True, width=1 << 20).removesuffix("\n")


def whole(value: Any) -> int:
    """What is no number is 0, as spf13/cast has it."""
    try:
        return int(float(value)) if isinstance(value, str | int | float) else 0
    except ValueError:
        return 0


def merged(into: dict[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """What comes first wins; maps are merged in turn. The first one is changed, as mergo changes it."""
    for other in others:
        for key, value in other.items():
            if isinstance(value, Mapping) and isinstance(into.get(key), dict):
                merged(into[key], value)
            elif not truth(into.get(key)):
                into[key] = merged({}, value) if isinstance(value, Mapping) else value
    return into


def required(message: str, value: Any) -> Any:
    if value is None or value == "":
        raise Refusal(message)
    return value


def fail(message: str) -> Any:
    raise Refusal(message)


class Chance:
    """Another text each time, and the same ones each run."""

    def __init__(self) -> None:
        self._drawn = 0

    def alphanumeric(self, count: Any) -> str:
        self._drawn += 1
        return hashlib.sha512(f"chance {self._drawn}".encode()).hexdigest()[: whole(count)]


def functions() -> dict[str, Function]:
    """All but those that need the chart: include and lookup."""
    return {
        "toYaml": Function(to_yaml),
        "toJson": Function(lambda value: json.dumps(as_yaml(value))),
        "int": Function(whole),
        "kindIs": Function(lambda kind, value: _KINDS.get(kind_of(value), kind_of(value)) == kind, "sa"),
        "has": Function(lambda item, items: item in items, "aa"),
        "trunc": Function(lambda count, text: text[:count], "is"),
        "merge": Function(merged, "mm*"),
        "required": Function(required, "sa"),
        "fail": Function(fail, "s"),
        "randAlphaNum": Function(Chance().alphanumeric),
        "b64enc": Function(lambda text: base64.b64encode(text.encode()).decode(), "s"),
        "b64dec": Function(lambda text: base64.b64decode(text).decode(), "s"),
        "sha256sum": Function(lambda text: hashlib.sha256(text.encode()).hexdigest(), "s"),
    }

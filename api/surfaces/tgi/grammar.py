"""`grammar` -> a constraint, by the table of the sheet's section 5; every refusal has its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from tropilla.api.framing import compact
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Constraint
from tropilla.common.grammar import refusal

_NOT_SUPPORTED = "grammar is not supported"
_NOT_VALID = "grammar is not valid: {why}"
_CANNOT_COMPILE = "cannot compile regex from schema: {why}"


def constraint_of(grammar: Any) -> Constraint | None:
    """None for none. Raises `InvalidField` for a grammar that is wrong, or right and cannot be kept."""
    if grammar is None:
        return None
    if not isinstance(grammar, Mapping):
        raise _refused(_NOT_SUPPORTED)
    kind = _field(grammar, "type")
    if not isinstance(kind, str) or kind not in READERS:
        raise _invalid(f"unknown type, expected one of {', '.join(READERS)}")
    constraint = READERS[kind](_field(grammar, "value"))
    why = refusal(constraint)
    if why:
        text = _NOT_VALID if constraint.kind == "regex" else _CANNOT_COMPILE
        raise _refused(text.format(why=why))
    return constraint


def _field(value: Mapping[str, Any], name: str) -> Any:
    if value.get(name) is None:
        raise _invalid(f"missing field `{name}`")
    return value[name]


def _regex(value: Any) -> Constraint:
    if not isinstance(value, str):
        raise _invalid("`value` must be a string")
    return Constraint("regex", value)


def _named_schema(value: Any) -> Constraint:
    if not isinstance(value, Mapping):
        raise _refused(_NOT_SUPPORTED)
    return _schema(_field(value, "schema"))


def _schema(value: Any) -> Constraint:
    """As an object, or as its JSON text."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise _invalid(str(error)) from error
    elif not isinstance(value, Mapping):
        raise _refused(_NOT_SUPPORTED)
    if not isinstance(value, Mapping) or "properties" not in value:
        raise _invalid("Grammar must have a 'properties' field")
    try:
        # Upstream's own examples leave the type out and mean an object; JSON Schema would let a bare number pass.
        return Constraint("schema", compact({"type": "object", **value}).decode())
    except orjson.JSONEncodeError as error:
        raise _invalid("the schema is nested too deeply") from error


READERS: Mapping[str, Callable[[Any], Constraint]] = {
    "json": _schema,
    "json_object": _schema,
    "json_schema": _named_schema,
    "regex": _regex,
}


def _invalid(why: str) -> InvalidField:
    return _refused(_NOT_VALID.format(why=why))


def _refused(text: str) -> InvalidField:
    return InvalidField(text, param="parameters.grammar")

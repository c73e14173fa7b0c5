"""Which model a route is about: named by its path, or by a field of its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import JSON, Surroundings
from tropilla.api.surfaces.openai.models import known, unable
from tropilla.api.surfaces.openai.schemas import an_object
from tropilla.common import names
from tropilla.common.catalogue import Definition
from tropilla.common.errors import InvalidField

#: What clients call it. The first is the one an error names.
_FIELDS = ("model", "model_id", "id")
#: By which field a body says what is to be fetched.
SOURCES = ("model", "source_url", "url", "id")
#: The first part of a path below /v1/models that is no model's name.
RESERVED = frozenset(
    {"pull", "start", "stop", "status", "download", "import", "add", "sources", "hub", "remote", "events"}
)
_NO_MODEL = "No model field in request body"


def body_of(body: JSON) -> Mapping[str, Any]:
    """Without a body nothing is said. Raises `MalformedBody` for what is no object."""
    return {} if body is None else an_object(body)


def asked_name(body: Mapping[str, Any], surroundings: Surroundings) -> str:
    """Raises `InvalidField` where none is named."""
    named = surroundings.path.get("id", "")
    return named or text(body, *_FIELDS, otherwise=_NO_MODEL)


def text(body: Mapping[str, Any], *fields: str, otherwise: str = "") -> str:
    """The first of the fields that is there; with `otherwise`, one of them has to be."""
    field = next((name for name in fields if body.get(name) not in (None, "")), "")
    if not field:
        if otherwise:
            raise InvalidField(otherwise, param=fields[0], problem="missing")
        return ""
    value = body[field]
    if not isinstance(value, str):
        raise InvalidField(f"Invalid type for '{field}': expected a string.", param=field, problem="type")
    return value.strip()


def flag(body: Mapping[str, Any], surroundings: Surroundings, name: str, *, default: bool = False) -> bool:
    """Said in the body, or behind the path's `?`."""
    value = body.get(name, surroundings.query.get(name))
    if value is None:
        return default
    told = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}
    found = value if isinstance(value, bool) else told.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise InvalidField(f"Invalid type for '{name}': expected a boolean.", param=name, problem="type")
    return found


def whole_name(surroundings: Surroundings, name: str) -> str:
    """Of a model that is there, whether it can answer or not. Raises `UnknownModel`."""
    found = known(surroundings, name)
    return found.name if found is not None else unable(surroundings, name)


def new_name(name: str, field: str) -> str:
    """A name that a model can be given. Raises `InvalidField`."""
    if names.MODEL_NAME.fullmatch(name) is None or name.partition("/")[0].partition(":")[0] in RESERVED:
        raise InvalidField(f"Invalid '{field}': no model can be called '{name}'.", param=field)
    return name


def stored(surroundings: Surroundings, name: str) -> Definition | None:
    """What the store has under exactly this name; None where it has none, or a worker brought the model along."""
    return next((each for each in surroundings.catalogue.stored if each.model.name == name), None)

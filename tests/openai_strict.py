"""Checks what we answer against the official SDK's own typed models, strictly.

The SDK itself builds its models without looking: a missing key, a wrong type or a misspelt name goes unnoticed until some
program trips over it. Here every value must have its declared JSON type, every required key must be there, and every key
must be declared by the model or stand in `EXTRAS`.

    strict(ChatCompletion, response.json)
    strict(ResponseStreamEvent, frame, more={"ResponseTextDeltaEvent": {"obfuscation"}})
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter

#: Model -> keys that we say beside OpenAI's, on purpose (sheet, sections 5, 8 and 11).
EXTRAS: Mapping[str, frozenset[str]] = {
    "Model": frozenset(
        {
            "max_model_len",
            "architecture",
            "meta",
            "aliases",
            "type",
            "version",
            "name",
            "state",
            "format",
            "source_url",
            "settings",
        }
        | {"settings", "parameters", "metadata", "assets", "engine_parameters", "model_parameters"}
    ),
    "SyncPage[Model]": frozenset({"id", "created", "owned_by"}),
    "ChatCompletionMessage": frozenset({"reasoning_content", "reasoning"}),
    "ChoiceDelta": frozenset({"reasoning_content", "reasoning"}),
}


def strict(kind: Any, value: Any, *, more: Mapping[str, Collection[str]] | None = None) -> Any:
    """The typed value of a JSON value, or of JSON bytes. `kind` is a model, or whatever a type annotation may be (a union
    of events). `more` adds to `EXTRAS`. Raises `pydantic.ValidationError`, or an `AssertionError` for undeclared keys.
    """
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    # In JSON mode a strict float still takes 1: so do JSON and the SDK.
    told = _adapter(kind).validate_json(data, strict=True)
    allowed = {**EXTRAS}
    for name, keys in (more or {}).items():
        allowed[name] = EXTRAS.get(name, frozenset()) | frozenset(keys)
    undeclared = [found for found in _undeclared(told, "") if found[2] not in allowed.get(found[1], ())]
    assert not undeclared, "undeclared keys: " + ", ".join(f"{path}.{key} of {name}" for path, name, key in undeclared)
    return told


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _undeclared(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """(path, model, key) of everything that the SDK's models keep without knowing it."""
    match value:
        case BaseModel():
            name = type(value).__name__
            yield from ((path, name, key) for key in value.model_extra or {})
            for key in type(value).model_fields:
                yield from _undeclared(getattr(value, key), f"{path}.{key}")
        case list():
            for place, item in enumerate(value):
                yield from _undeclared(item, f"{path}[{place}]")
        case dict():
            for key, item in value.items():
                yield from _undeclared(item, f"{path}.{key}")

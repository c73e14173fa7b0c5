"""Errors the dialect's own fields raise: what is absent, where inside a value something is wrong, JSON as text."""

from __future__ import annotations

import json
from typing import Any

import orjson
from marshmallow import ValidationError
from tropilla.api.reading import Wrong


def at(wrong: ValidationError, *path: str | int) -> ValidationError:
    """The same error, so many steps further down."""
    messages: Any = wrong.messages
    for step in reversed(path):
        messages = {step: messages}
    return ValidationError(messages)


def absent() -> Wrong:
    return Wrong("Required, but absent.", "missing")


def json_text(value: Any) -> str:
    """A JSON value of the body as text again: its keys in their order."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        # orjson reads deeper than json writes.
        raise Wrong("the JSON is nested too deeply.") from error


def parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Wrong(f"the string is no JSON: {error}.") from error

"""Body bytes -> a checked dict: JSON by the rules all dialects share, then a marshmallow schema, first problem first.

A dialect's schema says what a field is; the words of an error are the field's own validator's, or `Wording`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError
from tropilla.common.errors import InvalidField, MalformedBody, Problem

#: The order in which problems are reported: what is absent, then what has the wrong type, then what is out of range.
_RANK: Mapping[str, int] = {"missing": 0, "type": 1}


class Wrong(ValidationError):
    """A marshmallow error that keeps what kind of problem it is. Raise it from validators and field classes."""

    def __init__(self, text: str, problem: Problem = "value") -> None:
        super().__init__(text)
        self.messages = [_Told(text, problem)]


class _Told(str):
    """An error text that remembers its kind, since marshmallow hands back texts only."""

    problem: Problem

    def __new__(cls, text: str, problem: Problem) -> _Told:
        told = super().__new__(cls, text)
        told.problem = problem
        return told


def parse_json(body: bytes) -> Any:
    """The JSON value in the body. Raises `MalformedBody`; NaN and Infinity are not JSON."""
    if not body.strip():
        raise MalformedBody("missing request body")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"We could not parse the JSON body of your request: {error}") from error


def without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    """null is absent, in every dialect."""
    return {key: value for key, value in body.items() if value is not None}


def load(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields. Unknown ones are dropped. Raises `InvalidField` for the first problem, in schema order."""
    try:
        return cast(dict[str, Any], schema.load(without_nulls(body), unknown=EXCLUDE))
    except ValidationError as error:
        order = {name: place for place, name in enumerate(schema.fields)}
        report: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise _first(report, order) from error


def _first(messages: Mapping[str, Any], order: Mapping[str, int]) -> InvalidField:
    found = list(_problems(messages, ""))
    found.sort(key=lambda item: (_RANK.get(_kind(item[1]), 2), order.get(_root(item[0]), len(order))))
    path, text = found[0]
    return InvalidField(str(text), param=path or None, problem=_kind(text))


def _problems(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each (dotted path, text) in marshmallow's nested report. A key that is a number is a list index."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            step = f"[{key}]" if isinstance(key, int) else (f".{key}" if path else str(key))
            yield from _problems(inner, path if key == "_schema" else path + step)
    else:
        for text in messages if isinstance(messages, list) else [messages]:
            yield path, text


def _kind(text: str) -> Problem:
    return text.problem if isinstance(text, _Told) else "value"


def _root(path: str) -> str:
    return path.split(".")[0].split("[")[0]

"""What the answer must look like: the many fields that say so -> one `Constraint` (sheet, sections 7, 11 and 17).

OpenAI's and TGI's `response_format`, llama.cpp's `grammar` and `json_schema`, vLLM's `guided_*` and `structured_outputs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import ValidationError, fields
from tropilla.api.about import FLAG, OBJECT, TEXT, Nested, Shape, either, or_null, record, several
from tropilla.api.fields import Array, Strict, Text, wrong_type
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.openai.formats import RESPONSE_FORMAT
from tropilla.api.surfaces.openai.wrong import absent, at, json_text, parsed
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Constraint
from tropilla.common.grammar import refusal

#: What a regular expression reads as something else than itself.
_META = re.compile(r"([\\.+*?()|\[\]{}^$])")


class _Schema(Strict[Constraint | None]):
    """A JSON schema, or its JSON text. An empty one says nothing."""

    expected = "an object"
    shape = either(OBJECT, {**TEXT, "contentMediaType": "application/json"})

    def read(self, value: Any) -> Constraint | None:
        if value in ("", {}):
            return None
        return _schema(parsed(value) if isinstance(value, str) else value)


class _Regex(Strict[Constraint | None]):
    expected = "a string"
    shape = TEXT

    def read(self, value: Any) -> Constraint | None:
        return Constraint("regex", value) if _text(value) else None


class _Grammar(Strict[Constraint | None]):
    """vLLM takes a grammar in either notation; only GBNF defines its rules with `::=`."""

    expected = "a string"
    shape = TEXT

    def read(self, value: Any) -> Constraint | None:
        return Constraint("gbnf" if "::=" in value else "lark", value) if _text(value) else None


class _Choice(Strict[Constraint | None]):
    """One of some strings."""

    expected = "an array of strings"
    shape = several(TEXT)
    _strings = Array(Text())

    def read(self, value: Any) -> Constraint | None:
        choices = self._strings.deserialize(value)
        return Constraint("regex", "|".join(_META.sub(r"\\\1", str(each)) for each in choices)) if choices else None


class _Anything(Strict[Constraint | None]):
    """Any JSON object."""

    expected = "a boolean"
    shape = FLAG

    def read(self, value: Any) -> Constraint | None:
        if not isinstance(value, bool):
            raise wrong_type(self.expected, value)
        return Constraint("json") if value else None


class _Structured(Strict[Constraint | None]):
    """vLLM's object around exactly one of the above."""

    expected = "an object"
    _forms: Mapping[str, Strict[Constraint | None]] = {
        "json": _Schema(),
        "regex": _Regex(),
        "choice": _Choice(),
        "grammar": _Grammar(),
        "json_object": _Anything(),
    }
    _unserved = ("structural_tag", "whitespace_pattern")

    def read(self, value: Any) -> Constraint | None:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        for name in self._unserved:
            if value.get(name) is not None:
                raise at(Wrong("not served.", "unsupported"), name)
        given = {name: value[name] for name in self._forms if value.get(name) not in (None, False)}
        if len(given) > 1:
            raise Wrong(f"expected one of {_listed(self._forms)}, but got {_listed(given)}.")
        for name, inner in given.items():
            try:
                return self._forms[name].read(inner)
            except ValidationError as error:
                raise at(error, name) from error
        return None

    def described(self, nested: Nested, /) -> Shape:
        forms = {name: or_null(form.described(nested)) for name, form in self._forms.items()}
        return {**record("", {}, forms), "maxProperties": 1}


class _ResponseFormat(Strict[Constraint | None]):
    expected = "an object"
    shape = RESPONSE_FORMAT

    def read(self, value: Any) -> Constraint | None:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        if not value:
            return None
        kind = value.get("type")
        if kind is None:
            raise at(absent(), "type")
        if not isinstance(kind, str):
            raise at(wrong_type("a string", kind), "type")
        if kind not in _FORMATS:
            raise at(Wrong(f"unknown value '{kind}'. Expected one of {_listed(_FORMATS)}."), "type")
        return _FORMATS[kind](value)


class _GBNF(_ResponseFormat):
    """llama.cpp's `grammar`; TGI's of the same name is its response format."""

    expected = "a string"
    shape = either(TEXT, RESPONSE_FORMAT)

    def read(self, value: Any) -> Constraint | None:
        if isinstance(value, dict):
            return super().read(value)
        return Constraint("gbnf", value) if _text(value) else None


def _json(value: Mapping[str, Any]) -> Constraint | None:
    """TGI's has the schema in `value`, llama.cpp's in `schema`; OpenAI's `json_object` has none."""
    for key in ("value", "schema"):
        if value.get(key) is not None:
            return _under(value, key)
    if value["type"] == "json":
        raise at(absent(), "value")
    return Constraint("json")


def _json_schema(value: Mapping[str, Any]) -> Constraint | None:
    """The schema stands in an object with its name: OpenAI's `json_schema`, or TGI's `value`."""
    key = "value" if value.get("json_schema") is None and value.get("value") is not None else "json_schema"
    holder = value.get(key)
    if holder is None:
        raise at(absent(), key)
    if not isinstance(holder, dict):
        raise at(wrong_type("an object", holder), key)
    if holder.get("schema") is None:
        # Optional at OpenAI: then it is JSON mode.
        return Constraint("json")
    try:
        return _under(holder, "schema")
    except ValidationError as error:
        raise at(error, key) from error


def _regex(value: Mapping[str, Any]) -> Constraint | None:
    if value.get("value") is None:
        raise at(absent(), "value")
    try:
        return Constraint("regex", _text(value["value"]))
    except ValidationError as error:
        raise at(error, "value") from error


_FORMATS: Mapping[str, Callable[[Mapping[str, Any]], Constraint | None]] = {
    "text": lambda value: None,
    "json_object": _json,
    "json_schema": _json_schema,
    "json": _json,
    "regex": _regex,
}


def _under(holder: Mapping[str, Any], key: str) -> Constraint:
    """The schema at a key; as JSON text, where TGI's clients write it so."""
    schema = holder[key]
    try:
        return _schema(parsed(schema) if key == "value" and isinstance(schema, str) else schema)
    except ValidationError as error:
        raise at(error, key) from error


def _schema(value: Any) -> Constraint:
    if not isinstance(value, dict):
        raise wrong_type("an object", value)
    return Constraint("schema", json_text(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type("a string", value)
    return value


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in names)


#: Each of them alone.
FIELDS: Mapping[str, fields.Field[Any]] = {
    "response_format": _ResponseFormat(),
    "json_schema": _Schema(),
    "grammar": _GBNF(),
    "guided_json": _Schema(),
    "guided_regex": _Regex(),
    "guided_choice": _Choice(),
    "guided_grammar": _Grammar(),
    "structured_outputs": _Structured(),
}
#: What the Responses API has in `response_format`'s place.
NESTED = "text.format"
#: Those that vLLM does not take beside a tool that must be called.
GUIDES = frozenset({"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"})


def given(fields: Mapping[str, Any]) -> dict[str, Constraint]:
    """Every constraint that was asked for, by its field."""
    return {name: fields[name] for name in (*FIELDS, NESTED) if fields.get(name) is not None}


def check_constraint(param: str, constraint: Constraint) -> None:
    """Raises `InvalidField` where no token of any model could be chosen by it."""
    reason = refusal(constraint)
    if reason:
        raise InvalidField(f"Invalid '{param}': {reason}", param=param, problem="value")

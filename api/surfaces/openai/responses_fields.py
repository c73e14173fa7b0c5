"""Fields that the Responses API writes flatter than chat completions do: tools, the choice of one, the text's form.

Each is read into what chats are made of, and keeps how an answer repeats it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from marshmallow import EXCLUDE, Schema, fields
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, tagged
from tropilla.api.fields import Array, Boolean, Object, Strict, Text, wrong_type
from tropilla.api.reading import Wrong, without_nulls
from tropilla.api.surfaces.openai.tools import ALLOWED, BY_NAME, CHOICE, MAX_TOOLS, Choice, Chosen, FunctionSchema
from tropilla.api.surfaces.openai.wrong import absent, at, json_text
from tropilla.common.generation import Constraint, Tool

JSON = Any
#: How deep in an answer a repeated schema stands, at the most.
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Given:
    """A tool; None is one that OpenAI would run itself, and that nobody runs here."""

    tool: Tool | None = None
    strict: bool | None = None

    def repeated(self) -> JSON:
        tool = self.tool or Tool("")
        described = {"description": tool.description} if tool.description else {}
        parameters = json.loads(tool.parameters)
        return {"type": "function", "name": tool.name, **described, "parameters": parameters, "strict": self.strict}


@dataclass(frozen=True, slots=True)
class Form:
    """`text.format`: what it binds the text to, and the format itself."""

    constraint: Constraint | None
    format: JSON


def _check_repeatable(value: JSON, key: str) -> None:
    """orjson reads deeper than it writes, and an answer repeats what it was asked."""
    try:
        orjson.dumps(functools.reduce(lambda inner, _: [inner], range(_DEPTH), value))
    except orjson.JSONEncodeError as error:
        raise at(Wrong("the JSON is nested too deeply."), key) from error


class _Strict(Schema):
    strict = Boolean()


#: What OpenAI would run itself.
_FOREIGN = record("", {"type": {**TEXT, "not": {"const": "function"}}})


class _Tool(Strict[Given]):
    expected = "an object"

    def described(self, nested: Nested, /) -> Shape:
        function = tagged("function", {"allOf": [nested(FunctionSchema()), nested(_Strict())]})
        return either(function, _FOREIGN)

    def read(self, value: Any) -> Given:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        kind = value.get("type")
        if not isinstance(kind, str):
            raise at(absent() if kind is None else wrong_type("a string", kind), "type")
        if kind != "function":
            return Given()
        given = without_nulls(value)
        tool: Tool = FunctionSchema().load(given, unknown=EXCLUDE)
        _check_repeatable(value.get("parameters"), "parameters")
        return Given(tool, _Strict().load(given, unknown=EXCLUDE).get("strict"))


class _Choice(Choice):
    """Names and allowed tools stand in the object itself; nested ones are chat's, and understood."""

    shape = either(CHOICE, tagged("function", BY_NAME), tagged("allowed_tools", ALLOWED))

    def _allowed(self, value: dict[str, Any]) -> Chosen:
        return super()._allowed(value) if "allowed_tools" in value else self._among(value)


class _Named(Schema):
    """Of a JSON schema."""

    name = Text(required=True)
    strict = Boolean()
    description = Text()


class _Format(Strict[Form]):
    expected = "an object"

    def described(self, nested: Nested, /) -> Shape:
        schema = {"allOf": [nested(_Named()), record("", {"schema": OBJECT})]}
        bare = record("", {"type": one_of("text", "json_object")})
        return either(bare, tagged("json_schema", schema))

    def read(self, value: Any) -> Form:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        kind = value.get("type")
        if not isinstance(kind, str):
            raise at(absent() if kind is None else wrong_type("a string", kind), "type")
        match kind:
            case "text":
                return Form(None, {"type": kind})
            case "json_object":
                return Form(Constraint("json"), {"type": kind})
            case "json_schema":
                return self._schema(value)
        raise at(Wrong(f"unknown value '{kind}'. Expected one of 'text', 'json_object', 'json_schema'."), "type")

    def _schema(self, value: dict[str, Any]) -> Form:
        named = _Named().load(without_nulls(value), unknown=EXCLUDE)
        schema = value.get("schema")
        if not isinstance(schema, dict):
            raise at(absent() if schema is None else wrong_type("an object", schema), "schema")
        _check_repeatable(schema, "schema")
        return Form(Constraint("schema", json_text(schema)), {"type": "json_schema", **named, "schema": schema})


class _TextSchema(Schema):
    format = _Format()


class _Metadata(Strict[dict[str, str]]):
    """Kept for nobody, and repeated in the answer."""

    expected = "an object"
    shape: ClassVar[Shape | None] = {**OBJECT, "additionalProperties": TEXT}

    def read(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        for key, each in value.items():
            if not isinstance(each, str):
                raise at(wrong_type("a string", each), key)
        return value


#: What `include` may name. Only the first says something here: nothing else of it ever comes up.
LOGPROBS = "message.output_text.logprobs"
_INCLUDABLE = (
    LOGPROBS,
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)

FIELDS: Mapping[str, fields.Field[Any]] = {
    "text": Object(_TextSchema(), load_default=dict),
    "tools": Array(_Tool(), most=MAX_TOOLS, load_default=()),
    "tool_choice": _Choice(),
    "parallel_tool_calls": Boolean(load_default=True),
    "include": Array(Text(_INCLUDABLE), load_default=()),
    "truncation": Text(("auto", "disabled"), load_default="disabled"),
    "metadata": _Metadata(load_default=dict),
}


def repeated_choice(value: JSON, chosen: Chosen | None) -> JSON:
    """`tool_choice`, in the Responses API's own form."""
    if chosen is None:
        return "auto"
    if chosen.only is None:
        return chosen.mode
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        tools = [{"type": "function", "name": name} for name in chosen.only]
        return {"type": "allowed_tools", "mode": chosen.mode, "tools": tools}
    return {"type": "function", "name": chosen.only[0]}

"""What /v1/messages accepts, field by field, in the order in which problems are reported."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, fields, post_load
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, there
from tropilla.api.fields import Array, Boolean, Integer, Number, Object, Strict, Text, wrong_type
from tropilla.api.reading import Wrong, load, without_nulls
from tropilla.api.surfaces.anthropic.blocks import Said, Texts
from tropilla.api.surfaces.openai.tools import MAX_TOOLS, Chosen
from tropilla.api.surfaces.openai.wrong import absent, at, json_text
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Constraint, Effort, Tool, ToolChoice
from tropilla.common.settings import Settings

_MAX_INT = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Anthropic's own bound.
_LEAST_BUDGET = 1024


@dataclass(frozen=True, slots=True)
class Choice:
    chosen: Chosen
    parallel: bool


@dataclass(frozen=True, slots=True)
class Thinking:
    """`budget` is 0 where none was given. `told` says whether the thoughts are part of the answer."""

    type: str
    budget: int = 0
    told: bool = True


class _Schema(Strict[str]):
    """A JSON schema, as text."""

    expected = "an object"
    shape: ClassVar[Shape | None] = OBJECT

    def read(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        return json_text(value)


class _InputSchema(_Schema):
    """Of a tool's input, which is always an object."""

    shape = record("", {"type": one_of("object")})

    def read(self, value: Any) -> str:
        text = super().read(value)
        kind = value.get("type")
        if kind != "object":
            raise at(absent() if kind is None else Wrong("expected 'object'."), "type")
        return text


class _Name(Text):
    def read(self, value: Any) -> str:
        name = super().read(value)
        if not _NAME.fullmatch(name):
            raise Wrong(f"'{name}' is not 1 to 128 letters, digits, underscores and hyphens.")
        return name

    def described(self, _: Nested, /) -> Shape:
        return {**TEXT, "pattern": f"^{_NAME.pattern}$"}


class _ToolSchema(Schema):
    #: Anthropic's own tools have a type, and no schema: nobody knows them here.
    type = Text(("custom",), load_default="custom")
    name = _Name(required=True)
    description = Text(load_default="")
    input_schema = _InputSchema(required=True)

    @post_load
    def _tool(self, given: dict[str, Any], **_: Any) -> Tool:
        return Tool(given["name"], given["description"], given["input_schema"])


class _ChoiceSchema(Schema):
    needs: ClassVar[Shape] = either({"properties": {"type": {"not": {"const": "tool"}}}}, there("name"))
    _modes: Mapping[str, ToolChoice] = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}

    type = Text(tuple(_modes), required=True)
    name = Text()
    disable_parallel_tool_use = Boolean(load_default=False)

    @post_load
    def _choice(self, given: dict[str, Any], **_: Any) -> Choice:
        only = None
        if given["type"] == "tool":
            if "name" not in given:
                raise at(absent(), "name")
            only = (given["name"],)
        return Choice(Chosen(self._modes[given["type"]], only), not given["disable_parallel_tool_use"])


class _ThinkingSchema(Schema):
    needs: ClassVar[Shape] = either({"properties": {"type": {"not": {"const": "enabled"}}}}, there("budget_tokens"))

    type = Text(("enabled", "disabled", "adaptive"), required=True)
    budget_tokens = Integer(_LEAST_BUDGET)
    display = Text(("summarized", "omitted"), load_default="summarized")

    @post_load
    def _thinking(self, given: dict[str, Any], **_: Any) -> Thinking:
        if given["type"] == "enabled" and "budget_tokens" not in given:
            raise at(absent(), "budget_tokens")
        return Thinking(given["type"], given.get("budget_tokens", 0), given["display"] != "omitted")


class _Format(Strict[Constraint]):
    expected = "an object"

    def described(self, nested: Nested, /) -> Shape:
        return nested(_FormatSchema())

    def read(self, value: Any) -> Constraint:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        read = _FormatSchema().load(without_nulls(value), unknown=EXCLUDE)
        return Constraint("schema", read["schema"])


class _FormatSchema(Schema):
    type = Text(("json_schema",), required=True)
    schema = _Schema(required=True)


EFFORTS: Mapping[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}


class _OutputConfig(Schema):
    effort = Text(tuple(EFFORTS))
    format = _Format()


def _fields(settings: Settings, *, counting: bool) -> Mapping[str, fields.Field[Any]]:
    return {
        "model": Text(load_default=""),
        "messages": Array(Said(), may_be_empty=False, required=True),
        "max_tokens": Integer(1, required=not counting),
        "system": Texts(load_default=""),
        "stop_sequences": Array(Text(), most=settings.max_stop_sequences, load_default=()),
        "temperature": Number(0, 1, load_default=1.0),
        "top_p": Number(0, 1, load_default=1.0),
        # 0 is off.
        "top_k": Integer(0, _MAX_INT, load_default=0),
        "stream": Boolean(load_default=False),
        "tools": Array(Object(_ToolSchema()), most=MAX_TOOLS, load_default=()),
        "tool_choice": Object(_ChoiceSchema()),
        "thinking": Object(_ThinkingSchema()),
        "output_config": Object(_OutputConfig(), load_default=dict),
        # What it was called in its first months.
        "output_format": _Format(),
    }


@functools.cache
def schema(settings: Settings, *, counting: bool) -> Schema:
    """counting: of a request that generates nothing, and so needs no `max_tokens`."""
    return Schema.from_dict(
        dict(_fields(settings, counting=counting)), name="MessagesCount" if counting else "Messages"
    )()


def dotted(path: str) -> str:
    """`messages[0].content` as Anthropic writes it."""
    return re.sub(r"\[(\d+)\]", r".\1", path)


def checked(settings: Settings, body: Mapping[str, Any], *, counting: bool) -> dict[str, Any]:
    """The body's known fields. Raises `InvalidField` for the first problem, its path in the sentence."""
    try:
        return load(schema(settings, counting=counting), body)
    except InvalidField as error:
        detail = "Field required" if error.problem == "missing" else error.message
        text = f"{dotted(error.param or '')}: {detail}"
        raise InvalidField(text, param=error.param, problem=error.problem) from error

"""What the bodies of /api/generate and /api/chat may hold (sheet, sections 4.1 and 5.1). Everything has Go's zero value."""

from __future__ import annotations

from typing import Any

from tropilla.api.about import FLAG, OBJECT, TEXT, Nested, Shape, either, one_of
from tropilla.api.reading import Wrong, load
from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama.fields import (
    Anything,
    Boolean,
    Field,
    Images,
    Integer,
    Integers,
    Object,
    Objects,
    ObjectText,
    Struct,
    Text,
    folded,
    kind_of,
)
from tropilla.api.surfaces.ollama.keep_alive import KeepAlive
from tropilla.api.surfaces.ollama.options import OPTIONS
from tropilla.common.errors import InvalidField

THINK_LEVELS = ("high", "medium", "low", "max")
_THINK_CHOICES = ", ".join(f'"{level}"' for level in THINK_LEVELS) + ", true, or false"


class Think(Field[bool | str]):
    shape = either(FLAG, one_of(*THINK_LEVELS))

    def read(self, value: Any) -> bool | str:
        if not isinstance(value, bool | str):
            raise Wrong(f"think must be a boolean or string ({_THINK_CHOICES})", "type")
        if isinstance(value, str) and value not in THINK_LEVELS:
            raise Wrong(f'invalid think value: "{value}" (must be {_THINK_CHOICES})')
        return value


class Arguments(ObjectText):
    """An object; its JSON text, which OpenAI's clients keep, is taken too."""

    go_type = "api.ToolCallFunctionArguments"
    shape = either(OBJECT, TEXT)

    def read(self, value: Any) -> str:
        return value if isinstance(value, str) else super().read(value)


class FunctionSchema(Struct):
    go_name = "ChatRequest.messages.tool_calls.function"

    name = Text(load_default="")
    arguments = Arguments(load_default="{}")


class ToolCallSchema(Struct):
    go_name = "ChatRequest.messages.tool_calls"

    id = Text(load_default="")
    function = Object(FunctionSchema(), load_default=lambda: {"name": "", "arguments": "{}"})


class MessageSchema(Struct):
    go_name = "ChatRequest.messages"

    role = Text(load_default="")
    content = Text(load_default="")
    thinking = Text(load_default="")
    images = Images(load_default=())
    tool_calls = Objects(ToolCallSchema(), load_default=list)
    tool_name = Text(load_default="")
    tool_call_id = Text(load_default="")


class ToolFunctionSchema(Struct):
    go_name = "ChatRequest.tools.function"

    name = Text(load_default="")
    description = Text(load_default="")
    parameters = ObjectText(load_default="{}")


class ToolSchema(Struct):
    go_name = "ChatRequest.tools"

    function = Object(ToolFunctionSchema(), load_default=lambda: {"name": "", "description": "", "parameters": "{}"})


class GivenOptions(Object):
    """They are loaded when the model is known."""

    def described(self, nested: Nested, /) -> Shape:
        return nested(OPTIONS)


class _RequestSchema(Struct):
    model = Text(load_default="")
    stream = Boolean(load_default=True)
    format = Anything(load_default="")
    options = GivenOptions(load_default=dict)
    #: Absent is as it was: the worker's own default, or what an earlier request asked for.
    keep_alive = KeepAlive(load_default=None)
    think = Think(load_default=None)
    truncate = Boolean(load_default=True)
    #: Absent is what the model can.
    shift = Boolean(load_default=None)
    logprobs = Boolean(load_default=False)
    top_logprobs = Integer(load_default=0)
    _debug_render_only = Boolean(load_default=False)


class GenerateSchema(_RequestSchema):
    go_name = "GenerateRequest"

    prompt = Text(load_default="")
    suffix = Text(load_default="")
    system = Text(load_default="")
    template = Text(load_default="")
    context = Integers(load_default=())
    raw = Boolean(load_default=False)
    images = Images(load_default=())


class ChatSchema(_RequestSchema):
    go_name = "ChatRequest"

    messages = Objects(MessageSchema(), load_default=list)
    tools = Objects(ToolSchema(), load_default=list)


def read_body(struct: Struct, body: JSON) -> dict[str, Any]:
    """The checked fields of a body, which may be any JSON value. Raises `InvalidField`."""
    if body is None:
        return load(struct, {})
    if not isinstance(body, dict):
        message = f"json: cannot unmarshal {kind_of(body)} into Go value of type api.{struct.go_name}"
        raise InvalidField(message, param=None, problem="type")
    return load(struct, folded(body))

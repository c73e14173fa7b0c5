"""`tools` and `tool_choice`, and what they were called before: `functions` and `function_call` (sheet, section 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from marshmallow import Schema, fields, post_load
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, several
from tropilla.api.fields import Array, Boolean, Object, Strict, Text, wrong_type
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.openai.constraints import check_constraint
from tropilla.api.surfaces.openai.wrong import absent, at, json_text
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Constraint, Tool, ToolChoice

#: OpenAI's own bound.
MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: A function without parameters takes none, rather than any.
_NO_PARAMETERS = json_text({"type": "object", "properties": {}, "additionalProperties": False})


#: A function by its name.
BY_NAME = record("", {"name": TEXT})
_FUNCTION = record("", {"type": one_of("function"), "function": BY_NAME})
ALLOWED = record("", {"tools": several(either(_FUNCTION, BY_NAME), least=1)}, {"mode": one_of("auto", "required")})
#: What `tool_choice` may be.
CHOICE = either(TEXT, _FUNCTION, record("", {"type": one_of("allowed_tools"), "allowed_tools": ALLOWED}))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tool choice. `only`: the tools that may be called; None is all of them. One alone, required, is named."""

    mode: ToolChoice
    only: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What the model may call. `legacy`: the caller knows functions only, and one call an answer."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = "auto"
    named: str = ""
    parallel: bool = True
    legacy: bool = False


class _Name(Text):
    def read(self, value: Any) -> str:
        name = super().read(value)
        if not _NAME.fullmatch(name):
            raise Wrong(f"'{name}' is not 1 to 64 letters, digits, underscores and hyphens.")
        return name

    def described(self, _: Nested, /) -> Shape:
        return {**TEXT, "pattern": f"^{_NAME.pattern}$"}


class _Parameters(Strict[str]):
    """A JSON schema, as text."""

    expected = "an object"
    shape = OBJECT

    def read(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        return json_text(value) if value else _NO_PARAMETERS


class FunctionSchema(Schema):
    name = _Name(required=True)
    description = Text(load_default="")
    parameters = _Parameters()
    #: TGI's word for them.
    arguments = _Parameters()

    @post_load
    def _tool(self, given: dict[str, Any], **_: Any) -> Tool:
        parameters = given.get("parameters", given.get("arguments", _NO_PARAMETERS))
        return Tool(given["name"], given["description"], parameters)


class _ToolSchema(Schema):
    type = Text(("function",), load_default="function")
    function = Object(FunctionSchema(), required=True)

    @post_load
    def _tool(self, given: dict[str, Any], **_: Any) -> Tool:
        tool: Tool = given["function"]
        return tool


class Choice(Strict[Chosen]):
    """`tool_choice`. A string that is no mode is the name of a tool (TGI)."""

    expected = "a string or an object"
    shape: ClassVar[Shape | None] = CHOICE
    _modes: Mapping[str, ToolChoice] = {"none": "none", "auto": "auto", "required": "required"}

    def read(self, value: Any) -> Chosen:
        if isinstance(value, str):
            return Chosen(self._modes[value]) if value in self._modes else Chosen("required", (value,))
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        kind = value.get("type", "function" if "function" in value else None)
        if kind == "allowed_tools":
            return self._allowed(value)
        if kind == "function":
            return Chosen("required", (_named(value),))
        raise Wrong("expected 'none', 'auto', 'required', or an object of type 'function' or 'allowed_tools'.")

    def _allowed(self, value: dict[str, Any]) -> Chosen:
        inner = value.get("allowed_tools")
        if not isinstance(inner, dict):
            raise at(absent() if inner is None else wrong_type("an object", inner), "allowed_tools")
        return self._among(inner, "allowed_tools")

    def _among(self, inner: dict[str, Any], *path: str) -> Chosen:
        mode, tools = inner.get("mode", "auto"), inner.get("tools")
        if mode not in ("auto", "required"):
            raise at(Wrong("expected one of 'auto', 'required'."), *path, "mode")
        if not isinstance(tools, list) or not tools:
            raise at(wrong_type("an array of tools", tools), *path, "tools")
        for place, tool in enumerate(tools):
            if not isinstance(tool, dict):
                raise at(wrong_type("an object", tool), *path, "tools", place)
        return Chosen(self._modes[mode], tuple(_named(tool) for tool in tools))


class _FunctionChoice(Choice):
    """`function_call`: the function's name stands in the object itself."""

    shape = either(TEXT, BY_NAME)

    def read(self, value: Any) -> Chosen:
        return Chosen("required", (_named(value),)) if isinstance(value, dict) else super().read(value)


def _named(value: dict[str, Any]) -> str:
    holder = value.get("function", value)
    name = holder.get("name") if isinstance(holder, dict) else None
    if not isinstance(name, str):
        raise Wrong("the function's 'name' is missing.")
    return name


FIELDS: Mapping[str, fields.Field[Any]] = {
    "tools": Array(Object(_ToolSchema()), most=MAX_TOOLS, load_default=()),
    "tool_choice": Choice(),
    "parallel_tool_calls": Boolean(load_default=True),
    "functions": Array(Object(FunctionSchema()), most=MAX_TOOLS, load_default=()),
    "function_call": _FunctionChoice(),
}


def toolbox(fields: Mapping[str, Any]) -> Toolbox:
    """Raises `InvalidField` for a choice that the tools do not allow. `tools` win over `functions`."""
    legacy = bool(fields["functions"]) and not fields["tools"]
    tools = tuple(fields["tools"] or fields["functions"])
    param = "function_call" if "function_call" in fields and (legacy or "tool_choice" not in fields) else "tool_choice"
    chosen: Chosen = fields.get(param, Chosen("auto"))
    if not tools:
        if chosen.mode == "required":
            source = "functions" if param == "function_call" else "tools"
            raise InvalidField(f"'{param}' is only allowed when '{source}' are given.", param=param, problem="rule")
        return Toolbox()
    only = chosen.only or tuple(tool.name for tool in tools)
    unknown = next((name for name in only if name not in {tool.name for tool in tools}), None)
    if unknown is not None:
        raise InvalidField(f"Invalid '{param}': there is no tool '{unknown}'.", param=param, problem="value")
    named = only[0] if chosen.only and len(only) == 1 and chosen.mode == "required" else ""
    if not named:
        # There is no showing a tool that must not be called.
        tools = tuple(tool for tool in tools if tool.name in only)
    return Toolbox(tools, chosen.mode, named, parallel=fields["parallel_tool_calls"] and not legacy, legacy=legacy)


def check_schemas(fields: Mapping[str, Any], box: Toolbox) -> None:
    """A call that must come is made by a grammar, so the schemas of the tools that can be called have to make one."""
    param = "functions[{}].parameters" if box.legacy else "tools[{}].function.parameters"
    tools = fields["functions"] if box.legacy else fields["tools"]
    check_callable(box, ((param.format(place), tool) for place, tool in enumerate(tools)))


def check_callable(box: Toolbox, tools: Iterable[tuple[str, Tool]]) -> None:
    """The same of tools beside the paths at which their parameters stand."""
    for param, tool in tools if box.choice == "required" else ():
        if tool in box.tools and box.named in ("", tool.name):
            check_constraint(param, Constraint("schema", tool.parameters))

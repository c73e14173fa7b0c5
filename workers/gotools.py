"""Tools and calls -> what a Go template sees of them: the structs of Ollama's API, which print as JSON."""

from __future__ import annotations

import json
from typing import Any

from tropilla.common.generation import Tool, ToolCall
from tropilla.common.gotemplate.values import SpokenList, SpokenMap, Struct, Words
from tropilla.workers.turns import Guard, guarded


def tools_seen(tools: tuple[Tool, ...], guard: Guard) -> SpokenList:
    return SpokenList(_tool(tool, guard) for tool in tools)


def call_seen(call: ToolCall, index: int, guard: Guard) -> Struct:
    arguments = _arguments(call.arguments, guard)
    function = {"Index": index, "Name": guard(call.name), "Arguments": arguments}
    as_json = {"index": index, "name": guard(call.name), "arguments": arguments}
    named = Struct("api.ToolCallFunction", function, as_json, spoken=True)
    return Struct("api.ToolCall", {"ID": guard(call.id), "Function": named}, {"id": guard(call.id), "function": named})


def _arguments(text: str, guard: Guard) -> Any:
    """An object; what a caller wrote that is none stays text."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return guard(text)
    return SpokenMap(guarded(value, guard)) if isinstance(value, dict) else guard(text)


def _tool(tool: Tool, guard: Guard) -> Struct:
    schema = guarded(json.loads(tool.parameters), guard)
    parameters = _parameters(schema if isinstance(schema, dict) else {})
    name, description = guard(tool.name), guard(tool.description)
    function = Struct(
        "api.ToolFunction",
        {"Name": name, "Description": description, "Parameters": parameters},
        {"name": name, **_said(description=description), "parameters": parameters},
        spoken=True,
    )
    as_json = {"type": "function", "function": function}
    return Struct("api.Tool", {"Type": "function", "Items": None, "Function": function}, as_json, spoken=True)


def _parameters(schema: dict[str, Any]) -> Struct:
    kind, required = str(schema.get("type") or "object"), _texts(schema.get("required"))
    fields = {
        "Type": kind,
        "Defs": schema.get("$defs"),
        "Items": schema.get("items"),
        "Required": required,
        "Properties": _properties(schema.get("properties")),
    }
    others = _said(**{"$defs": fields["Defs"], "items": fields["Items"], "required": required})
    as_json = {"type": kind, **others, "properties": fields["Properties"]}
    return Struct("api.ToolFunctionParameters", fields, as_json, spoken=True)


def _properties(schemas: Any) -> SpokenMap:
    """In the order of their names, as Go's maps are."""
    known = schemas if isinstance(schemas, dict) else {}
    return SpokenMap({name: _property(known[name]) for name in sorted(known)})


def _property(schema: Any) -> Struct:
    """What a template may ask of a property; a schema may be a mere `true`."""
    known = schema if isinstance(schema, dict) else {}
    kinds = known.get("type")
    fields = {
        "AnyOf": [_property(either) for either in known["anyOf"]] if isinstance(known.get("anyOf"), list) else [],
        "Type": Words([kinds] if isinstance(kinds, str) else _texts(kinds)),
        "Items": known.get("items"),
        "Description": str(known.get("description") or ""),
        "Enum": known.get("enum") or [],
        "Properties": _properties(known["properties"]) if known.get("properties") else None,
        "Required": _texts(known.get("required")),
    }
    as_json = _said(**{name[0].lower() + name[1:]: value for name, value in fields.items()})
    return Struct("api.ToolProperty", fields, as_json)


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _said(**values: Any) -> dict[str, Any]:
    """Without what is empty (Go's `omitempty`)."""
    return {name: value for name, value in values.items() if value or value == 0}

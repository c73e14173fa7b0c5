"""Ollama's `toTypeScriptType`: a tool's property as TypeScript would declare it."""

from __future__ import annotations

from typing import Any

from tropilla.common.gotemplate.values import Struct

_TYPES = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def typescript_type(value: Any) -> str:
    """Of anything but a property: any."""
    if not isinstance(value, Struct) or "AnyOf" not in value.fields:
        return "any"
    kinds = [typescript_type(either) for either in value.fields["AnyOf"]]
    return " | ".join(kinds or [_TYPES.get(kind, "any") for kind in value.fields["Type"]]) or "any"

"""What LocalAI's templates are given: its structs, of which a field that is not there is an error (models sheet 1.10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tropilla.common.gotemplate.template import LOCALAI, Template
from tropilla.common.gotemplate.values import Struct

#: A conversation renders its message template once a message, and the next one brings the same.
local_template = lru_cache(maxsize=64)(lambda source: Template(source, LOCALAI))


def message_data(
    *,
    role: str,
    role_name: str,
    content: str,
    index: int,
    last: bool,
    system_prompt: str = "",
    name: str = "",
    function: bool = False,
    call: Any = None,
) -> Struct:
    """For `chat_message`. role: the role's prefix. function: the answer may be a call. call: what was called, None for
    nothing.
    """
    fields = {
        "SystemPrompt": system_prompt,
        "Role": role,
        "RoleName": role_name,
        "FunctionName": name,
        "Content": content,
        "MessageIndex": index,
        "Function": function,
        "FunctionCall": call,
        "LastMessage": last,
    }
    return Struct("templates.ChatMessageTemplateData", fields)


def prompt_data(
    *,
    text: str,
    system_prompt: str = "",
    suppress: bool = False,
    instruction: str = "",
    functions: Iterable[Struct] = (),
    effort: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Struct:
    """For the others. suppress: a system text stands in the input already."""
    fields = {
        "SystemPrompt": system_prompt,
        "SuppressSystemPrompt": suppress,
        "Input": text,
        "Instruction": instruction,
        "Functions": list(functions),
        "MessageIndex": 0,
        "ReasoningEffort": effort,
        "Metadata": dict(metadata or {}),
    }
    return Struct("templates.PromptTemplateData", fields)


def function_data(name: str, description: str, parameters: Mapping[str, Any]) -> Struct:
    fields = {"Name": name, "Description": description, "Strict": False, "Parameters": dict(parameters)}
    return Struct("functions.Function", fields, {key.lower(): value for key, value in fields.items()})


def call_data(index: int, call_id: str, name: str, arguments: str) -> Struct:
    """arguments: JSON text, as OpenAI's protocol has it."""
    inner = {"Name": name, "Arguments": arguments}
    called = Struct("schema.FunctionCall", inner, {"name": name, "arguments": arguments})
    fields = {"Index": index, "ID": call_id, "Type": "function", "FunctionCall": called}
    return Struct("schema.ToolCall", fields, {"index": index, "id": call_id, "type": "function", "function": called})

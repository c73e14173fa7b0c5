"""Messages and tools -> what a chat template sees of them, normalised as llama.cpp does it (contracts, models sheet 3.3).

`guard` is applied to every text that came from a caller.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

from tropilla.common.generation import Message, Tool

SYSTEM_ROLES = frozenset({"system", "developer"})


def turn(message: Message, guard: Callable[[str], str]) -> dict[str, Any]:
    """What a template sees of a message. Keys that say nothing are absent, as templates test for them."""
    seen: dict[str, Any] = {
        "role": "system" if message.role in SYSTEM_ROLES else guard(message.role),
        "content": guard(message.content),
    }
    if message.name:
        seen["name"] = guard(message.name)
    if message.reasoning:
        seen["reasoning_content"] = guard(message.reasoning)
    if message.tool_call_id:
        seen["tool_call_id"] = guard(message.tool_call_id)
    if message.tool_calls:
        seen["tool_calls"] = [
            {
                "id": guard(call.id),
                "type": "function",
                "function": {"name": guard(call.name), "arguments": _arguments(call.arguments, guard)},
            }
            for call in message.tool_calls
        ]
    return seen


def _arguments(text: str, guard: Callable[[str], str]) -> Any:
    """Templates walk through arguments as an object; text that is no JSON stays text."""
    try:
        return _guarded(json.loads(text), guard) if text else {}
    except (ValueError, RecursionError):
        return guard(text)


def tool_entry(tool: Tool, guard: Callable[[str], str]) -> dict[str, Any]:
    parameters = _guarded(json.loads(tool.parameters), guard)
    return {
        "type": "function",
        "function": {"name": guard(tool.name), "description": guard(tool.description), "parameters": parameters},
    }


def _guarded(value: Any, guard: Callable[[str], str]) -> Any:
    """Every string in a JSON value. After parsing, since JSON can spell `<` as an escape."""
    if isinstance(value, str):
        return guard(value)
    if isinstance(value, list):
        return [_guarded(item, guard) for item in value]
    if isinstance(value, dict):
        return {guard(key): _guarded(item, guard) for key, item in value.items()}
    return value


def without_system(messages: tuple[Message, ...]) -> Iterable[Message]:
    """The system texts before the first user message's own, a blank line between (sheet 3.3, rule 2)."""
    owed = "\n\n".join(message.content for message in messages if message.role in SYSTEM_ROLES)
    others = [message for message in messages if message.role not in SYSTEM_ROLES]
    if owed and not any(message.role == "user" for message in others):
        yield Message("user", owed)
        owed = ""
    for message in others:
        if owed and message.role == "user":
            yield dataclasses.replace(message, content=_joined(owed, message.content))
            owed = ""
        else:
            yield message


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first and second else first or second


def merged(messages: Iterable[Message]) -> Iterable[Message]:
    """Neighbours of one role as one message, a blank line between; tool results stay apart."""
    kept: Message | None = None
    for message in messages:
        if kept is None:
            kept = message
        elif kept.role == message.role != "tool" and not kept.tool_calls and not message.tool_calls:
            kept = dataclasses.replace(
                kept,
                content=_joined(kept.content, message.content),
                reasoning=_joined(kept.reasoning, message.reasoning),
            )
        else:
            yield kept
            kept = message
    if kept is not None:
        yield kept

"""Messages and tools -> what a chat template sees of them, normalised as llama.cpp does it (contracts, models sheet 3.3).

`guard` is applied to every text that came from a caller.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tropilla.common.generation import Message, Tool, ToolCall

SYSTEM_ROLES = frozenset({"system", "developer"})
#: Some templates insist on call ids of nine letters and digits.
SHORT_ID = 9
#: Looked for in what a template makes of it. Short, and without anything that one could split, strip or escape.
PROBE = "tropillaprobe"

Guard = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Manners:
    """How a template wants its messages.

    parts: roles whose content is a list, `[{"type": "text", "text": ...}]`. reasoning: the key a reasoning stands under.
    developer: it tells developers from systems. either: in a turn with calls it takes a reasoning or a content, not both.
    """

    parts: frozenset[str] = frozenset()
    reasoning: str = "reasoning_content"
    short_ids: bool = False
    developer: bool = False
    either: bool = False


def turn(message: Message, guard: Guard, *, role: str, manners: Manners, end: str = "") -> dict[str, Any]:
    """What a template sees of a message. Keys that say nothing are absent, as templates test for them.

    `role` is the message's, guarded; `end` stands behind the content.
    """
    content, reasoning = message.content, message.reasoning
    if manners.either and message.tool_calls and reasoning:
        content, reasoning = "", _joined(reasoning, content)
    seen: dict[str, Any] = {"role": "system" if role == "developer" and not manners.developer else role}
    text = guard(content) + end
    seen["content"] = [{"type": "text", "text": text}] if seen["role"] in manners.parts else text
    if message.name:
        seen["name"] = guard(message.name)
    if reasoning:
        seen[manners.reasoning] = guard(reasoning)
    if message.tool_call_id:
        seen["tool_call_id"] = guard(_id(message.tool_call_id, manners))
    if message.tool_calls:
        seen["tool_calls"] = [_call(call, guard, manners) for call in message.tool_calls]
    return seen


def _call(call: ToolCall, guard: Guard, manners: Manners) -> dict[str, Any]:
    function = {"name": guard(call.name), "arguments": _arguments(call.arguments, guard)}
    return {"id": guard(_id(call.id, manners)), "type": "function", "function": function}


def _id(name: str, manners: Manners) -> str:
    if not manners.short_ids or (len(name) == SHORT_ID and name.isalnum()):
        return name
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:SHORT_ID]


def _arguments(text: str, guard: Guard) -> Any:
    """Templates walk through arguments as an object; text that is no JSON stays text."""
    try:
        return guarded(json.loads(text), guard) if text else {}
    except (ValueError, RecursionError):
        return guard(text)


def tool_entry(tool: Tool, guard: Guard) -> dict[str, Any]:
    """Templates walk through properties: a tool without parameters has none, rather than nothing to walk through."""
    parameters = json.loads(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": guarded(function, guard)}


def guarded(value: Any, guard: Guard) -> Any:
    """Every string in a JSON value. After parsing, since JSON can spell `<` as an escape."""
    if isinstance(value, str):
        return guard(value)
    if isinstance(value, list):
        return [guarded(item, guard) for item in value]
    if isinstance(value, dict):
        return {guard(key): guarded(item, guard) for key, item in value.items()}
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


def with_system(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """The text as the end of the first message's, when that is a system's, or as a system's own."""
    if messages and messages[0].role in SYSTEM_ROLES:
        first = dataclasses.replace(messages[0], content=_joined(messages[0].content, text))
        return first, *messages[1:]
    return Message("system", text), *messages


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first and second else first or second


def alternating(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """For templates that insist on turns: systems first, neighbours of one role as one message (sheet 3.3, rule 6)."""
    systems = [message for message in messages if message.role in SYSTEM_ROLES]
    return tuple(_merged([*systems, *(message for message in messages if message.role not in SYSTEM_ROLES)]))


def _merged(messages: Iterable[Message]) -> Iterable[Message]:
    """A blank line between; tool results stay apart."""
    kept: Message | None = None
    for message in messages:
        if kept is None:
            kept = message
        elif kept.role == message.role != "tool" and not kept.tool_calls and not message.tool_calls:
            kept = dataclasses.replace(
                kept,
                content=_joined(kept.content, message.content),
                reasoning=_joined(kept.reasoning, message.reasoning),
                images=kept.images + message.images,
            )
        else:
            yield kept
            kept = message
    if kept is not None:
        yield kept

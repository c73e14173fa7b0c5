"""The messages of a chat, checked -> the vocabulary's; results of tools find the calls they answer (sheet, section 5.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tropilla.common.generation import Message, ToolCall


def history(given: Iterable[Mapping[str, Any]]) -> Iterator[Message]:
    """The Python client drops ids when it sends a conversation back, and who writes one by hand drops names: a result
    without them belongs to the first call of the last turn that nobody has answered.
    """
    waiting: list[ToolCall] = []
    for fields in given:
        message = _message(fields)
        if message.tool_calls:
            waiting = list(message.tool_calls)
        elif message.role == "tool":
            answered = _answered(message, waiting)
            if answered is not None:
                waiting.remove(answered)
                message = _labelled(message, answered)
        yield message


def _message(given: Mapping[str, Any]) -> Message:
    return Message(
        role=given["role"].lower(),
        content=given["content"],
        name=given["tool_name"],
        tool_calls=tuple(_tool_call(call) for call in given["tool_calls"]),
        tool_call_id=given["tool_call_id"],
        reasoning=given["thinking"],
    )


def _tool_call(given: Mapping[str, Any]) -> ToolCall:
    return ToolCall(given["function"]["name"], given["function"]["arguments"], given["id"])


def _answered(message: Message, waiting: Iterable[ToolCall]) -> ToolCall | None:
    """The first call that what the message says of itself fits."""
    return next(
        (call for call in waiting if _fits(message.tool_call_id, call.id) and _fits(message.name, call.name)), None
    )


def _fits(said: str, known: str) -> bool:
    return said in ("", known)


def _labelled(message: Message, call: ToolCall) -> Message:
    return dataclasses.replace(message, name=message.name or call.name, tool_call_id=message.tool_call_id or call.id)

"""The messages of a chat, checked -> the vocabulary's; results of tools find the calls they answer (sheet, section 5.1)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tropilla.api.surfaces.ollama.names import name_of
from tropilla.common.catalogue import Model
from tropilla.common.generation import Message, ToolCall

#: Models that were trained without the thoughts of earlier turns: an architecture's beginning, and a name.
_FORGETFUL_FAMILY, _FORGETFUL_NAME = "qwen3", "deepseek-r1"
#: A first block of thoughts; one that never ends is all there is.
_THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)


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


def remembered(messages: tuple[Message, ...], model: Model) -> tuple[Message, ...]:
    """Where a model should not see what it thought in earlier turns, without the thoughts that clients have left in the
    texts of those (section 5.4).
    """
    if not (model.family.startswith(_FORGETFUL_FAMILY) or name_of(model).model.lower() == _FORGETFUL_NAME):
        return messages
    turn = max((place for place, message in enumerate(messages) if message.role == "user"), default=0)
    return tuple(
        dataclasses.replace(message, content=_THOUGHTS.sub("", message.content))
        if message.role == "assistant" and place < turn
        else message
        for place, message in enumerate(messages)
    )


def _message(given: Mapping[str, Any]) -> Message:
    return Message(
        role=given["role"].lower(),
        content=given["content"],
        name=given["tool_name"],
        tool_calls=tuple(_tool_call(call) for call in given["tool_calls"]),
        tool_call_id=given["tool_call_id"],
        reasoning=given["thinking"],
        images=given["images"],
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

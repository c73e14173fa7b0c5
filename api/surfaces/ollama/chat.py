"""POST /api/chat: a body -> a call, or at once the answer of a load (sheet, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.framing import compact
from tropilla.api.surface import JSON, Call, Reply, Surroundings
from tropilla.api.surfaces.ollama.answer import nothing_to_generate, show_message
from tropilla.api.surfaces.ollama.calls import call_for, options_of
from tropilla.api.surfaces.ollama.checks import Want, check_capabilities, check_format, check_top_logprobs, refuse
from tropilla.api.surfaces.ollama.names import resolve
from tropilla.api.surfaces.ollama.schemas import ChatSchema, read_body
from tropilla.common.errors import InvalidField
from tropilla.common.generation import ChatPrompt, Message, ToolCall

CHAT = ChatSchema()


def parse_chat(body: JSON, surroundings: Surroundings) -> Call | Reply:
    """The checks stand in the order of section 5.3."""
    given = read_body(CHAT, body)
    check_top_logprobs(given, surroundings.settings)
    if not given["model"]:
        raise InvalidField("model is required", param="model", problem="missing")
    model = resolve(surroundings, given["model"])
    empty = not given["messages"]
    if empty and given["keep_alive"] == 0:
        return nothing_to_generate(show_message, given["model"], surroundings.now, unload=True)
    check_capabilities(given, model, _wants(given), "chat")
    options = options_of(given, model)
    if empty:
        return nothing_to_generate(show_message, given["model"], surroundings.now, unload=False)
    refuse(given, "_debug_render_only")
    check_format(given)
    prompt = ChatPrompt(tuple(_message(message) for message in given["messages"]))
    return call_for(given, surroundings, model=model, prompt=prompt, options=options)


def _wants(given: Mapping[str, Any]) -> list[Want]:
    tools = [Want("tools", "tools")] if given["tools"] else []
    pictured = next((place for place, message in enumerate(given["messages"]) if message["images"]), None)
    return tools if pictured is None else [*tools, Want(f"messages[{pictured}].images", "vision")]


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
    name, arguments = given["function"]["name"], given["function"]["arguments"]
    text = arguments if isinstance(arguments, str) else compact(arguments).decode()
    return ToolCall(name, text, given["id"])

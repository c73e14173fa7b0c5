"""POST /api/chat: a body -> a call, or a load or unload (sheet, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.api import overlays
from tropilla.api.surface import JSON, Call, Dismissal, Question, Surroundings
from tropilla.api.surfaces.ollama.calls import call_for, effort_of, options_of
from tropilla.api.surfaces.ollama.checks import Want, check_capabilities, check_top_logprobs, constraint_of
from tropilla.api.surfaces.ollama.debug import rendering_of
from tropilla.api.surfaces.ollama.history import history, remembered
from tropilla.api.surfaces.ollama.loading import load_of, unload_of
from tropilla.api.surfaces.ollama.names import resolve
from tropilla.api.surfaces.ollama.overlays import chat_template
from tropilla.api.surfaces.ollama.pictured import pictured
from tropilla.api.surfaces.ollama.said import show_message
from tropilla.api.surfaces.ollama.schemas import ChatSchema, read_body
from tropilla.common.errors import InvalidField
from tropilla.common.generation import ChatPrompt, Tool

CHAT = ChatSchema()


def parse_chat(body: JSON, surroundings: Surroundings) -> Call | Question | Dismissal:
    """The checks stand in the order of section 5.3."""
    given = read_body(CHAT, body)
    check_top_logprobs(given, surroundings.settings)
    if not given["model"]:
        raise InvalidField("model is required", param="model", problem="missing")
    model = resolve(surroundings, given["model"])
    empty = not given["messages"]
    if empty and given["keep_alive"] == 0:
        return unload_of(show_message, given, surroundings, model)
    check_capabilities(given, model, _wants(given), "chat")
    options = options_of(given, model)
    if empty:
        return load_of(given, surroundings, model)
    tools = tuple(_tools(given))
    effort = effort_of(given, model)
    messages = remembered(overlays.conversation(tuple(pictured(history(given["messages"]))), model.overlay), model)
    prompt = ChatPrompt(messages, tools=tools, effort=effort, template=chat_template(model))
    constraint = constraint_of(given) or overlays.grammar((prompt,), model.overlay)
    if given["_debug_render_only"]:
        return rendering_of(given, surroundings, model=model, prompt=prompt)
    return call_for(
        given,
        surroundings,
        model=model,
        prompt=prompt,
        options=options,
        constraint=constraint,
        parse_reply=bool(tools) or effort is not None,
    )


def _wants(given: Mapping[str, Any]) -> list[Want]:
    tools = [Want("tools", "tools")] if given["tools"] else []
    pictured = next((place for place, message in enumerate(given["messages"]) if message["images"]), None)
    return tools if pictured is None else [*tools, Want(f"messages[{pictured}].images", "vision")]


def _tools(given: Mapping[str, Any]) -> Iterator[Tool]:
    for place, tool in enumerate(given["tools"]):
        function = tool["function"]
        if not function["name"]:
            where = f"tools[{place}].function.name"
            raise InvalidField(f"{where} is required", param=where, problem="missing")
        yield Tool(function["name"], function["description"], function["parameters"])

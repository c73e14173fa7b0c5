"""POST /api/generate: a body -> a call, or a load or unload (sheet, section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tropilla.api import overlays
from tropilla.api.surface import JSON, Call, Dismissal, Question, Surroundings
from tropilla.api.surfaces.ollama.calls import call_for, effort_of, options_of
from tropilla.api.surfaces.ollama.checks import (
    Want,
    check_capabilities,
    check_template,
    check_top_logprobs,
    constraint_of,
)
from tropilla.api.surfaces.ollama.debug import rendering_of
from tropilla.api.surfaces.ollama.loading import load_of, unload_of
from tropilla.api.surfaces.ollama.names import resolve
from tropilla.api.surfaces.ollama.overlays import chat_template, infill_template, one_turn
from tropilla.api.surfaces.ollama.pictured import marked
from tropilla.api.surfaces.ollama.said import show_response
from tropilla.api.surfaces.ollama.schemas import GenerateSchema, read_body
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, UnknownModel, UnsupportedField
from tropilla.common.generation import ChatPrompt, Effort, InfillPrompt, Prompt, TextPrompt

GENERATE = GenerateSchema()


def parse_generate(body: JSON, surroundings: Surroundings) -> Call | Question | Dismissal:
    """The checks stand in the order of section 4.3."""
    given = read_body(GENERATE, body)
    check_top_logprobs(given, surroundings.settings)
    if not given["model"]:
        raise UnknownModel("")
    model = resolve(surroundings, given["model"])
    empty = not given["prompt"]
    if empty and given["keep_alive"] == 0:
        return unload_of(show_response, given, surroundings, model)
    _check_raw(given)
    check_capabilities(given, model, _wants(given), "generate")
    options = options_of(given, model)
    if empty:
        return load_of(given, surroundings, model)
    check_template(given["template"])
    _check_context(given, model)
    _check_suffix(given)
    effort = effort_of(given, model)
    prompt = _prompt(given, model, effort)
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
        # What stands between two pieces of code is code.
        parse_reply=effort is not None and not isinstance(prompt, InfillPrompt),
        want_prompt=not given["raw"],
    )


def _check_raw(given: Mapping[str, Any]) -> None:
    if given["raw"] and (given["template"] or given["system"] or given["context"]):
        raise InvalidField("raw mode does not support template, system, or context", param="raw", problem="rule")


def _wants(given: Mapping[str, Any]) -> list[Want]:
    wants = (Want("suffix", "insert"), Want("images", "vision"))
    return [want for want in wants if given[want.field]]


def _check_suffix(given: Mapping[str, Any]) -> None:
    if given["images"] and given["suffix"]:
        raise UnsupportedField("images are not supported with suffix", param="images")


def _check_context(given: Mapping[str, Any], model: Model) -> None:
    if given["context"] and given["suffix"]:
        raise UnsupportedField("context is not supported with suffix", param="context")
    wrong = next((token for token in given["context"] if not 0 <= token < model.vocabulary), None)
    if wrong is not None:
        raise InvalidField(f"context has token {wrong}, which the model does not know", param="context")


def _prompt(given: Mapping[str, Any], model: Model, effort: Effort | None) -> Prompt:
    """Raw text may spell markers, and with a suffix there is no system. Anything else is a chat of one turn, behind the
    tokens of an earlier one (section 4.5).
    """
    text, images = marked(given["prompt"], given["images"])
    if given["raw"]:
        return TextPrompt(text, special=True, images=images)
    if given["suffix"]:
        return InfillPrompt(given["prompt"], given["suffix"], infill_template(model, given["template"]))
    *before, asked = one_turn(model, text, system=given["system"], goes_on=bool(given["context"]))
    messages = (*before, dataclasses.replace(asked, images=images))
    template = chat_template(model, given["template"])
    return ChatPrompt(messages, context=given["context"], effort=effort, template=template)

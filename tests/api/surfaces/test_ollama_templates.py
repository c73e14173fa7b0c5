"""A request's own template, and the prompt shown instead of answered (sheet, sections 4.1 and 7.1)."""

from __future__ import annotations

from typing import Any

import pytest
from ollama_scene import ENDED, RECEIVED, TURN, chat, generate, loads, requested, surroundings, wise_chat, wise_generate
from tropilla.api.surface import JSON, Question, Surface
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.common.generation import (
    ChatPrompt,
    InfillPrompt,
    Message,
    PromptToken,
    TextPrompt,
    Tokenized,
    TokenizeRequest,
)

SOURCE = "PROMPT: {{ .Prompt }}"
HI = Message("user", "Hi")


def question(surface: Surface, body: JSON) -> Question:
    asked = surface.parse(body, surroundings())
    assert isinstance(asked, Question)
    return asked


def test_a_requests_template_takes_the_models_place() -> None:
    prompt = requested(GENERATE, generate(template=SOURCE, system="be", context=[1])).prompts[0]
    assert prompt == ChatPrompt((Message("system", "be"), HI), context=(1,), template=SOURCE)


def test_with_a_suffix_it_shows_both() -> None:
    source = "<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>"
    asked = requested(GENERATE, wise_generate(template=source, suffix="z"))
    assert asked.prompts == (InfillPrompt("Hi", "z", source),)


def test_a_load_does_not_look_at_the_template() -> None:
    _, reply = loads(GENERATE, {"model": "pocket", "template": "{{"})
    assert reply.body["done_reason"] == "load"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("surface", "body", "prompt"),
    [
        (GENERATE, generate(template=SOURCE), ChatPrompt((HI,), template=SOURCE)),
        (GENERATE, generate(raw=True), TextPrompt("Hi", special=True)),
        (GENERATE, wise_generate(suffix="z"), InfillPrompt("Hi", "z")),
        (CHAT, chat(), ChatPrompt((HI,))),
        (CHAT, wise_chat(think=False, messages=[TURN, TURN]), ChatPrompt((HI, HI), effort="off")),
    ],
)
def test_a_prompt_may_be_shown_instead_of_answered(surface: Surface, body: Any, prompt: Any, stream: bool) -> None:
    asked = question(surface, {**body, "_debug_render_only": True, "stream": stream})
    assert isinstance(asked.request, TokenizeRequest)
    assert (asked.request.model, asked.request.prompts) == (body["model"], (prompt,))
    assert asked.received == RECEIVED


@pytest.mark.parametrize(
    ("surface", "body", "shown"),
    [
        (GENERATE, generate(model="Pocket:latest"), {"response": ""}),
        (CHAT, chat(model="Pocket:latest"), {"message": {"role": "assistant", "content": ""}}),
    ],
)
def test_it_is_shown_in_one_object(surface: Surface, body: Any, shown: dict[str, JSON]) -> None:
    asked = question(surface, {**body, "_debug_render_only": True})
    assert surface.answer is not None
    reply = surface.answer(asked, (Tokenized(0, 0, (PromptToken(1, b"x"),), "PROMPT: Hi"),), ENDED)
    assert reply.status == 200
    assert reply.body == {
        "model": "Pocket:latest",
        "created_at": "2026-01-02T03:04:05.500000Z",
        **shown,
        "done": False,
        "_debug_info": {"rendered_template": "PROMPT: Hi"},
    }

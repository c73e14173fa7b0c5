"""Tokens in llama.cpp's words: /detokenize, /apply-template and input_tokens (/tokenize stands with TGI's)."""

from __future__ import annotations

from typing import Any

import pytest
from openai_events import HELLO, NOW, USER, surroundings
from tropilla.api.surface import Question
from tropilla.api.surfaces.openai import OPENAI
from tropilla.api.surfaces.openai.chat import parse as parse_chat
from tropilla.api.surfaces.openai.faults import fault
from tropilla.api.surfaces.openai.tokens import (
    answer_count,
    answer_detokenize,
    answer_template,
    parse_detokenize,
    parse_messages,
)
from tropilla.common.errors import TropillaError
from tropilla.common.generation import PromptToken, Tokenized, TokenizeRequest, TokenPrompt

TOLD = (Tokenized(0, 0, (PromptToken(0, b"<s>", special=True), PromptToken(5, b"Hi")), "<s>Hi", "w"),)
TOOL = {"type": "function", "function": {"name": "add"}}


def refused(parse: Any, body: Any) -> tuple[int, str | None, str | None]:
    try:
        parse(body, surroundings())
    except TropillaError as error:
        reply = fault(error)
        return reply.status, reply.body["error"]["param"], reply.body["error"]["code"]
    raise AssertionError(f"{body} was accepted")


def test_ids_are_asked_for_as_they_are_and_told_as_text() -> None:
    question = parse_detokenize({"tokens": [5, 7.0], "model": "pocket"}, surroundings())
    assert question.request == TokenizeRequest(question.request.id, "pocket", (TokenPrompt((5, 7)),))
    assert answer_detokenize(question, TOLD, NOW).body == {"content": "<s>Hi"}
    assert parse_detokenize({"tokens": []}, surroundings()).request.prompts == (TokenPrompt(()),)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "tokens", "missing_required_parameter"),
        ({"tokens": "5"}, "tokens", "invalid_type"),
        ({"tokens": ["5"]}, "tokens[0]", "invalid_type"),
        ({"tokens": [-1]}, "tokens[0]", "integer_below_min_value"),
        ({"tokens": [1, 1000]}, "tokens", "invalid_value"),
    ],
)
def test_ids_the_model_does_not_have_cost_no_ticket(body: Any, param: str, code: str) -> None:
    assert refused(parse_detokenize, body) == (400, param, code)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": [TOOL], "tool_choice": "required"},
        {"reasoning_effort": "high", "chat_template_kwargs": {"a": 1}},
        {"messages": [USER, {"role": "assistant", "content": "Ho"}]},
        {"prompt": "Hi", "messages": None},
        {"max_tokens": 5, "stream": True},
    ],
)
def test_a_chats_prompt_is_the_one_the_chat_would_have(more: dict[str, Any]) -> None:
    body = {**HELLO, **more}
    question = parse_messages(body, surroundings())
    assert isinstance(question, Question)
    assert question.request.prompts == parse_chat(body, surroundings()).request.prompts
    assert question.prompt_field == "messages"


def test_a_template_is_told_as_text_and_a_count_as_a_number() -> None:
    question = parse_messages(HELLO, surroundings())
    assert answer_template(question, TOLD, NOW).body == {"prompt": "<s>Hi"}
    assert answer_count(question, TOLD, NOW).body == {"object": "response.input_tokens", "input_tokens": 2}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ([], None, None),
        ({}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({**HELLO, "add_generation_prompt": True, "continue_final_message": True}, "continue_final_message", None),
    ],
)
def test_a_body_the_chat_would_refuse_is_refused_alike(body: Any, param: str | None, code: str | None) -> None:
    assert refused(parse_messages, body) == refused(parse_chat, body) == (400, param, code)


def test_every_path_is_claimed_so_that_its_errors_are_openais() -> None:
    paths = {route.path for route in OPENAI.routes}
    assert {"/embeddings", "/detokenize", "/apply-template", "/chat/completions/input_tokens"} <= paths
    unclaimed = [p for p in paths if not any(p == prefix or p.startswith(f"{prefix}/") for prefix in OPENAI.prefixes)]
    assert unclaimed == []

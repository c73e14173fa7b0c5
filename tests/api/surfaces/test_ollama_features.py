"""What bodies ask of able models: tools, thinking, formats, insertion (sheet, sections 5 and 7)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ollama_scene import POCKET, TURN, asked, chat, generate, requested, surroundings, wise_chat, wise_generate
from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.common.generation import ChatPrompt, Constraint, InfillPrompt, Message, TextPrompt, Tool, ToolCall

PARAMETERS = {"type": "object", "properties": {"z": {"type": "integer, string"}, "a": {}}, "required": ["z"]}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}
ADDS = Tool(
    "add",
    "Adds.",
    '{"type":"object","properties":{"z":{"type":"integer, string"},"a":{}},"required":["z"]}',
)

FORMATS: list[tuple[JSON, Constraint | None]] = [
    (None, None),
    ("", None),
    ("json", Constraint("json")),
    ({}, Constraint("schema", "{}")),
    (
        {"type": "object", "properties": {"z": {"type": "integer"}, "a": {"enum": ["é"]}}},
        Constraint("schema", '{"type":"object","properties":{"z":{"type":"integer"},"a":{"enum":["é"]}}}'),
    ),
]


@pytest.mark.parametrize(("form", "constraint"), FORMATS)
def test_a_format_becomes_a_constraint(form: JSON, constraint: Constraint | None) -> None:
    assert requested(CHAT, chat(format=form)).constraint == constraint
    assert requested(GENERATE, generate(format=form, raw=True)).constraint == constraint


def test_tools_reach_the_prompt_in_the_callers_order_and_calls_are_taken_out_of_the_text() -> None:
    small = {"function": {"NAME": "now", "description": None}}
    request = requested(CHAT, wise_chat(tools=[ADD, small], think=False, format="json"))
    (prompt,) = request.prompts
    assert prompt == ChatPrompt((Message("user", "Hi"),), tools=(ADDS, Tool("now")), effort="off")
    assert (request.parse_reply, request.constraint) == (True, Constraint("json"))


@pytest.mark.parametrize(
    ("think", "effort"),
    [
        (None, "on"),
        (True, "on"),
        (False, "off"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("max", "max"),
    ],
)
def test_a_thinking_model_thinks_unless_told_otherwise(think: JSON, effort: str) -> None:
    for call in (asked(CHAT, wise_chat(think=think)), asked(GENERATE, wise_generate(think=think))):
        (prompt,) = call.request.prompts
        assert isinstance(prompt, ChatPrompt)
        assert (prompt.effort, call.request.parse_reply) == (effort, True)
        assert call.answer.hides_thinking is (think is False)


@pytest.mark.parametrize("more", [{}, {"think": None}, {"think": False}])
def test_a_model_that_does_not_think_is_not_told_how_to(more: dict[str, Any]) -> None:
    request = requested(CHAT, chat(**more))
    assert request.prompts == (ChatPrompt((Message("user", "Hi"),)),)
    assert not request.parse_reply


def test_raw_prompts_of_a_thinking_model_have_their_thoughts_told_apart_too() -> None:
    request = requested(GENERATE, wise_generate(raw=True))
    assert request.prompts == (TextPrompt("Hi", special=True),)
    assert request.parse_reply


def test_a_suffix_asks_for_what_stands_between_and_nothing_else() -> None:
    body = wise_generate(prompt="def add(", suffix="    return c", system="ignored")
    request = requested(GENERATE, body)
    assert request.prompts == (InfillPrompt("def add(", "    return c"),)
    assert not request.parse_reply
    raw = requested(GENERATE, wise_generate(suffix="x", raw=True))
    assert raw.prompts == (TextPrompt("Hi", special=True),)


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {}}, **more}


def turn(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls)}


#: A history's messages from the assistant's on, and (name, tool_call_id) of the results of tools in it.
HISTORIES: list[tuple[list[dict[str, Any]], list[tuple[str, str]]]] = [
    # As the Python client sends it back: by order, and by name where that is all there is.
    ([turn(call("f"), call("g")), {"role": "tool"}, {"role": "tool"}], [("f", ""), ("g", "")]),
    (
        [turn(call("f", id="1"), call("g", id="2")), {"role": "tool", "tool_name": "g"}, {"role": "tool"}],
        [("g", "2"), ("f", "1")],
    ),
    ([turn(call("f", id="1"), call("f", id="2")), {"role": "tool", "tool_call_id": "2"}], [("f", "2")]),
    # What belongs to nothing stays as it is.
    ([turn(call("f", id="1")), {"role": "tool", "tool_name": "h"}], [("h", "")]),
    ([turn(call("f")), {"role": "tool"}, {"role": "tool"}], [("f", ""), ("", "")]),
    ([{"role": "tool", "tool_name": "f"}], [("f", "")]),
    # Only the last turn's calls wait.
    ([turn(call("f")), turn(call("g")), {"role": "TOOL"}], [("g", "")]),
]


@pytest.mark.parametrize(("messages", "results"), HISTORIES)
def test_results_of_tools_find_their_calls(messages: list[dict[str, Any]], results: list[tuple[str, str]]) -> None:
    (prompt,) = requested(CHAT, wise_chat(messages=[TURN, *messages])).prompts
    assert isinstance(prompt, ChatPrompt)
    found = [(message.name, message.tool_call_id) for message in prompt.messages if message.role == "tool"]
    assert found == results


def test_thoughts_and_calls_of_earlier_turns_are_kept() -> None:
    earlier = {"role": "assistant", "thinking": "Add.", "tool_calls": [call("add", id="1")]}
    (prompt,) = requested(CHAT, wise_chat(messages=[TURN, earlier, {"role": "tool", "content": "3"}])).prompts
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[1:] == (
        Message("assistant", "", tool_calls=(ToolCall("add", "{}", "1"),), reasoning="Add."),
        Message("tool", "3", name="add", tool_call_id="1"),
    )


#: An earlier turn's text, and what is left of it.
THOUGHT: list[tuple[str, str]] = [
    ("<think>Hm.</think>\n\nYes.", "Yes."),
    (" \n<think>a\nb</think> Yes. <think>c</think>", "Yes. <think>c</think>"),
    ("<think>cut off", ""),
    ("Text first. <think>Hm.</think> Yes.", "Text first. <think>Hm.</think> Yes."),
]


@pytest.mark.parametrize(("text", "left"), THOUGHT)
@pytest.mark.parametrize(
    ("name", "family", "forgets"),
    [("m", "qwen3", True), ("m", "qwen3moe", True), ("DeepSeek-R1:8b", "qwen2", True), ("m", "qwen2", False)],
)
def test_thoughts_in_the_texts_of_earlier_turns_are_left_out_for_models_trained_without_them(
    text: str, left: str, *, name: str, family: str, forgets: bool
) -> None:
    model = dataclasses.replace(POCKET, name=name, family=family)
    said = {"role": "assistant", "content": text}
    body = chat(model=name, messages=[TURN, said, TURN, said])
    (prompt,) = requested(CHAT, body, surroundings(model)).prompts
    assert isinstance(prompt, ChatPrompt)
    # The last turn's, which this answer goes on with, stay.
    assert [message.content for message in prompt.messages] == ["Hi", left if forgets else text, "Hi", text]

"""Tools and thinking: what is asked of the model, and how its calls and its reasoning are told."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai_events import HELLO, USER, Bit, answered, ask, called, chat, chunks, refusal, said, streamed, woven
from openai_strict import strict
from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.common.generation import ChatPrompt, Event, Tool

NO_PARAMETERS = '{"type": "object", "properties": {}, "additionalProperties": false}'
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ADD: dict[str, Any] = {"name": "add", "description": "Adds.", "parameters": PARAMETERS}
NOW_: dict[str, Any] = {"name": "now"}
TOOLS = [{"type": "function", "function": ADD}, {"type": "function", "function": NOW_}]
OF_ADD, OF_NOW = Tool("add", "Adds.", json.dumps(PARAMETERS)), Tool("now", "", NO_PARAMETERS)


def prompt(**fields: Any) -> ChatPrompt:
    (only,) = chat(**fields).request.prompts
    assert isinstance(only, ChatPrompt)
    return only


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


# ---- asking


def test_every_chat_takes_its_reply_apart() -> None:
    assert chat().request.parse_reply


def test_tools_are_told_as_json_text() -> None:
    assert prompt(tools=TOOLS).tools == (OF_ADD, OF_NOW)


@pytest.mark.parametrize(
    "function", [{"name": "now"}, {"name": "now", "parameters": None}, {"name": "now", "parameters": {}}]
)
def test_a_function_without_parameters_takes_none(function: dict[str, Any]) -> None:
    assert prompt(tools=[{"type": "function", "function": function}]).tools == (OF_NOW,)


def test_tgis_arguments_are_parameters() -> None:
    tool = {"function": {"name": "add", "description": "Adds.", "arguments": PARAMETERS}}
    assert prompt(tools=[tool]).tools == (OF_ADD,)


#: tool_choice -> (choice, name, tools shown)
CHOICES: list[tuple[Any, tuple[str, str, int]]] = [
    (None, ("auto", "", 2)),
    ("auto", ("auto", "", 2)),
    ("none", ("none", "", 2)),
    ("required", ("required", "", 2)),
    ("now", ("required", "now", 2)),
    ({"type": "function", "function": {"name": "now"}}, ("required", "now", 2)),
    ({"function": {"name": "now"}}, ("required", "now", 2)),
    ({"type": "function", "name": "now"}, ("required", "now", 2)),
    (allowed("auto", "now"), ("auto", "", 1)),
    (allowed("required", "now"), ("required", "now", 2)),
    (allowed("required", "now", "add"), ("required", "", 2)),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_a_tool_choice_is_one_of_three_and_a_name(choice: Any, expected: tuple[str, str, int]) -> None:
    asked = prompt(tools=TOOLS, tool_choice=choice)
    assert (asked.tool_choice, asked.named_tool, len(asked.tools)) == expected


@pytest.mark.parametrize("parallel", [True, False])
def test_calls_may_be_several_unless_told_otherwise(parallel: bool) -> None:
    assert prompt(tools=TOOLS, parallel_tool_calls=parallel).parallel_calls is parallel
    assert prompt(tools=TOOLS).parallel_calls


@pytest.mark.parametrize(
    ("choice", "expected"), [(None, ("auto", "")), ("none", ("none", "")), ({"name": "now"}, ("required", "now"))]
)
def test_functions_are_tools_of_which_one_is_called(choice: Any, expected: tuple[str, str]) -> None:
    asked = prompt(functions=[ADD, NOW_], function_call=choice)
    assert (asked.tools, asked.parallel_calls) == ((OF_ADD, OF_NOW), False)
    assert (asked.tool_choice, asked.named_tool) == expected


def test_tools_win_over_functions() -> None:
    call = chat(tools=TOOLS[1:], functions=[ADD])
    assert isinstance(call.request.prompts[0], ChatPrompt)
    assert call.request.prompts[0].tools == (OF_NOW,)
    assert not call.answer.function_call


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_no_tools_need_no_choice(choice: str | None) -> None:
    assert prompt(tools=[], tool_choice=choice) == prompt()


def test_tgis_tool_prompt_ends_the_last_message_where_there_are_tools() -> None:
    assert prompt(tools=TOOLS, tool_prompt="Use them.").messages[-1].content == "Hi\n---\nUse them."
    assert prompt(tool_prompt="Use them.").messages[-1].content == "Hi"


#: (fields, param, code)
REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": [5]}, "tools[0]", "invalid_type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"tools": [{"type": "custom", "function": NOW_}]}, "tools[0].type", "invalid_value"),
    ({"tools": [{"function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
    ({"tools": [{"function": {"name": "get time"}}]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [{"function": {"name": "x" * 65}}]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [{"function": {"name": "x", "parameters": "{}"}}]}, "tools[0].function.parameters", "invalid_type"),
    ({"tools": TOOLS * 65}, "tools", "array_above_max_length"),
    ({"tools": TOOLS, "tool_choice": {}}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": 5}, "tool_choice", "invalid_type"),
    ({"tools": TOOLS, "tool_choice": "bogus"}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {}}}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "add"}}}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": allowed("auto", "x")}, "tool_choice", "invalid_value"),
    ({"tools": TOOLS, "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools", "invalid_type"),
    ({"tools": TOOLS, "tool_choice": allowed("none", "add")}, "tool_choice.allowed_tools.mode", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tool_choice": "bogus"}, "tool_choice", None),
    ({"tool_choice": {}}, "tool_choice", "invalid_value"),
    ({"tool_choice": {"type": "function", "function": {"name": "add"}}, "tools": []}, "tool_choice", None),
    ({"functions": [{}]}, "functions[0].name", "missing_required_parameter"),
    ({"function_call": {"name": "add"}}, "function_call", None),
    ({"functions": [ADD], "function_call": {"name": "x"}}, "function_call", "invalid_value"),
    ({"parallel_tool_calls": "no", "tools": TOOLS}, "parallel_tool_calls", "invalid_type"),
    (
        {"tools": [TOOLS[0], {"function": {"name": "x", "parameters": {"type": 5}}}], "tool_choice": "required"},
        "tools[1].function.parameters",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED)
def test_bad_tools_are_refused_by_name(fields: dict[str, Any], param: str, code: str | None) -> None:
    reply = refusal(CHAT, {**HELLO, **fields})
    assert reply.status == 400
    assert (reply.body["error"]["param"], reply.body["error"]["code"]) == (param, code)


# ---- calls in answers

#: One call behind text, then another; the mark of the second comes in one token with the end of the first.
CALLS = [
    Bit("Let", "Let"),
    Bit(" me. <tool", " me."),
    Bit('_call>{"name": "add", "arg', calls=called(0, "add")),
    Bit('uments": {"a"', calls=called(0, "", '{"a"')),
    Bit(": 1}}</tool_call><tool", calls=called(0, "", ": 1}")),
    Bit('_call>{"name": "now", "arguments": {}}', calls=called(1, "now", "{}")),
]


def chat_chunks(call: Call, events: list[Event]) -> list[dict[str, Any]]:
    told = list(chunks(streamed(CHAT, call, events)))
    for chunk in told:
        strict(ChatCompletionChunk, chunk)
    return told


def deltas(call: Call, events: list[Event], choice: int = 0) -> list[Any]:
    told = [c for chunk in chat_chunks(call, events) for c in chunk["choices"] if c["index"] == choice]
    return [c["finish_reason"] or c["delta"] for c in told]


def test_a_whole_answer_has_its_calls() -> None:
    body = answered(CHAT, chat(tools=TOOLS), said(0, CALLS)).body
    (choice,) = strict(ChatCompletion, body).choices
    assert (choice.message.content, choice.finish_reason) == ("Let me.", "tool_calls")
    told = [(c.type, c.function.name, c.function.arguments) for c in choice.message.tool_calls or [] if c.type]
    assert told == [("function", "add", '{"a": 1}'), ("function", "now", "{}")]


def test_ids_are_told_once_the_same_at_every_telling_and_different_everywhere_else() -> None:
    call = chat(tools=TOOLS, n=2)
    events = woven(said(0, CALLS), said(1, CALLS))
    whole = [c for m in answered(CHAT, call, events).body["choices"] for c in m["message"]["tool_calls"]]
    told = [each for choice in range(2) for each in deltas(call, events, choice) if isinstance(each, dict)]
    pieces = [piece for each in told for piece in each.get("tool_calls", ())]
    ids = [one["id"] for one in whole]
    assert [piece["id"] for piece in pieces if "id" in piece] == ids
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"call_[0-9a-z]{24}", one) for one in ids)


def test_content_is_null_beside_calls_without_text() -> None:
    message = answered(CHAT, chat(tools=TOOLS), said(0, CALLS[2:])).body["choices"][0]["message"]
    assert message["content"] is None


def test_streamed_calls_name_themselves_once() -> None:
    call = chat(tools=TOOLS, stream=True)
    whole = answered(CHAT, call, said(0, CALLS)).body["choices"][0]["message"]["tool_calls"]
    first, second = (each["id"] for each in whole)
    assert deltas(call, said(0, CALLS)) == [
        {"role": "assistant", "content": ""},
        {"content": "Let"},
        {"content": " me."},
        {"tool_calls": [{"index": 0, "id": first, "type": "function", "function": {"name": "add", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "id": second, "type": "function", "function": {"name": "now", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        "tool_calls",
    ]


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_choices_that_call_and_choices_that_do_not_are_told_apart(order: tuple[int, ...]) -> None:
    told = {0: said(0, CALLS), 1: said(1, ["No."]), 2: said(2, CALLS[:4], "length")}
    call = chat(tools=TOOLS, n=3, stream=True)
    events = woven(*(told[choice] for choice in order))
    assert [deltas(call, events, choice)[-1] for choice in range(3)] == ["tool_calls", "stop", "length"]
    bodies = answered(CHAT, call, events).body["choices"]
    assert [choice["finish_reason"] for choice in bodies] == ["tool_calls", "stop", "length"]
    assert [len(choice["message"].get("tool_calls", ())) for choice in bodies] == [2, 0, 0]


def test_an_answer_cut_inside_a_call_keeps_the_calls_before() -> None:
    cut = [*CALLS[:5], Bit("_call>", calls=called(1, "add", '{"a'))]
    choice = answered(CHAT, chat(tools=TOOLS), said(0, cut, "length")).body["choices"][0]
    assert choice["finish_reason"] == "length"
    assert [each["function"]["name"] for each in choice["message"]["tool_calls"]] == ["add"]


def test_a_cut_first_call_leaves_no_calls_and_empty_content() -> None:
    choice = answered(CHAT, chat(tools=TOOLS), said(0, [Bit("<tool_call>")], "length")).body["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "", "refusal": None}
    assert choice["finish_reason"] == "length"


def test_who_asked_with_functions_is_answered_with_a_function_call() -> None:
    call = chat(functions=[ADD], stream=True)
    choice = answered(CHAT, call, said(0, CALLS[2:5])).body["choices"][0]
    assert choice["message"]["function_call"] == {"name": "add", "arguments": '{"a": 1}'}
    assert choice["message"]["content"] is None
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("function_call", False)
    assert deltas(call, said(0, CALLS[2:5]))[1:] == [
        {"function_call": {"name": "add", "arguments": ""}},
        {"function_call": {"arguments": '{"a"'}},
        {"function_call": {"arguments": ": 1}"}},
        "function_call",
    ]


# ---- thinking


#: (fields, effort, variables)
EFFORTS: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, "{}"),
    ({"reasoning_effort": "none"}, "off", "{}"),
    ({"reasoning_effort": "minimal"}, "minimal", "{}"),
    ({"reasoning_effort": "high"}, "high", "{}"),
    ({"reasoning_effort": "xhigh"}, "max", "{}"),
    ({"enable_thinking": False}, "off", "{}"),
    ({"enable_thinking": True}, "on", "{}"),
    ({"reasoning": {"effort": "low"}}, "low", "{}"),
    ({"reasoning": {"enabled": False}}, "off", "{}"),
    ({"chat_template_kwargs": {"enable_thinking": False}}, "off", '{"enable_thinking": false}'),
    ({"chat_template_kwargs": {"thinking": True, "x": [1]}}, "on", '{"thinking": true, "x": [1]}'),
    ({"chat_template_kwargs": {"reasoning_effort": "low"}}, "low", '{"reasoning_effort": "low"}'),
    ({"reasoning_effort": "low", "enable_thinking": False}, "low", "{}"),
    ({"chat_template_kwargs": {"enable_thinking": "maybe"}}, None, '{"enable_thinking": "maybe"}'),
]


@pytest.mark.parametrize(("fields", "effort", "variables"), EFFORTS)
def test_an_effort_has_many_names(fields: dict[str, Any], effort: str | None, variables: str) -> None:
    asked = prompt(**fields)
    assert (asked.effort, asked.variables) == (effort, variables)


THOUGHT = [
    Bit("<think>\n"),
    Bit("Hm", reasoning="Hm"),
    Bit(" he</th", reasoning=" he"),
    Bit("ink>\n\n"),
    Bit("Hm", "Hm"),
    Bit(" he.", " he."),
]


def test_reasoning_comes_before_content_in_chunks_of_its_own() -> None:
    assert deltas(chat(stream=True), said(0, THOUGHT)) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"reasoning_content": " he"},
        {"content": "Hm"},
        {"content": " he."},
        "stop",
    ]


def test_a_token_that_ends_a_thought_and_begins_the_answer_makes_two_chunks() -> None:
    both = Bit("m</think>A<tool_call>now", "A", reasoning="m", calls=called(0, "now"))
    assert [next(iter(each)) for each in deltas(chat(stream=True), said(0, [both]))[1:-1]] == [
        "reasoning_content",
        "content",
        "tool_calls",
    ]


def test_a_whole_answer_tells_what_was_thought_and_what_it_cost() -> None:
    body = answered(CHAT, chat(), said(0, THOUGHT, reasoning=4)).body
    message = body["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm he", "Hm he.")
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    strict(ChatCompletion, body)


def test_reasoning_tokens_of_all_choices_are_told_at_the_end_of_a_stream() -> None:
    call = chat(n=2, stream=True, stream_options={"include_usage": True})
    told = chat_chunks(call, woven(said(0, THOUGHT, reasoning=4), said(1, THOUGHT, reasoning=3)))
    assert told[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 7}


#: Replies of marks, thoughts and calls, and the tokens of their content.
CONTENTS: list[tuple[list[Any], list[str]]] = [
    (THOUGHT, ["Hm", " he."]),
    (CALLS, ["Let", " me. <tool"]),
    (CALLS[2:], []),
    ([*THOUGHT, *CALLS], ["Hm", " he.", "Let", " me. <tool"]),
    # Held back, for it could have become a call.
    ([Bit("<"), Bit("to"), Bit("e>", "<toe>"), Bit("!", "!")], ["<", "to", "e>", "!"]),
    ([*THOUGHT[:4], Bit("<"), Bit("b", "<b")], ["<", "b"]),
    ([*CALLS[2:], Bit("\n\n"), Bit("Done", "Done")], ["Done"]),
    # A cut newline and the first byte of a character in one token.
    ([*THOUGHT[:3], Bit(b"ink>\n\n\xc3"), Bit(b"\xa9", "\xe9")], ["ink>\n\n\ufffd", "\ufffd"]),
    ([Bit("  "), Bit("Hi", "Hi"), Bit("\n\n<tool"), Bit("_call>", calls=called(0, "now"))], ["Hi"]),
]


@pytest.mark.parametrize(("reply", "expected"), CONTENTS)
def test_log_probabilities_are_those_of_the_contents_tokens(reply: list[Any], expected: list[str]) -> None:
    fields: dict[str, Any] = {"logprobs": True, "tools": TOOLS}
    whole = answered(CHAT, chat(**fields), said(0, reply)).body["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in whole] == expected
    told = [c["choices"][0] for c in chat_chunks(chat(stream=True, **fields), said(0, reply))]
    assert [entry for c in told if c["logprobs"] for entry in c["logprobs"]["content"]] == whole
    assert all(c["logprobs"] is None for c in told if not c["delta"].get("content"))


# ---- the last message


SPOKEN = {"role": "assistant", "content": "The"}


@pytest.mark.parametrize(
    ("fields", "continued"),
    [
        ({}, True),
        ({"continue_final_message": True}, True),
        ({"continue_final_message": True, "add_generation_prompt": False}, True),
        ({"add_generation_prompt": False}, True),
        ({"continue_final_message": False}, False),
        ({"add_generation_prompt": True}, False),
        ({"add_generation_prompt": True, "continue_final_message": False}, False),
    ],
)
def test_a_last_assistant_message_is_continued_unless_a_turn_is_asked_for(
    fields: dict[str, Any], continued: bool
) -> None:
    (asked,) = ask(CHAT, {"messages": [USER, SPOKEN], **fields}).request.prompts
    assert isinstance(asked, ChatPrompt)
    assert asked.continue_last is continued


def test_an_echo_begins_the_content_with_the_message_that_is_continued() -> None:
    call = ask(CHAT, {"messages": [USER, SPOKEN], "echo": True, "stream": True})
    assert answered(CHAT, call, said(0, [" end"])).body["choices"][0]["message"]["content"] == "The end"
    assert deltas(call, said(0, [" end"]))[:3] == [
        {"role": "assistant", "content": ""},
        {"content": "The"},
        {"content": " end"},
    ]


def test_an_echo_of_a_message_that_is_not_continued_says_nothing() -> None:
    assert answered(CHAT, chat(echo=True), said(0, ["Ho"])).body["choices"][0]["message"]["content"] == "Ho"

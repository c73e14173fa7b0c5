"""Bodies of /v1/responses: what they ask of a model, and which are refused."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from openai_events import NOW, ask, refusal, surroundings
from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.responses import RESPONSES, count, parse_count
from tropilla.common.generation import (
    ChatPrompt,
    Constraint,
    Fit,
    Message,
    PromptToken,
    Tokenized,
    TokenizeRequest,
    Tool,
    ToolCall,
)

PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ADD: dict[str, Any] = {"type": "function", "name": "add", "description": "Adds.", "parameters": PARAMETERS}
NOW_: dict[str, Any] = {"type": "function", "name": "now", "strict": True}
SEARCH: dict[str, Any] = {"type": "web_search", "search_context_size": "low"}
OF_ADD = Tool("add", "Adds.", json.dumps(PARAMETERS))
CALLED: dict[str, Any] = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
RETURNED: dict[str, Any] = {"type": "function_call_output", "call_id": "c1", "output": "2"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
#: JSON that is read, but is too deep to be written.
DEEP: dict[str, Any] = functools.reduce(lambda inner, _: {"properties": {"a": inner}}, range(126), {})
FORMAT: dict[str, Any] = {"type": "json_schema", "name": "n", "schema": SCHEMA}


def response(**fields: Any) -> Call:
    return ask(RESPONSES, {"input": "Hi", **fields})


def prompt(**fields: Any) -> ChatPrompt:
    (only,) = response(**fields).request.prompts
    assert isinstance(only, ChatPrompt)
    return only


def user(text: str) -> Message:
    return Message("user", text)


def spoken(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


#: input -> messages
INPUTS: list[tuple[Any, list[Message]]] = [
    ("Hi", [user("Hi")]),
    ([{"role": "user", "content": "Hi"}], [user("Hi")]),
    ([{"type": "message", "role": "user", "content": "Hi", "status": None}], [user("Hi")]),
    (
        [{"role": "developer", "content": "Be."}, {"role": "user", "content": "Hi"}],
        [Message("system", "Be."), user("Hi")],
    ),
    ([{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}], [Message("system", "Be."), user("Hi")]),
    ([spoken({"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"})], [user("a\nb")]),
    ([spoken({"type": "text", "text": "a"})], [user("a")]),
    (
        [spoken({"type": "output_text", "text": "a", "annotations": [], "logprobs": []}, role="assistant")],
        [Message("assistant", "a")],
    ),
    ([spoken({"type": "refusal", "refusal": "no"}, role="assistant")], [Message("assistant", "no")]),
    # One turn of the model is several items.
    (
        [
            {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"type": "message", "id": "m", "role": "assistant", "content": "Well"},
            {**CALLED, "id": "fc", "status": "completed"},
            {**CALLED, "call_id": "c2"},
            RETURNED,
            {**RETURNED, "call_id": "c2", "output": [{"type": "input_text", "text": "3"}]},
        ],
        [
            Message(
                "assistant",
                "Well",
                reasoning="Hm.",
                tool_calls=(ToolCall("add", '{"a": 1}', "c1"), ToolCall("add", '{"a": 1}', "c2")),
            ),
            Message("tool", "2", tool_call_id="c1"),
            Message("tool", "3", tool_call_id="c2"),
        ],
    ),
    # Speaking after a call, twice, or thinking after either begins another.
    (
        [CALLED, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, CALLED],
        [
            Message("assistant", "", tool_calls=(ToolCall("add", '{"a": 1}', "c1"),)),
            Message("assistant", "a"),
            Message("assistant", "b", tool_calls=(ToolCall("add", '{"a": 1}', "c1"),)),
        ],
    ),
    (
        [
            {"role": "assistant", "content": "a"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"role": "assistant", "content": "b"},
        ],
        [Message("assistant", "a"), Message("assistant", "b", reasoning="Hm.")],
    ),
    # Nothing in it that anybody could read.
    (
        [
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "x"},
            {"role": "user", "content": "a"},
        ],
        [user("a")],
    ),
    # An empty message is one all the same.
    ([{"role": "assistant", "content": ""}, {"role": "user", "content": "a"}], [Message("assistant", ""), user("a")]),
    ([{**CALLED, "arguments": {"a": 1}}], [Message("assistant", "", tool_calls=(ToolCall("add", '{"a": 1}', "c1"),))]),
]


@pytest.mark.parametrize(("given", "expected"), INPUTS)
def test_every_form_of_input_becomes_messages(given: Any, expected: list[Message]) -> None:
    assert list(prompt(input=given).messages) == expected


def test_instructions_come_first() -> None:
    assert prompt(instructions="Be.").messages == (Message("system", "Be."), user("Hi"))
    assert prompt(instructions="").messages == (user("Hi"),)


def test_functions_are_tools_and_others_are_skipped_aloud() -> None:
    call = response(tools=[SEARCH, ADD, {"type": "custom", "name": "x"}, NOW_])
    (asked,) = call.request.prompts
    assert isinstance(asked, ChatPrompt)
    assert [tool.name for tool in asked.tools] == ["add", "now"]
    assert asked.tools[0] == OF_ADD
    assert [tool["name"] for tool in call.answer.repeated["tools"]] == ["add", "now"]
    warning = RESPONSES.stream_headers(call)["Warning"]
    assert "tools[0], tools[2]" in warning
    assert "Warning" not in RESPONSES.stream_headers(response(tools=[ADD]))


def among(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


#: tool_choice -> (choice, name, tools shown), how it is repeated
CHOICES: list[tuple[Any, tuple[str, str, int], Any]] = [
    (None, ("auto", "", 2), "auto"),
    ("auto", ("auto", "", 2), "auto"),
    ("none", ("none", "", 2), "none"),
    ("required", ("required", "", 2), "required"),
    ({"type": "function", "name": "now"}, ("required", "now", 2), {"type": "function", "name": "now"}),
    (
        {"type": "function", "function": {"name": "now"}},
        ("required", "now", 2),
        {"type": "function", "name": "now"},
    ),
    (among("auto", "now"), ("auto", "", 1), among("auto", "now")),
    (among("required", "now"), ("required", "now", 2), among("required", "now")),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "now"}]}},
        ("auto", "", 1),
        among("auto", "now"),
    ),
]


@pytest.mark.parametrize(("choice", "expected", "repeated"), CHOICES)
def test_a_tool_choice_is_one_of_three_and_a_name(choice: Any, expected: tuple[str, str, int], repeated: Any) -> None:
    call = response(tools=[ADD, NOW_], tool_choice=choice)
    (asked,) = call.request.prompts
    assert isinstance(asked, ChatPrompt)
    assert (asked.tool_choice, asked.named_tool, len(asked.tools)) == expected
    assert call.answer.repeated["tool_choice"] == repeated


def test_calls_may_be_several_unless_told_otherwise() -> None:
    assert prompt(tools=[ADD]).parallel_calls
    assert not prompt(tools=[ADD], parallel_tool_calls=False).parallel_calls


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint("json")),
        (FORMAT, Constraint("schema", json.dumps(SCHEMA))),
        ({**FORMAT, "strict": True, "description": "d"}, Constraint("schema", json.dumps(SCHEMA))),
    ],
)
def test_a_text_format_binds_the_text(form: Any, expected: Constraint | None) -> None:
    call = response(text={"format": form, "verbosity": "low"})
    assert call.request.constraint == expected
    assert call.answer.repeated["text"] == {"format": form or {"type": "text"}}


def test_a_call_that_must_come_has_its_own_form() -> None:
    call = response(text={"format": FORMAT}, tools=[ADD], tool_choice="required")
    assert call.request.constraint is None


def test_other_servers_constraints_are_understood() -> None:
    assert response(guided_regex="a+").request.constraint == Constraint("regex", "a+")


def test_how_much_and_how_is_asked_as_chats_ask_it() -> None:
    call = response(
        max_output_tokens=7, temperature=0, top_p=0.5, seed=9, stop="x", top_k=3, frequency_penalty=1, stream=True
    )
    request, sampling = call.request, call.request.sampling
    assert (request.max_tokens, request.stop, request.n, request.parse_reply) == (7, ("x",), 1, True)
    assert (sampling.temperature, sampling.top_p, sampling.seed, sampling.top_k) == (0, 0.5, 9, 3)
    assert (call.stream, call.received, call.prompt_field) == (True, NOW, "input")


def test_no_limit_is_the_servers() -> None:
    assert ask(RESPONSES, {"input": "Hi"}, surroundings(default_max_tokens=77)).request.max_tokens == 77


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning": {"effort": "none"}}, "off"),
        ({"reasoning": {"effort": "xhigh", "summary": "auto"}}, "max"),
        ({}, None),
    ],
)
def test_an_effort_is_heard(fields: dict[str, Any], expected: str | None) -> None:
    assert prompt(**fields).effort == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"top_logprobs": 0}, None),
        ({"top_logprobs": 3}, 3),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, 2),
        ({"include": ["reasoning.encrypted_content"]}, None),
    ],
)
def test_logprobs_are_for_those_who_ask(fields: dict[str, Any], expected: int | None) -> None:
    assert response(**fields).request.logprobs == expected


def test_a_long_conversation_is_shortened_where_that_is_wanted() -> None:
    assert response().request.fit == Fit()
    assert response(truncation="auto").request.fit == Fit(overlong="drop")


#: Sent by real clients, and changes no answer.
HARMLESS: dict[str, Any] = {
    "store": True,
    "user": "me",
    "safety_identifier": "me",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "background": True,
    "context_management": [],
    "max_tool_calls": 3,
    "stream_options": {"include_obfuscation": True},
    "previous_response_id": None,
    "client_metadata": {"x": "y"},
    "whatever": 1,
}


def test_what_changes_no_answer_is_passed_over() -> None:
    assert prompt(**HARMLESS) == prompt()


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": []}, "input", "empty_array"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input", "empty_array"),
        ({"input": ["Hi"]}, "input[0]", "invalid_type"),
        ({"input": [{}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"type": 5}]}, "input[0].type", "invalid_type"),
        ({"input": [{"type": "item_reference", "id": "m"}]}, "input[0].type", "invalid_value"),
        ({"input": [{"type": "tune"}]}, "input[0].type", "invalid_value"),
        ({"input": [{"type": "message", "content": "a"}]}, "input[0].role", "missing_required_parameter"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": 5, "content": "a"}]}, "input[0].role", "invalid_type"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
        ({"input": [spoken(5)]}, "input[0].content[0]", "invalid_type"),
        ({"input": [spoken({})]}, "input[0].content[0].type", "invalid_type"),
        ({"input": [spoken({"type": "tune"})]}, "input[0].content[0].type", "invalid_value"),
        ({"input": [spoken({"type": "input_text"})]}, "input[0].content[0].text", "invalid_type"),
        (
            {"input": [spoken({"type": "input_image"})]},
            "input[0].content[0].image_url",
            "missing_required_parameter",
        ),
        (
            {"input": [spoken({"type": "input_image", "image_url": {}})]},
            "input[0].content[0].image_url",
            "invalid_type",
        ),
        (
            {"input": [spoken({"type": "input_image", "file_id": "file-1"})]},
            "input[0].content[0].file_id",
            "unsupported_value",
        ),
        (
            {"input": [spoken({"type": "input_image", "image_url": "data:image/png;base64,!"})]},
            "input[0].content[0].image_url",
            "invalid_value",
        ),
        (
            {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": "https://a"}]}]},
            "input[0].content",
            "invalid_value",
        ),
        ({"input": [spoken({"type": "input_file"})]}, "input[0].content[0]", "unsupported_value"),
        ({"input": [{**CALLED, "call_id": None}]}, "input[0].call_id", "missing_required_parameter"),
        ({"input": [{**CALLED, "name": None}]}, "input[0].name", "missing_required_parameter"),
        ({"input": [{**CALLED, "arguments": 5}]}, "input[0].arguments", "invalid_type"),
        ({"input": [CALLED, {**RETURNED, "output": None}]}, "input[1].output", "missing_required_parameter"),
        ({"input": [CALLED, {**RETURNED, "call_id": 5}]}, "input[1].call_id", "invalid_type"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary", "invalid_type"),
        ({"instructions": 5}, "instructions", "invalid_type"),
        ({"max_output_tokens": -1}, "max_output_tokens", "integer_below_min_value"),
        ({"max_output_tokens": 1e300}, "max_output_tokens", "integer_above_max_value"),
        ({"max_output_tokens": "5"}, "max_output_tokens", "invalid_type"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.5}, "top_p", "decimal_below_min_value"),
        ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"include": ["everything"]}, "include[0]", "invalid_value"),
        ({"include": "all"}, "include", "invalid_type"),
        ({"truncation": "some"}, "truncation", "invalid_value"),
        ({"metadata": []}, "metadata", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [5]}, "tools[0]", "invalid_type"),
        ({"tools": [{"name": "x"}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", "invalid_value"),
        ({"tools": [{**ADD, "parameters": []}]}, "tools[0].parameters", "invalid_type"),
        ({"tools": [{**ADD, "strict": 1}]}, "tools[0].strict", "invalid_type"),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tools": [SEARCH], "tool_choice": "required"}, "tool_choice", None),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "invalid_value"),
        ({"tools": [ADD], "tool_choice": {"type": "web_search"}}, "tool_choice", "invalid_value"),
        ({"tools": [ADD], "tool_choice": among("some", "add")}, "tool_choice.mode", "invalid_value"),
        ({"tools": [ADD], "tool_choice": among("auto")}, "tool_choice.tools", "invalid_type"),
        (
            {"tools": [SEARCH, {**ADD, "parameters": {"type": "hiccup"}}], "tool_choice": "required"},
            "tools[1].parameters",
            "invalid_value",
        ),
        ({"text": []}, "text", "invalid_type"),
        ({"text": {"format": "json"}}, "text.format", "invalid_type"),
        ({"text": {"format": {}}}, "text.format.type", "missing_required_parameter"),
        ({"text": {"format": {"type": 5}}}, "text.format.type", "invalid_type"),
        ({"text": {"format": {"type": "regex"}}}, "text.format.type", "invalid_value"),
        ({"text": {"format": {**FORMAT, "name": None}}}, "text.format.name", "missing_required_parameter"),
        ({"text": {"format": {**FORMAT, "schema": None}}}, "text.format.schema", "missing_required_parameter"),
        ({"text": {"format": {**FORMAT, "schema": 5}}}, "text.format.schema", "invalid_type"),
        ({"text": {"format": {**FORMAT, "schema": {"type": "hiccup"}}}}, "text.format", "invalid_value"),
        ({"text": {"format": {**FORMAT, "schema": DEEP}}}, "text.format.schema", "invalid_value"),
        ({"tools": [{**ADD, "parameters": DEEP}]}, "tools[0].parameters", "invalid_value"),
        ({"text": {"format": FORMAT}, "grammar": 'root ::= "a"'}, "text.format", None),
        ({"model": "gpt-9"}, "model", "model_not_found"),
        ({"logit_bias": {"1000": 1}}, "logit_bias", "invalid_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"n_predict": 5}, "n_predict", "unsupported_parameter"),
        ({"max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        ({"max_completion_tokens": 5}, "max_completion_tokens", "unsupported_parameter"),
        ({"response_format": {"type": "text"}}, "response_format", "unsupported_parameter"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str, code: str | None) -> None:
    base = {} if "input" in body or not body else {"input": "Hi"}
    reply = refusal(RESPONSES, {**base, **body})
    error = reply.body["error"]
    assert (reply.status, error["param"], error["code"]) == (404 if code == "model_not_found" else 400, param, code)
    assert param.split(".")[0].split("[")[0] in error["message"]


@pytest.mark.parametrize("body", [[], "Hi", 5, None])
def test_a_body_is_an_object(body: Any) -> None:
    assert refusal(RESPONSES, body).status == 400


def test_a_moved_parameter_says_where_to() -> None:
    assert "'max_output_tokens'" in refusal(RESPONSES, {"input": "Hi", "max_tokens": 5}).body["error"]["message"]


def test_counting_asks_for_the_tokens_of_the_same_prompt() -> None:
    body = {"input": "Hi", "instructions": "Be.", "tools": [ADD]}
    question = parse_count(body, surroundings())
    assert isinstance(question.request, TokenizeRequest)
    assert question.request.prompts == ask(RESPONSES, body).request.prompts
    tokenized = Tokenized(0, 0, tuple(PromptToken(number, b"x") for number in range(5)), "xxxxx")
    reply = count(question, (tokenized,), NOW)
    assert reply.body == {"object": "response.input_tokens", "input_tokens": 5}

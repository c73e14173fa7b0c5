"""Bodies of /v1/messages: what they ask of a model, and which are refused, in Anthropic's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_events import NOW, ask, surroundings
from tropilla.api.surface import Call, Reply
from tropilla.api.surfaces.anthropic import ANTHROPIC, MESSAGES
from tropilla.api.surfaces.anthropic.parse import count, parse_count
from tropilla.common import errors
from tropilla.common.errors import TropillaError
from tropilla.common.generation import (
    ChatPrompt,
    Constraint,
    Message,
    PromptToken,
    Tokenized,
    TokenizeRequest,
    Tool,
    ToolCall,
)

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
BASE: dict[str, Any] = {"model": "pocket", "max_tokens": 20, "messages": [USER]}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ADD: dict[str, Any] = {"name": "add", "description": "Adds.", "input_schema": SCHEMA}
NOW_: dict[str, Any] = {"name": "now", "input_schema": {"type": "object"}, "type": "custom"}
USED: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "t1", "content": "2"}
TEXT: dict[str, Any] = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": None}
THOUGHT: dict[str, Any] = {"type": "thinking", "thinking": "Hm.", "signature": ""}
FORM: dict[str, Any] = {"type": "json_schema", "schema": SCHEMA}


def message(**fields: Any) -> Call:
    return ask(MESSAGES, {**BASE, **fields})


def prompt(**fields: Any) -> ChatPrompt:
    (only,) = message(**fields).request.prompts
    assert isinstance(only, ChatPrompt)
    return only


def refusal(body: Any, *, counting: bool = False) -> Reply:
    try:
        (parse_count if counting else MESSAGES.parse)(body, surroundings())
    except TropillaError as error:
        return ANTHROPIC.fault(error)
    raise AssertionError(f"{body} was accepted")


def by(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def tool(text: str, name: str = "t1") -> Message:
    return Message("tool", text, tool_call_id=name)


#: messages -> messages
HISTORIES: list[tuple[list[Any], list[Message]]] = [
    ([USER], [Message("user", "Hi")]),
    ([by("user", TEXT, {**TEXT, "text": "b"})], [Message("user", "a\nb")]),
    ([USER, {"role": "assistant", "content": "Ho"}], [Message("user", "Hi"), Message("assistant", "Ho")]),
    ([USER, by("assistant")], [Message("user", "Hi"), Message("assistant", "")]),
    ([{"role": "system", "content": "Be."}, USER], [Message("system", "Be."), Message("user", "Hi")]),
    (
        [by("assistant", THOUGHT, {"type": "redacted_thinking", "data": "x"}, TEXT, USED, {**USED, "id": "t2"})],
        [
            Message(
                "assistant",
                "a",
                reasoning="Hm.",
                tool_calls=(ToolCall("add", '{"a": 1}', "t1"), ToolCall("add", '{"a": 1}', "t2")),
            )
        ],
    ),
    # Results are told before what is said, wherever they stand.
    ([by("user", TEXT, RESULT, {**RESULT, "tool_use_id": "t2"})], [tool("2"), tool("2", "t2"), Message("user", "a")]),
    ([by("user", RESULT)], [tool("2")]),
    ([by("user", {**RESULT, "content": [TEXT, TEXT]})], [tool("a\na")]),
    ([by("user", {**RESULT, "content": None})], [tool("")]),
    ([by("user", {**RESULT, "is_error": True})], [tool("Error: 2")]),
]


@pytest.mark.parametrize(("given", "expected"), HISTORIES)
def test_every_block_becomes_part_of_a_message(given: list[Any], expected: list[Message]) -> None:
    assert list(prompt(messages=given).messages) == expected


@pytest.mark.parametrize(
    ("system", "expected"), [("Be.", "Be."), ([TEXT, {"type": "text", "text": "b"}], "a\nb"), ("", None), (None, None)]
)
def test_a_system_text_comes_first(system: Any, expected: str | None) -> None:
    first = (Message("system", expected),) if expected else ()
    assert prompt(system=system).messages == (*first, Message("user", "Hi"))


#: tool_choice -> (choice, name, parallel)
CHOICES: list[tuple[Any, tuple[str, str, bool]]] = [
    (None, ("auto", "", True)),
    ({"type": "auto"}, ("auto", "", True)),
    ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", "", False)),
    ({"type": "any", "disable_parallel_tool_use": False}, ("required", "", True)),
    ({"type": "any", "disable_parallel_tool_use": True}, ("required", "", False)),
    ({"type": "tool", "name": "now"}, ("required", "now", True)),
    ({"type": "none"}, ("none", "", True)),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_a_tool_choice_is_one_of_three_and_a_name(choice: Any, expected: tuple[str, str, bool]) -> None:
    asked = prompt(tools=[ADD, NOW_], tool_choice=choice)
    assert asked.tools == (Tool("add", "Adds.", json.dumps(SCHEMA)), Tool("now", "", '{"type": "object"}'))
    assert (asked.tool_choice, asked.named_tool, asked.parallel_calls) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, "off"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 30_000}}, "high"),
        ({"output_config": {"effort": "xhigh"}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}}, "high"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "off"),
    ],
)
def test_thinking_is_an_effort(fields: dict[str, Any], expected: str | None) -> None:
    assert prompt(max_tokens=50_000, **fields).effort == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"output_config": {"format": FORM}}, Constraint("schema", json.dumps(SCHEMA))),
        ({"output_format": FORM}, Constraint("schema", json.dumps(SCHEMA))),
        ({"output_config": {"format": FORM}, "tools": [ADD], "tool_choice": {"type": "any"}}, None),
    ],
)
def test_a_format_binds_the_text(fields: dict[str, Any], expected: Constraint | None) -> None:
    assert message(**fields).request.constraint == expected


def test_how_much_and_how() -> None:
    call = message(temperature=0, top_p=0.5, top_k=3, stop_sequences=["x", ""], stream=True)
    request, sampling = call.request, call.request.sampling
    assert (request.max_tokens, request.stop, request.n, request.parse_reply) == (20, ("x",), 1, True)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0, 0.5, 3)
    assert (call.stream, call.received, call.prompt_field) == (True, NOW, "messages")


def test_more_than_the_context_means_no_more_than_that() -> None:
    assert message(max_tokens=64_000).request.max_tokens == 512


def test_two_requests_draw_differently() -> None:
    assert message().request.sampling.seed != message().request.sampling.seed


def test_what_changes_no_answer_is_passed_over() -> None:
    harmless = {"metadata": {"user_id": "me"}, "service_tier": "auto", "cache_control": {}, "context_management": {}}
    assert prompt(**harmless, mcp_servers=[], container=None, whatever=1) == prompt()


IMAGE: dict[str, Any] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": {**IMAGE["source"], **source}}


#: fields -> the path that the message begins with
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages: Field required"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"messages": "Hi"}, "messages:"),
    ({"messages": []}, "messages: empty array"),
    ({"messages": [5]}, "messages.0:"),
    ({"messages": [{}]}, "messages.0.role: Field required"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: unknown value 'tool'"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content:"),
    ({"messages": [by("user")]}, "messages.0.content: empty array"),
    ({"messages": [by("user", 5)]}, "messages.0.content.0:"),
    ({"messages": [by("user", {})]}, "messages.0.content.0.type: Field required"),
    ({"messages": [by("user", {"type": 5})]}, "messages.0.content.0.type:"),
    ({"messages": [by("user", {"type": "text"})]}, "messages.0.content.0.text: Field required"),
    ({"messages": [by("user", {"type": "image"})]}, "messages.0.content.0.source: Field required"),
    ({"messages": [by("user", TEXT, image(data="a\nGk"))]}, "messages.0.content.1.source.data: the image is no base64"),
    ({"messages": [by("user", image(data=None))]}, "messages.0.content.0.source.data: Field required"),
    (
        {"messages": [by("user", image(media_type="image/bmp"))]},
        "messages.0.content.0.source.media_type: expected one of",
    ),
    ({"messages": [by("user", image(type="url"))]}, "messages.0.content.0.source.url: Field required"),
    (
        {"messages": [by("user", image(type="url", url="ftp://a"))]},
        "messages.0.content.0.source.url: expected a data: URL",
    ),
    ({"messages": [by("user", image(type="file"))]}, "messages.0.content.0.source.type: images in files"),
    ({"messages": [by("user", image(type="tune"))]}, "messages.0.content.0.source.type: expected 'base64' or 'url'"),
    ({"messages": [by("assistant", IMAGE)]}, "messages.0.content.0.type: a message of role 'assistant'"),
    ({"messages": [by("user", {"type": "document"})]}, "messages.0.content.0: content blocks of type 'document'"),
    ({"messages": [by("user", {"type": "tune"})]}, "messages.0.content.0.type:"),
    ({"messages": [by("user", USED)]}, "messages.0.content.0.type: a message of role 'user'"),
    ({"messages": [by("assistant", RESULT)]}, "messages.0.content.0.type: a message of role 'assistant'"),
    ({"messages": [by("system", THOUGHT)]}, "messages.0.content.0.type: a message of role 'system'"),
    ({"messages": [by("assistant", {"type": "server_tool_use"})]}, "messages.0.content.0.type:"),
    ({"messages": [by("assistant", {"type": "thinking"})]}, "messages.0.content.0.thinking: Field required"),
    ({"messages": [by("assistant", {**USED, "id": None})]}, "messages.0.content.0.id: Field required"),
    ({"messages": [by("assistant", {**USED, "name": 5})]}, "messages.0.content.0.name:"),
    ({"messages": [by("assistant", {**USED, "input": "{}"})]}, "messages.0.content.0.input:"),
    ({"messages": [by("user", {**RESULT, "tool_use_id": None})]}, "messages.0.content.0.tool_use_id: Field required"),
    ({"messages": [by("user", {**RESULT, "content": 5})]}, "messages.0.content.0.content:"),
    (
        {"messages": [by("user", {**RESULT, "content": [image(data="!")]})]},
        "messages.0.content.0.content.0.source.data:",
    ),
    ({"messages": [by("user", {**RESULT, "content": [THOUGHT]})]}, "messages.0.content.0.content.0.type:"),
    ({"messages": [by("user", {**RESULT, "is_error": "no"})]}, "messages.0.content.0.is_error:"),
    ({"system": 5}, "system:"),
    ({"system": [IMAGE]}, "system.0.type: unknown value 'image'"),
    ({"model": 5}, "model:"),
    ({"model": "claude"}, "model: claude"),
    ({"max_tokens": 0}, "max_tokens:"),
    ({"max_tokens": "5"}, "max_tokens:"),
    ({"temperature": 1.1}, "temperature:"),
    ({"temperature": True}, "temperature:"),
    ({"top_p": -1}, "top_p:"),
    ({"top_k": -1}, "top_k:"),
    ({"stop_sequences": "x"}, "stop_sequences:"),
    ({"stop_sequences": list("abcde")}, "stop_sequences:"),
    ({"stop_sequences": ["a", 5]}, "stop_sequences.1:"),
    ({"stream": "yes"}, "stream:"),
    ({"tools": {}}, "tools:"),
    ({"tools": [5]}, "tools.0:"),
    ({"tools": [{"input_schema": SCHEMA}]}, "tools.0.name: Field required"),
    ({"tools": [{**ADD, "name": "a b"}]}, "tools.0.name:"),
    ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
    ({"tools": [{**ADD, "input_schema": []}]}, "tools.0.input_schema:"),
    ({"tools": [{**ADD, "input_schema": {}}]}, "tools.0.input_schema.type: Field required"),
    ({"tools": [{**ADD, "input_schema": {"type": "string"}}]}, "tools.0.input_schema.type:"),
    ({"tools": [{**ADD, "type": "bash_20250124"}]}, "tools.0.type:"),
    ({"tools": [ADD], "tool_choice": "auto"}, "tool_choice:"),
    ({"tools": [ADD], "tool_choice": {}}, "tool_choice.type: Field required"),
    ({"tools": [ADD], "tool_choice": {"type": "required"}}, "tool_choice.type:"),
    ({"tools": [ADD], "tool_choice": {"type": "tool"}}, "tool_choice.name: Field required"),
    ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "x"}}, "Invalid 'tool_choice'"),
    ({"tools": [ADD], "tool_choice": {"type": "any", "disable_parallel_tool_use": 1}}, "tool_choice.disable"),
    ({"tool_choice": {"type": "any"}}, "'tool_choice' is only allowed when 'tools'"),
    (
        {
            "tools": [{**ADD, "input_schema": {"type": "object", "properties": {"a": {"type": "hiccup"}}}}],
            "tool_choice": {"type": "any"},
        },
        "Invalid 'tools.0.input_schema'",
    ),
    ({"thinking": True}, "thinking:"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
    ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens:"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "'max_tokens' must be greater"),
    ({"thinking": {"type": "often"}}, "thinking.type:"),
    ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display:"),
    ({"output_config": {"effort": "enormous"}}, "output_config.effort:"),
    ({"output_config": {"format": {"type": "regex"}}}, "output_config.format."),
    ({"output_config": {"format": {**FORM, "schema": 5}}}, "output_config.format.schema:"),
    ({"output_config": {"format": {**FORM, "schema": {"type": "hiccup"}}}}, "Invalid 'output_config.format.schema'"),
    ({"mcp_servers": [{"url": "x"}]}, "Unsupported parameter: 'mcp_servers'"),
    ({"container": "c"}, "Unsupported parameter: 'container'"),
]


@pytest.mark.parametrize(("fields", "begins"), REFUSED)
def test_what_is_wrong_is_named(fields: dict[str, Any], begins: str) -> None:
    reply = refusal({**BASE, **fields})
    assert (reply.status, reply.body["type"]) == (404 if fields.get("model") == "claude" else 400, "error")
    assert set(reply.body["error"]) == {"type", "message"}
    assert reply.body["error"]["message"].startswith(begins)


@pytest.mark.parametrize("body", [[], "Hi", 5, None])
@pytest.mark.parametrize("counting", [False, True])
def test_a_body_is_an_object(body: Any, counting: bool) -> None:
    assert refusal(body, counting=counting).body["error"]["type"] == "invalid_request_error"


def test_counting_asks_for_the_tokens_of_the_same_prompt_and_needs_no_limit() -> None:
    body = {**BASE, "system": "Be.", "tools": [ADD], "thinking": {"type": "disabled"}}
    del body["max_tokens"]
    question = parse_count(body, surroundings())
    assert isinstance(question.request, TokenizeRequest)
    assert question.request.prompts == ask(MESSAGES, {**body, "max_tokens": 5}).request.prompts
    tokenized = Tokenized(0, 0, tuple(PromptToken(number, b"x") for number in range(5)), "xxxxx")
    assert count(question, (tokenized,), NOW).body == {"input_tokens": 5}
    assert refusal({"messages": []}, counting=True).body["error"]["message"].startswith("messages: empty array")


CONTEXT = errors.ContextExceeded("too long", facts={"prompt_tokens": 900, "context": 512})
TEMPLATE = errors.InvalidPrompt("it refuses", code="template")
TEMPLATE.param = "messages"
UNFIT = errors.InvalidPrompt("it cannot", code="unsupported")
UNFIT.param = "messages"

#: error -> status, type, message
FAULTS: list[tuple[TropillaError, int, str, str]] = [
    (errors.MalformedBody("no JSON"), 400, "invalid_request_error", "no JSON"),
    (errors.BodyTooLarge("large"), 413, "request_too_large", "large"),
    (errors.UnknownModel("x"), 404, "not_found_error", "model: x"),
    (errors.UnknownModel(""), 404, "not_found_error", "model: no model is being served"),
    (errors.UnknownRoute("GET", "/v1/messages/x"), 404, "not_found_error", "there is no GET /v1/messages/x"),
    (errors.WrongMethod("GET", "/v1/messages"), 405, "invalid_request_error", "not allowed to GET /v1/messages"),
    (errors.Conflict("not now"), 409, "invalid_request_error", "not now"),
    (errors.Unauthenticated("no key"), 401, "authentication_error", "no key"),
    (errors.ScopeMissing("not so"), 403, "permission_error", "not so"),
    (errors.LimitReached("60 a minute", retry_after_seconds=3), 429, "rate_limit_error", "60 a minute"),
    (errors.Overloaded("full", retry_after_seconds=3), 529, "overloaded_error", "full"),
    (CONTEXT, 400, "invalid_request_error", "prompt is too long: 900 tokens > 512 maximum"),
    (TEMPLATE, 400, "invalid_request_error", "messages: it refuses"),
    (UNFIT, 400, "invalid_request_error", "it cannot"),
    (errors.ModelUnavailable("no memory"), 500, "api_error", "no memory"),
    (errors.ModelUnavailable("40 %", retry_after_seconds=9), 529, "overloaded_error", "40 %"),
    (errors.WorkerLost("gone", code="worker_lost"), 500, "api_error", "the answer was lost: gone"),
    (errors.Expired("late", code="expired"), 504, "timeout_error", "the request has expired: late"),
    (errors.GenerationFailed("bug"), 500, "api_error", "the generation failed: bug"),
    (
        errors.StoreUnavailable("redis at 10.0.0.1"),
        500,
        "api_error",
        "the server cannot reach its queue; please try again",
    ),
    (TropillaError("secret"), 500, "api_error", "the server failed"),
]


@pytest.mark.parametrize(("error", "status", "kind", "text"), FAULTS)
def test_every_error_is_anthropics(error: TropillaError, status: int, kind: str, text: str) -> None:
    reply = ANTHROPIC.fault(error)
    assert (reply.status, reply.body) == (status, {"type": "error", "error": {"type": kind, "message": text}})


def test_clients_are_told_whether_and_when_to_ask_again() -> None:
    assert ANTHROPIC.fault(errors.Overloaded("full", retry_after_seconds=3)).headers == {"Retry-After": "3"}
    assert ANTHROPIC.fault(errors.LimitReached("60", retry_after_seconds=3)).headers == {"Retry-After": "3"}
    spent = ANTHROPIC.fault(errors.LimitReached("9 tokens", retry_after_seconds=9000, limit="tokens"))
    assert spent.headers == {"Retry-After": "9000", "x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.GenerationFailed("bug")).headers == {"x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.Conflict("not now")).headers == {"x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.Expired("late")).headers == {"x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.WorkerLost("gone")).headers == {}
    assert ANTHROPIC.fault(errors.WorkerLost("gone", code="worker_crashed")).headers == {"x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.ModelUnavailable("no")).headers == {"x-should-retry": "false"}
    assert ANTHROPIC.fault(errors.ModelUnavailable("soon", retry_after_seconds=9)).headers == {"Retry-After": "9"}

"""Bodies of /api/generate and /api/chat that are refused: with which status, in which words, in which order."""

from __future__ import annotations

import dataclasses

import pytest
from ollama_scene import POCKET, TURN, chat, generate, surroundings, told, wise_chat, wise_generate
from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama import CHAT, GENERATE

FULL = "registry.ollama.ai/library/pocket:latest"
RAW = "raw mode does not support template, system, or context"
CALLS = "ChatRequest.messages.tool_calls"
LONG = {"logprobs": True, "top_logprobs": 21}
TOOL = {"type": "function", "function": {"name": "f"}}


def wrong(kind: str, field: str, go_type: str) -> str:
    """What Go says of a value of the wrong type."""
    return f"json: cannot unmarshal {kind} into Go struct field {field} of type {go_type}"


def nested(depth: int) -> JSON:
    schema: JSON = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


GENERATE_FAULTS: list[tuple[JSON, int, str]] = [
    (None, 404, "model '' not found"),
    ({}, 404, "model '' not found"),
    ([], 400, "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
    ("x", 400, "json: cannot unmarshal string into Go value of type api.GenerateRequest"),
    ({"model": ""}, 404, "model '' not found"),
    ({"model": "^"}, 400, "invalid model name"),
    ({"model": "x"}, 404, "model 'x' not found"),
    ({"model": "x", "keep_alive": 0}, 404, "model 'x' not found"),
    ({"model": 1}, 400, wrong("number", "GenerateRequest.model", "string")),
    (generate(stream="yes"), 400, wrong("string", "GenerateRequest.stream", "bool")),
    (generate(prompt=["x"]), 400, wrong("array", "GenerateRequest.prompt", "string")),
    (generate(context=[1.5]), 400, wrong("number 1.5", "GenerateRequest.context", "int")),
    (generate(context=["1"]), 400, wrong("string", "GenerateRequest.context", "int")),
    (generate(context=[True]), 400, wrong("bool", "GenerateRequest.context", "int")),
    (generate(context=[1000]), 400, "context has token 1000, which the model does not know"),
    (generate(context=[-1]), 400, "context has token -1, which the model does not know"),
    (
        generate(options=[]),
        400,
        wrong("array", "GenerateRequest.options", "map[string]interface {}"),
    ),
    (generate(keep_alive="1d"), 400, 'time: unknown unit "d" in duration "1d"'),
    (generate(keep_alive=True), 400, "Unsupported type: 'bool'"),
    (
        generate(think="ultra"),
        400,
        'invalid think value: "ultra" (must be "high", "medium", "low", "max", true, or false)',
    ),
    (generate(think=1), 400, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    (generate(images=["!"]), 400, "illegal base64 data at input byte 0"),
    (generate(images=["aGk="]), 400, f"{FULL} does not support vision"),
    (wise_generate(suffix="x", context=[1]), 400, "context is not supported with suffix"),
    (generate(suffix="x"), 400, f"{FULL} does not support insert"),
    (generate(suffix="x", images=["aGk="]), 400, f"{FULL} does not support insert\nvision"),
    (generate(think=True), 400, '"pocket" does not support thinking'),
    ({"model": "Pocket:latest", "think": "high"}, 400, '"Pocket:latest" does not support thinking'),
    ({"model": "bert"}, 400, '"bert" does not support generate'),
    # Go's own words, and the sheet's status.
    (generate(template="{{ .Prompt"), 500, "template: :1: unclosed action"),
    (generate(template="a\n{{ if .Prompt }}"), 500, "template: :2: unexpected EOF"),
    (generate(template="{{ Prompt }}", _debug_render_only=True), 500, 'template: :1: function "Prompt" not defined'),
    (generate(template='{{template "x"}}'), 500, "undefined template specified"),
    (generate(template=" " * 40_000), 400, "template must have at most 32768 characters"),
    (generate(template=1), 400, wrong("number", "GenerateRequest.template", "string")),
    (generate(format={"type": "text"}), 400, "invalid format: the JSON schema cannot be used: Invalid type: text"),
    (generate(format="xml"), 400, r'invalid format: "\"xml\""; expected "json" or a valid JSON Schema object'),
    (generate(format=[]), 400, 'invalid format: "[]"; expected "json" or a valid JSON Schema object'),
    (generate(format=nested(300)), 400, "exceeded max depth"),
    (generate(raw=True, system="x"), 400, RAW),
    (generate(raw=True, template="x"), 400, RAW),
    (generate(raw=True, context=[1]), 400, RAW),
    # The order of section 4.3.
    ({"model": "^", "top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
    ({"model": "x", **LONG}, 400, "top_logprobs must be between 0 and 20"),
    ({"model": "x", "raw": True, "system": "x"}, 404, "model 'x' not found"),
    (generate(raw=True, system="x", think=True), 400, RAW),
    (generate(suffix="x", think=True), 400, '"pocket" does not support thinking'),
    (generate(suffix="x", options={"top_k": "x"}), 400, f"{FULL} does not support insert"),
    ({"model": "pocket", "options": {"top_k": "x"}}, 400, 'option "top_k" must be of type integer'),
    (generate(template="{{", options={"top_k": "x"}), 400, 'option "top_k" must be of type integer'),
    (generate(template="{{", format="xml"), 500, "template: :1: unclosed action"),
]

CHAT_FAULTS: list[tuple[JSON, int, str]] = [
    (None, 400, "model is required"),
    ({}, 400, "model is required"),
    ([], 400, "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    ({"model": "^"}, 400, "invalid model name"),
    ({"model": "x"}, 404, "model 'x' not found"),
    ({"model": "bert"}, 400, '"bert" does not support chat'),
    (chat(think="low"), 400, '"pocket" does not support thinking'),
    (chat(tools=[{"type": "function"}]), 400, f"{FULL} does not support tools"),
    (
        chat(tools=[{}], messages=[TURN | {"images": ["aGk="]}]),
        400,
        f"{FULL} does not support tools\nvision",
    ),
    (chat(format="yaml"), 400, r'invalid format: "\"yaml\""; expected "json" or a valid JSON Schema object'),
    (chat(top_logprobs=21), 400, "top_logprobs must be between 0 and 20"),
    (chat(options={"num_ctx": "x"}), 400, 'option "num_ctx" must be of type integer'),
    (chat(messages={}), 400, wrong("object", "ChatRequest.messages", "[]interface {}")),
    (chat(messages=["x"]), 400, wrong("string", "ChatRequest.messages", "[]interface {}")),
    (chat(messages=[{"content": []}]), 400, wrong("array", "ChatRequest.messages.content", "string")),
    (chat(messages=[TURN, {"role": 1}]), 400, wrong("number", "ChatRequest.messages.role", "string")),
    (chat(messages=[TURN | {"images": ["!"]}]), 400, "illegal base64 data at input byte 0"),
    (chat(tools="x"), 400, wrong("string", "ChatRequest.tools", "[]interface {}")),
    (chat(tools=["x"]), 400, wrong("string", "ChatRequest.tools", "[]interface {}")),
    (chat(tools=[{"function": "x"}]), 400, wrong("string", "ChatRequest.tools.function", "map[string]interface {}")),
    (chat(tools=[{"function": {"name": 1}}]), 400, wrong("number", "ChatRequest.tools.function.name", "string")),
    (wise_chat(tools=[TOOL, {}]), 400, "tools[1].function.name is required"),
    (
        chat(messages=[{"tool_calls": [{"function": 1}]}]),
        400,
        wrong("number", f"{CALLS}.function", "map[string]interface {}"),
    ),
    (
        chat(messages=[{"tool_calls": [{"function": {"arguments": 1}}]}]),
        400,
        wrong("number", f"{CALLS}.function.arguments", "api.ToolCallFunctionArguments"),
    ),
]


OPTION_FAULTS = [
    ("num_ctx", "x", "be of type integer"),
    ("num_predict", True, "be of type integer"),
    ("num_gpu", [], "be of type integer"),
    ("temperature", "0.5", "be of type float32"),
    ("top_p", False, "be of type float32"),
    ("use_mmap", 1, "be of type boolean"),
    ("stop", 1, "be of type array"),
    ("stop", ["a", 1], "be of an array of strings"),
    ("stop", ["x"] * 65, "have at most 64 strings"),
    ("mirostat", 3, "be 0, 1 or 2"),
    ("temperature", 1e300, "be between -1000 and 1000"),
    ("repeat_penalty", 0, "be between 0.001 and 1000"),
]


@pytest.mark.parametrize(("body", "status", "text"), GENERATE_FAULTS)
def test_generate_refuses_in_ollamas_words(body: JSON, status: int, text: str) -> None:
    reply = told(GENERATE, body)
    assert (reply.status, reply.body) == (status, {"error": text})


@pytest.mark.parametrize(("body", "status", "text"), CHAT_FAULTS)
def test_chat_refuses_in_ollamas_words(body: JSON, status: int, text: str) -> None:
    reply = told(CHAT, body)
    assert (reply.status, reply.body) == (status, {"error": text})


@pytest.mark.parametrize(("name", "value", "text"), OPTION_FAULTS)
def test_an_option_of_the_wrong_type_is_named(name: str, value: JSON, text: str) -> None:
    reply = told(GENERATE, generate(options={name: value}))
    assert (reply.status, reply.body) == (400, {"error": f'option "{name}" must {text}'})


def test_what_is_filled_in_has_no_place_for_images() -> None:
    around = surroundings(dataclasses.replace(POCKET, capabilities=("completion", "insert", "vision")))
    reply = told(GENERATE, generate(suffix="x", images=["aGk="]), around)
    assert (reply.status, reply.body) == (400, {"error": "images are not supported with suffix"})

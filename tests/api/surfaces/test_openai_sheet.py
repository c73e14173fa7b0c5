"""The edge cases that other servers' own tests pin (sheet, section 13): a body, and what it is answered with.

What only a model can show stands in tests/cluster/test_openai_client.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from openai_events import HELLO, USER, ask, refusal, surroundings
from tropilla.api.surface import Surface
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS

ASSISTANT = {"role": "assistant", "content": "Ho"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def chat(**fields: Any) -> tuple[Surface, dict[str, Any]]:
    return CHAT, {**HELLO, **fields}


def text(**fields: Any) -> tuple[Surface, dict[str, Any]]:
    return COMPLETIONS, {"prompt": "a", **fields}


def called(arguments: str) -> dict[str, Any]:
    call = {"id": "call_123456789", "type": "function", "function": {"name": "add", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


#: (the test upstream, surface and body, what its error names, a part of its words)
REFUSED: list[tuple[str, tuple[Surface, dict[str, Any]], str | None, str]] = [
    ("llama.cpp invalid_chat_completion_req", chat(messages=None), "messages", "Missing"),
    ("llama.cpp invalid_chat_completion_req", chat(messages="string"), "messages", "array"),
    ("llama.cpp invalid_chat_completion_req", chat(messages=[123]), "messages[0]", "object"),
    ("llama.cpp invalid_chat_completion_req", chat(messages=[{}]), "messages[0].role", "Missing"),
    ("llama.cpp invalid_chat_completion_req", chat(messages=[{"role": 123}]), "messages[0].role", "string"),
    (
        "llama.cpp invalid_chat_completion_req",
        chat(messages=[{"role": "system", "content": 123}]),
        "messages[0].content",
        "string",
    ),
    ("llama.cpp invalid_chat_completion_req", chat(messages=[USER, {}]), "messages[1].role", "Missing"),
    ("llama.cpp invalid_chat_completion_req", chat(messages=[USER, ASSISTANT, ASSISTANT]), "messages[2]", "assistant"),
    ("llama.cpp response_format", chat(response_format={"type": "sound"}), "response_format.type", "sound"),
    *(
        (
            "llama.cpp response_format",
            chat(response_format={"type": "json_schema", "json_schema": {"schema": schema}}),
            None,
            "response_format",
        )
        for schema in (123, {"type": 123}, {"type": "hiccup"})
    ),
    (
        "llama.cpp prefill",
        chat(add_generation_prompt=True, continue_final_message=True),
        "continue_final_message",
        "add_generation_prompt",
    ),
    ("llama.cpp invalid_grammar", chat(grammar="root ::= ("), "grammar", "grammar"),
    ("llama.cpp grammar and schema", chat(grammar='root ::= "a"', json_schema={"type": "object"}), "grammar", "both"),
    ("vLLM test_chat", chat(logprobs=True, top_logprobs=21), "top_logprobs", "maximum"),
    ("vLLM test_chat", chat(logprobs=True, top_logprobs=30, stream=True), "top_logprobs", "maximum"),
    ("llama.cpp logprobs", chat(top_logprobs=5), "top_logprobs", "logprobs"),
    ("vLLM test_completion", text(logprobs=21), "logprobs", "maximum"),
    ("vLLM prompt_validation", text(prompt=[999999]), "prompt", "out of vocabulary"),
    ("vLLM prompt_validation", text(prompt=[-1]), "prompt", "out of vocabulary"),
    ("vLLM prompt_validation", text(prompt=[[-1]]), "prompt", "out of vocabulary"),
    ("vLLM empty_prompt_list", text(prompt=[]), "prompt", "empty"),
    ("vLLM chat_error", chat(response_format={"type": "json_schema"}), "response_format.json_schema", "json_schema"),
    ("vLLM function_calling", chat(tool_choice="bogus"), "tool_choice", "tools"),
    ("vLLM function_calling", chat(tools=[TOOL], tool_choice="bogus"), "tool_choice", "bogus"),
    ("vLLM function_calling", chat(tools=[TOOL], tool_choice={}), "tool_choice", "tool_choice"),
    (
        "vLLM function_calling",
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "none"}}),
        "tool_choice",
        "none",
    ),
    (
        "vLLM guided and named",
        chat(tools=[TOOL], tool_choice={"function": {"name": "add"}}, guided_regex="a"),
        "guided_regex",
        "named",
    ),
    ("vLLM long_seed", chat(seed=2**63), "seed", "maximum"),
    ("vLLM long_seed", chat(seed=-(2**63) - 1025), "seed", "minimum"),
    ("vLLM logit_bias_validation", chat(logit_bias={"1005": 1}), "logit_bias", "1005"),
    ("vLLM logit_bias_validation", chat(logit_bias={"1005": 1}), "logit_bias", "1000"),
    ("Ollama ReasoningEffort", chat(reasoning_effort="enormous"), "reasoning_effort", "enormous"),
    ("OpenAI best_of", text(best_of=1, n=2), "best_of", "at least"),
    ("coercion", chat(temperature="0.5"), "temperature", "string"),
    ("coercion", chat(max_tokens=True), "max_tokens", "boolean"),
    ("coercion", chat(logprobs=5), "logprobs", "integer"),
]

ACCEPTED: list[tuple[str, tuple[Surface, dict[str, Any]]]] = [
    ("vLLM extra_fields_allowed", chat(extra="x", messages=[{**USER, "extra": 0}])),
    ("vLLM custom_role", chat(messages=[{"role": "narrator", "content": "Once"}])),
    ("vLLM tool_choice_null", chat(tool_choice=None)),
    ("vLLM tool_choice_null", chat(tools=[TOOL], tool_choice=None)),
    ("vLLM no_args_tool_call", chat(messages=[USER, called(""), {"role": "tool", "content": "5"}])),
    ("vLLM no_args_tool_call", chat(messages=[USER, called("{}"), {"role": "tool", "content": "5"}])),
    ("vLLM stream_options", chat(stream=True, stream_options={})),
    ("vLLM stream_options", chat(stream=True, stream_options={"include_usage": False})),
    ("OpenAI SDK suite", chat(stream=False, stream_options={"include_usage": True})),
    ("OpenAI SDK suite", chat(functions=[{"name": "f"}], tools=[TOOL], function_call="none", tool_choice="none")),
    ("OpenAI SDK suite", text(best_of=0, logit_bias={"foo": 0}, max_tokens=0)),
    ("LangChain", chat(logprobs=None, seed=None, top_p=1)),
    ("guidellm", text(stop=None, ignore_eos=True, max_tokens=5)),
    ("coercion", chat(temperature=1, max_tokens=10.0, stop="")),
    ("llama.cpp tokens_input", text(prompt=[1, 2, "str", 3])),
    ("llama.cpp tokens_input", text(prompt=[[1, 2], "str"])),
    ("llama.cpp logprobs", chat(logprobs=True, top_logprobs=0)),
    ("Ollama ReasoningEffort", chat(reasoning_effort="none")),
    ("Ollama ReasoningEffort", chat(reasoning_effort="xhigh")),
    ("Cria", (CHAT, {"model": "pocket", "prompt": "Hi", "stop": ["a"]})),
    ("prompt null", text(prompt=None)),
    ("tools empty", chat(tools=[])),
]


@pytest.mark.parametrize(("upstream", "asked", "param", "words"), REFUSED)
def test_what_others_refuse_is_refused_by_name(
    upstream: str, asked: tuple[Surface, dict[str, Any]], param: str | None, words: str
) -> None:
    reply = refusal(*asked)
    error = reply.body["error"]
    assert reply.status == 400, upstream
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"], upstream
    if param is not None:
        assert error["param"] == param, upstream


@pytest.mark.parametrize(("upstream", "asked"), ACCEPTED)
def test_what_others_accept_is_accepted(upstream: str, asked: tuple[Surface, dict[str, Any]]) -> None:
    assert ask(*asked).request.model == "pocket", upstream


def test_more_stops_need_the_operators_leave() -> None:
    stops = {"stop": list("abcdefgh")}
    assert refusal(*chat(**stops)).body["error"]["code"] == "array_above_max_length"
    assert len(ask(*chat(**stops), surroundings(max_stop_sequences=8)).request.stop) == 8

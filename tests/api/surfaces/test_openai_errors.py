"""Bodies that are refused, and every error as OpenAI says it."""

from __future__ import annotations

from typing import Any

import pytest
from openai_events import HELLO, USER, refusal, surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.faults import fault
from tropilla.common import errors

SPOKEN = {"role": "assistant", "content": "Ho"}
CALL = {"function": {"name": "add", "arguments": "{}"}}
LINK = "data:image/png;base64,aGk="


def image(link: Any = LINK, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": [{"type": "image_url", "image_url": link}]}]}


#: (fields beside HELLO, param, code)
CHAT_CASES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": {}}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": [123]}, "messages[0]", "invalid_type"),
    ({"messages": [{}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": 123}]}, "messages[0].role", "invalid_type"),
    ({"messages": [{"role": "system", "content": 123}]}, "messages[0].content", "invalid_type"),
    ({"messages": [USER, {}]}, "messages[1].role", "missing_required_parameter"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": [123]}]}, "messages[0].content[0]", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "tune"}]}]}, "messages[0].content[0].type", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0]", "unsupported_value"),
    (image(None), "messages[0].content[0].image_url", "invalid_type"),
    (image({}), "messages[0].content[0].image_url.url", "invalid_type"),
    (image({"url": LINK, "detail": "huge"}), "messages[0].content[0].image_url.detail", "invalid_value"),
    (image({"url": "data:image/png;base64,aG"}), "messages[0].content[0].image_url.url", "invalid_value"),
    (image("data:image/png,hi"), "messages[0].content[0].image_url", "invalid_value"),
    (image("data:text/plain;base64,aGk="), "messages[0].content[0].image_url", "invalid_value"),
    (image("file:///etc/passwd"), "messages[0].content[0].image_url", "invalid_value"),
    (image(role="system"), "messages[0].content", "invalid_value"),
    (image(role="assistant"), "messages[0].content", "invalid_value"),
    ({"messages": [USER, SPOKEN, SPOKEN]}, "messages[2]", None),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
        "messages[0].tool_calls[0].function.name",
        "missing_required_parameter",
    ),
    ({"model": 5}, "model", "invalid_type"),
    ({"temperature": "1"}, "temperature", "invalid_type"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": -1}, "temperature", "decimal_below_min_value"),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    ({"presence_penalty": -2.5}, "presence_penalty", "decimal_below_min_value"),
    ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
    ({"repetition_penalty": 0}, "repetition_penalty", "decimal_below_min_value"),
    ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 130}, "n", "integer_above_max_value"),
    ({"n": True}, "n", "invalid_type"),
    ({"seed": 2**63}, "seed", "integer_above_max_value"),
    ({"seed": -(2**63) - 1025}, "seed", "integer_below_min_value"),
    ({"seed": 1e19}, "seed", "integer_above_max_value"),
    ({"stop": list("abcdefghi")}, "stop", "array_above_max_length"),
    ({"stop": 5}, "stop", "invalid_type"),
    ({"stop": ["a", 5]}, "stop[1]", "invalid_type"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stream_options": []}, "stream_options", "invalid_type"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
    ({"logprobs": 3}, "logprobs", "invalid_type"),
    ({"top_logprobs": 3}, "top_logprobs", None),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"logprobs": True, "top_logprobs": 21, "stream": True}, "top_logprobs", "integer_above_max_value"),
    ({"mirostat": 3}, "mirostat", "integer_above_max_value"),
    ({"reasoning_effort": "enormous"}, "reasoning_effort", "invalid_value"),
    ({"add_generation_prompt": True, "continue_final_message": True}, "continue_final_message", None),
    ({"continue_final_message": True}, "continue_final_message", None),
    ({"add_generation_prompt": False}, "add_generation_prompt", "unsupported_parameter"),
    ({"model": "gpt-9"}, "model", "model_not_found"),
    (
        {"add_generation_prompt": False, "messages": [USER, {**SPOKEN, "tool_calls": [CALL]}]},
        "add_generation_prompt",
        "unsupported_parameter",
    ),
    ({"echo": True, "stream": True}, "echo", None),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", None),
    ({"return_token_ids": 1}, "return_token_ids", "invalid_type"),
    ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "integer_below_min_value"),
    ({"echo": "yes"}, "echo", "invalid_type"),
    # Extras.
    ({"min_tokens": -1}, "min_tokens", "integer_below_min_value"),
    ({"stop_token_ids": 2}, "stop_token_ids", "invalid_type"),
    ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "integer_below_min_value"),
    ({"stop_token_ids": [2, 1000]}, "stop_token_ids", "invalid_value"),
    ({"ignore_eos": 1}, "ignore_eos", "invalid_type"),
    ({"dry_sequence_breakers": []}, "dry_sequence_breakers", "empty_array"),
    ({"dry_sequence_breakers": ["."] * 65}, "dry_sequence_breakers", "array_above_max_length"),
    ({"logit_bias": 5}, "logit_bias", "invalid_type"),
    ({"logit_bias": {"5": "x"}}, "logit_bias.5", "invalid_type"),
    ({"logit_bias": {"5": True}}, "logit_bias.5", "invalid_type"),
    ({"logit_bias": {"5": 101}}, "logit_bias.5", "decimal_above_max_value"),
    ({"logit_bias": {"foo": -101}}, "logit_bias.foo", "decimal_below_min_value"),
    ({"logit_bias": {"1000": 0}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": [[5]]}, "logit_bias[0]", "invalid_type"),
    ({"logit_bias": [[5, 1], 5]}, "logit_bias[1]", "invalid_type"),
    ({"logit_bias": [[None, 1]]}, "logit_bias[0][0]", "invalid_type"),
    ({"logit_bias": [[5, 200]]}, "logit_bias[0][1]", "decimal_above_max_value"),
    ({"logit_bias": [1.0] * 1001}, "logit_bias", "invalid_value"),
    # Thinking.
    ({"enable_thinking": "no"}, "enable_thinking", "invalid_type"),
    ({"documents": [1]}, "documents[0]", "invalid_type"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs", "invalid_type"),
    ({"reasoning": {"effort": "enormous"}}, "reasoning.effort", "invalid_value"),
    ({"reasoning": True}, "reasoning", "invalid_type"),
    # Would change the answer, and is not served.
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
    ({"bad_words": ["x"]}, "bad_words", "unsupported_parameter"),
    ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern", "unsupported_parameter"),
    ({"dynatemp_range": "wide"}, "dynatemp_range", "invalid_type"),
    ({"chat_template": "{{ messages }}"}, "chat_template", "unsupported_parameter"),
]

#: (fields beside a prompt, param, code)
COMPLETION_CASES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"prompt": 5}, "prompt", "invalid_type"),
    ({"prompt": True}, "prompt", "invalid_type"),
    ({"prompt": []}, "prompt", "empty_array"),
    ({"prompt": [[]]}, "prompt[0]", "empty_array"),
    ({"prompt": ["a", None]}, "prompt[1]", "invalid_type"),
    ({"prompt": [-1]}, "prompt", "invalid_value"),
    ({"prompt": [[-1]]}, "prompt", "invalid_value"),
    ({"prompt": [[1.5]]}, "prompt[0][0]", "invalid_type"),
    ({"prompt": [999999]}, "prompt", "invalid_value"),
    ({"prompt": [[1], [999999]]}, "prompt", "invalid_value"),
    ({"prompt": [999999, "a"]}, "prompt", "invalid_value"),
    ({"prompt": [1, "a", 999999]}, "prompt", "invalid_value"),
    ({"prompt": [1, "a", True]}, "prompt[2]", "invalid_type"),
    ({"prompt": [1, "a", None]}, "prompt[2]", "invalid_type"),
    ({"prompt_logprobs": 21}, "prompt_logprobs", "integer_above_max_value"),
    ({"prompt_logprobs": -1}, "prompt_logprobs", "integer_below_min_value"),
    ({"prompt_logprobs": 0, "stream": True}, "prompt_logprobs", None),
    ({"add_special_tokens": False}, "add_special_tokens", "unsupported_parameter"),
    ({"prompt": ["a"] * 9, "n": 2}, "prompt", "array_above_max_length"),
    ({"logprobs": True}, "logprobs", "invalid_type"),
    ({"logprobs": 21}, "logprobs", "integer_above_max_value"),
    ({"logprobs": -1}, "logprobs", "integer_below_min_value"),
    ({"best_of": 1, "n": 2}, "best_of", None),
    ({"best_of": 2, "n": 2, "stream": True}, "best_of", None),
    ({"best_of": 2, "stream": True}, "best_of", None),
    ({"best_of": 21}, "best_of", "integer_above_max_value"),
    ({"best_of": 9, "prompt": ["a", "b"]}, "best_of", None),
    ({"suffix": "end"}, "suffix", "unsupported_parameter"),
    ({"suffix": 5}, "suffix", "invalid_type"),
    ({"truncate": 0}, "truncate", "integer_below_min_value"),
    ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "integer_below_min_value"),
    ({"logit_bias": {"1000": 1}}, "logit_bias", "invalid_value"),
    ({"grammar": "root ::= ("}, "grammar", "invalid_value"),
]


@pytest.mark.parametrize(("fields", "param", "code"), CHAT_CASES)
def test_a_bad_chat_field_is_refused_by_name(fields: dict[str, Any], param: str, code: str | None) -> None:
    reply = refusal(CHAT, {**HELLO, **fields})
    assert reply.status == (404 if code == "model_not_found" else 400)
    error = reply.body["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param.split(".")[0].split("[")[0] in error["message"]


@pytest.mark.parametrize(("fields", "param", "code"), COMPLETION_CASES)
def test_a_bad_completion_field_is_refused_by_name(fields: dict[str, Any], param: str, code: str | None) -> None:
    reply = refusal(COMPLETIONS, {"prompt": "a", **fields})
    assert reply.status == 400
    error = reply.body["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("body", ["text", ["list"], 5, None, True])
@pytest.mark.parametrize("surface", [CHAT, COMPLETIONS])
def test_a_body_that_is_no_object_is_a_400(surface: Any, body: Any) -> None:
    reply = refusal(surface, body)
    assert (reply.status, reply.body["error"]["code"]) == (400, None)


@pytest.mark.parametrize(("surface", "param"), [(CHAT, "messages"), (COMPLETIONS, "prompt")])
def test_what_is_asked_must_be_there(surface: Any, param: str) -> None:
    reply = refusal(surface, {"model": "pocket", "temperature": "hot"})
    assert reply.body["error"]["message"] == f"Missing required parameter: '{param}'."


def test_the_range_is_said_in_openais_words() -> None:
    expected = "Invalid 'n': integer above maximum value. Expected a value <= 16, but got 130 instead."
    assert refusal(CHAT, {**HELLO, "n": 130}).body["error"]["message"] == expected


def test_too_many_stops_are_said_in_openais_words() -> None:
    expected = (
        "Invalid 'stop': array too long. Expected an array with maximum length 4, "
        "but got an array with length 9 instead."
    )
    assert refusal(CHAT, {**HELLO, "stop": list("abcdefghi")}).body["error"]["message"] == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 5, "n": "two"}, "messages"),
        ({"messages": [USER], "temperature": 5, "n": "two"}, "n"),
        ({"messages": [USER], "n": 0, "temperature": 5}, "temperature"),
        ({"messages": [USER], "n": 0, "model": "gpt-9"}, "n"),
        ({"messages": [USER], "model": "gpt-9", "top_logprobs": 1}, "model"),
    ],
)
def test_absence_comes_before_types_before_ranges_before_the_model_before_rules(
    body: dict[str, Any], param: str
) -> None:
    assert refusal(CHAT, body).body["error"]["param"] == param


def test_an_images_error_names_the_part() -> None:
    assert "image_url" in refusal(CHAT, image("data:,")).body["error"]["message"]


def test_a_missing_json_schema_is_mentioned() -> None:
    reply = refusal(CHAT, {**HELLO, "response_format": {"type": "json_schema"}})
    assert "json_schema" in reply.body["error"]["message"]


@pytest.mark.parametrize("prompt", [[1, 2], [1, "a"], ["a", [1]]])
def test_only_text_is_filled_in(prompt: Any) -> None:
    around = surroundings(capabilities=("completion", "insert"))
    error = refusal(COMPLETIONS, {"prompt": prompt, "suffix": "b"}, around).body["error"]
    assert (error["param"], error["code"]) == ("suffix", "unsupported_parameter")


@pytest.mark.parametrize("echo", ["echo", "return_full_text"])
def test_what_is_filled_in_is_not_echoed(echo: str) -> None:
    around = surroundings(capabilities=("completion", "insert"))
    error = refusal(COMPLETIONS, {"prompt": "a", "suffix": "b", echo: True}, around).body["error"]
    assert error["message"] == f"'suffix' and '{echo}' cannot both be given."


def test_a_biased_token_the_model_does_not_have_is_told_with_both_numbers() -> None:
    expected = "Invalid 'logit_bias': token id 5000 is out of vocabulary (the model has 1000 tokens)."
    assert refusal(CHAT, {**HELLO, "logit_bias": {"5000": 1}}).body["error"]["message"] == expected


@pytest.mark.parametrize(
    ("code", "param", "said"),
    [
        ("constraint", None, "invalid_value"),
        ("unsupported", None, "unsupported_value"),
        ("template", "messages", None),
        ("invalid_prompt", "messages", "invalid_value"),
    ],
)
def test_what_a_worker_refuses_is_the_prompts_fault_only_where_it_is(code: Any, param: str, said: str | None) -> None:
    failure = errors.InvalidPrompt("why", code=code)
    failure.param = "messages"
    error = fault(failure).body["error"]
    assert (error["param"], error["code"]) == (param, said)


def test_the_operators_limits_hold() -> None:
    around = surroundings(max_stop_sequences=9, max_choices=2)
    assert refusal(CHAT, {**HELLO, "n": 3, "stop": list("abcdefghi")}, around).body["error"]["param"] == "n"


FAULTS: list[tuple[errors.TropillaError, int, str, str | None, str]] = [
    (errors.MalformedBody("no JSON"), 400, "invalid_request_error", None, "validation"),
    (errors.BodyTooLarge("too large"), 413, "invalid_request_error", None, "validation"),
    (errors.UnreadableBody("text/plain"), 415, "invalid_request_error", None, "validation"),
    (errors.ForbiddenOrigin("http://e"), 403, "invalid_request_error", None, "forbidden"),
    (errors.UnknownRoute("POST", "/v1/x"), 404, "invalid_request_error", None, "not_found"),
    (errors.WrongMethod("GET", "/v1/completions"), 405, "invalid_request_error", None, "method_not_allowed"),
    (
        errors.InvalidField("m", param="top_k", problem="above"),
        400,
        "invalid_request_error",
        "integer_above_max_value",
        "validation",
    ),
    (errors.UnsupportedField("m", param="suffix"), 400, "invalid_request_error", "unsupported_parameter", "validation"),
    (errors.UnknownModel("x"), 404, "invalid_request_error", "model_not_found", "not_found"),
    (errors.Conflict("not now"), 409, "invalid_request_error", "conflict", "conflict"),
    (errors.Unauthenticated("no key"), 401, "invalid_request_error", "invalid_api_key", "unauthorized"),
    (errors.ScopeMissing("no"), 403, "invalid_request_error", "insufficient_permissions", "forbidden"),
    (errors.LimitReached("60", retry_after_seconds=3), 429, "rate_limit_error", "rate_limit_exceeded", "overloaded"),
    (
        errors.LimitReached("9 tokens", retry_after_seconds=3, limit="tokens"),
        429,
        "rate_limit_error",
        "insufficient_quota",
        "overloaded",
    ),
    (errors.Overloaded("full", retry_after_seconds=3), 429, "rate_limit_error", "rate_limit_exceeded", "overloaded"),
    (errors.StoreUnavailable("redis://secret"), 500, "server_error", None, "generation"),
    (
        errors.ContextExceeded("long", code="context_length"),
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "validation",
    ),
    (errors.InvalidPrompt("id", code="invalid_prompt"), 400, "invalid_request_error", "invalid_value", "validation"),
    (errors.InvalidPrompt("roles", code="template"), 400, "invalid_request_error", None, "template_error"),
    (errors.ModelUnavailable("no memory"), 424, "server_error", "model_unavailable", "generation"),
    (errors.UnsupportedBackend("vllm"), 501, "server_error", "backend_unsupported", "generation"),
    (errors.WorkerLost("gone", code="worker_lost"), 500, "server_error", None, "generation"),
    (errors.WorkerLost("gone", code="worker_crashed"), 500, "server_error", "worker_crashed", "generation"),
    (errors.Expired("late", code="expired"), 504, "server_error", "deadline_exceeded", "timeout"),
    (errors.GenerationFailed("bug"), 500, "server_error", None, "generation"),
    (errors.ConfigurationError("secret"), 500, "server_error", None, "generation"),
]


def test_no_error_is_ever_503_for_a_client_would_repeat_it_without_end() -> None:
    assert all(fault(error).status != 503 for error, *_ in FAULTS)


@pytest.mark.parametrize(("error", "status", "kind", "code", "slug"), FAULTS)
def test_every_error_has_four_keys_and_tgis_slug(
    error: errors.TropillaError, status: int, kind: str, code: str | None, slug: str
) -> None:
    reply = fault(error)
    assert reply.status == status
    assert (reply.body["error"]["type"], reply.body["error"]["code"], reply.body["error_type"]) == (kind, code, slug)
    assert {"message", "type", "param", "code"} <= set(reply.body["error"])
    assert "secret" not in str(reply.body)


def test_an_unknown_route_and_a_model_are_said_in_openais_words() -> None:
    assert fault(errors.UnknownRoute("POST", "/v1/x")).body["error"]["message"] == "Invalid URL (POST /v1/x)"
    said = fault(errors.UnknownModel("x")).body["error"]["message"]
    assert said == "The model `x` does not exist or you do not have access to it."


def test_a_conflict_is_no_reason_to_try_again() -> None:
    reply = fault(errors.Conflict("not now", param="Idempotency-Key"))
    assert (reply.headers, reply.body["error"]["param"]) == ({"x-should-retry": "false"}, "Idempotency-Key")


def test_a_full_queue_says_when_to_come_back() -> None:
    assert fault(errors.Overloaded("full", retry_after_seconds=3)).headers["Retry-After"] == "3"
    assert fault(errors.LimitReached("60", retry_after_seconds=3)).headers == {"Retry-After": "3"}
    # Hours from now: no SDK is to try until then.
    spent = fault(errors.LimitReached("9 tokens", retry_after_seconds=9000, limit="tokens"))
    assert spent.headers == {"Retry-After": "9000", "x-should-retry": "false"}


def test_a_prompt_that_is_too_long_carries_its_numbers() -> None:
    error = fault(errors.ContextExceeded("long", facts={"prompt_tokens": 800, "context": 512})).body["error"]
    assert error["message"].startswith(
        "This model's maximum context length is 512 tokens. However, your request has 800 input tokens"
    )
    assert "exceeds the available context size" in error["message"]
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (800, 512)


def test_only_a_failure_that_would_repeat_itself_is_not_to_be_retried() -> None:
    assert fault(errors.GenerationFailed("bug")).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in fault(errors.WorkerLost("gone", code="worker_lost")).headers
    assert fault(errors.WorkerLost("gone", code="worker_crashed")).headers["x-should-retry"] == "false"

"""The strict checker itself: what it lets pass, and what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion
from openai_strict import strict
from pydantic import ValidationError

MODEL = {"id": "m", "object": "model", "created": 5, "owned_by": "us"}
CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 5,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
}


def test_what_the_sdk_declares_passes() -> None:
    assert strict(ChatCompletion, CHAT).choices[0].message.content == "Hi"
    assert strict(Model, b'{"id":"m","object":"model","created":5,"owned_by":"us"}').id == "m"


def test_keys_of_ours_pass_where_they_are_meant() -> None:
    assert strict(Model, {**MODEL, "max_model_len": 5}).id == "m"
    assert strict(Model, {**MODEL, "colour": "red"}, more={"Model": {"colour"}}).id == "m"
    assert strict(Model, {**MODEL, "meta": {}, "colour": "red"}, more={"Model": {"colour"}}).id == "m"


@pytest.mark.parametrize(
    "change",
    [
        {"created": 5.5},
        {"created": "5"},
        {"id": None},
        {"object": "models"},
    ],
)
def test_a_wrong_type_is_found(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        strict(Model, {**MODEL, **change})


@pytest.mark.parametrize("key", MODEL)
def test_a_missing_key_is_found(key: str) -> None:
    with pytest.raises(ValidationError):
        strict(Model, {name: value for name, value in MODEL.items() if name != key})


def test_an_undeclared_key_is_found_however_deep() -> None:
    choice = CHAT["choices"][0]
    odd = {**CHAT, "choices": [{**choice, "message": {**choice["message"], "mood": "good"}}]}
    with pytest.raises(AssertionError, match=r"\.choices\[0\]\.message\.mood of ChatCompletionMessage"):
        strict(ChatCompletion, odd)
    with pytest.raises(AssertionError, match="colour"):
        strict(Model, {**MODEL, "colour": "red"})


def test_a_finish_reason_nobody_knows_is_found() -> None:
    with pytest.raises(ValidationError):
        strict(ChatCompletion, {**CHAT, "choices": [{**CHAT["choices"][0], "finish_reason": "eos"}]})


def test_nulls_are_found_where_the_sdk_has_none() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [{}], "text_offset": [0]}
    choice = {"index": 0, "text": "a", "finish_reason": "stop", "logprobs": logprobs}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 5, "model": "m", "choices": [choice]}
    with pytest.raises(ValidationError):
        strict(Completion, body)

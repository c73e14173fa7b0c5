"""POST /v1/embeddings: bodies -> requests and refusals, vectors -> the answer."""

from __future__ import annotations

import base64
import dataclasses
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai_events import NOW, model
from tropilla.api.surface import Question, Reply, Surroundings
from tropilla.api.surfaces.openai.embeddings import answer, parse
from tropilla.api.surfaces.openai.faults import fault
from tropilla.common import errors
from tropilla.common.catalogue import Worker, catalogue
from tropilla.common.errors import TropillaError
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, MixedPrompt, TextPrompt, TokenPrompt
from tropilla.common.settings import Settings

BERT = dataclasses.replace(model("bert"), family="bert", embedding_length=4, capabilities=("embedding",))
GEMMA = dataclasses.replace(BERT, name="gemma", family="gemma-embedding")
AROUND = Surroundings(
    catalogue(Worker(each.name, "cpu", "ready", 8, each) for each in (BERT, GEMMA, model("chatty"))), Settings(), NOW
)


def asked(**fields: Any) -> Question:
    return parse({"model": "bert", "input": "Hi", **fields}, AROUND)


def request(**fields: Any) -> EmbeddingRequest:
    wanted = asked(**fields).request
    assert isinstance(wanted, EmbeddingRequest)
    return wanted


def refusal(body: Any) -> Reply:
    try:
        parse(body, AROUND)
    except TropillaError as error:
        return fault(error)
    raise AssertionError(f"{body} was accepted")


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("Hi", [TextPrompt("Hi")]),
        ("", [TextPrompt("")]),
        (["a", "b"], [TextPrompt("a"), TextPrompt("b")]),
        ([12, 34], [TokenPrompt((12, 34))]),
        ([[12, 34], [56]], [TokenPrompt((12, 34)), TokenPrompt((56,))]),
        (["a", [12, 34]], [TextPrompt("a"), TokenPrompt((12, 34))]),
        ([12, 34, "a"], [MixedPrompt((12, 34, "a"))]),
        ([12.0, 34], [TokenPrompt((12, 34))]),
        (["a"] * 2048, [TextPrompt("a")] * 2048),
        ([1] * 3000, [TokenPrompt((1,) * 3000)]),
    ],
)
def test_every_form_of_input_becomes_prompts_in_their_order(given: Any, prompts: list[Any]) -> None:
    assert request(input=given).prompts == tuple(prompts)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"user": "me", "encoding_format": "base64", "dimensions": None}, {}),
        ({"dimensions": 4}, {"dimensions": 4}),
        ({"model": "gemma", "dimensions": 1}, {"model": "gemma", "dimensions": 1}),
        ({"truncate_prompt_tokens": 7}, {"fit": Fit(overlong="shorten", context_limit=7)}),
        ({"truncate_prompt_tokens": 10_000}, {"fit": Fit(overlong="shorten", context_limit=512)}),
        ({"truncate_prompt_tokens": -1}, {"fit": Fit(overlong="shorten")}),
        ({"normalize": False}, {"normalize": False}),
        ({"normalize": True, "embd_normalize": -1}, {"normalize": True}),
        ({"embd_normalize": -1}, {"normalize": False}),
        ({"embd_normalize": 2, "embed_dtype": "float32", "add_special_tokens": True}, {}),
        ({"model": None}, {}),
        ({"model": "tgi"}, {}),
    ],
)
def test_a_field_becomes_the_engines(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = EmbeddingRequest("", "bert", (TextPrompt("Hi"),))
    assert dataclasses.replace(request(**fields), id="") == dataclasses.replace(plain, **expected)


#: (fields beside the model and "Hi", param, code)
REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": 1}, "input", "invalid_type"),
    ({"input": True}, "input", "invalid_type"),
    ({"input": {}}, "input", "invalid_type"),
    ({"input": []}, "input", "empty_array"),
    ({"input": [[]]}, "input[0]", "empty_array"),
    ({"input": ["a", None]}, "input[1]", "invalid_type"),
    ({"input": ["a", {}]}, "input[1]", "invalid_type"),
    ({"input": [1, 2.5]}, "input[1]", "invalid_type"),
    ({"input": [1, -1]}, "input", "invalid_value"),
    ({"input": [[1], [True]]}, "input[1][0]", "invalid_type"),
    ({"input": [1, "a", 5000]}, "input", "invalid_value"),
    ({"input": [{"prompt_string": "a", "multimodal_data": ["x"]}]}, "input[0]", "unsupported_value"),
    ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
    ({"input": [999_999]}, "input", "invalid_value"),
    ({"input": ["a", [1, 1000]]}, "input", "invalid_value"),
    ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ({"encoding_format": "json"}, "encoding_format", "invalid_value"),
    ({"encoding_format": 1}, "encoding_format", "invalid_type"),
    ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
    ({"dimensions": -1}, "dimensions", "integer_below_min_value"),
    ({"dimensions": "4"}, "dimensions", "invalid_type"),
    ({"dimensions": 3}, "dimensions", "invalid_value"),
    ({"dimensions": 5}, "dimensions", "invalid_value"),
    ({"model": "gemma", "dimensions": 5}, "dimensions", "invalid_value"),
    ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
    ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", "integer_below_min_value"),
    ({"embd_normalize": 1}, "embd_normalize", "unsupported_value"),
    ({"embed_dtype": "float16"}, "embed_dtype", "unsupported_parameter"),
    ({"add_special_tokens": False}, "add_special_tokens", "unsupported_parameter"),
    ({"model": 5}, "model", "invalid_type"),
    ({"model": "chatty"}, "model", "unsupported_value"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str, code: str | None) -> None:
    reply = refusal({"model": "bert", "input": "Hi", **fields})
    error = reply.body["error"]
    assert (reply.status, error["param"], error["code"]) == (400, param, code)
    assert param.split("[")[0] in error["message"] or param == "model"


@pytest.mark.parametrize("body", [[], "Hi", 1, None])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert refusal(body).status == 400


def test_an_unknown_model_is_a_404_and_a_chat_model_says_why_not() -> None:
    assert refusal({"model": "nobody", "input": "Hi"}).body["error"]["code"] == "model_not_found"
    assert "does not support embeddings" in refusal({"model": "chatty", "input": "Hi"}).body["error"]["message"]
    assert "matryoshka" in refusal({"model": "bert", "input": "Hi", "dimensions": 1}).body["error"]["message"]


VECTORS = ((0.6, -0.8, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
EVENTS = tuple(Embedded(9 - at, at, struct.pack("<4f", *vector), 3 + at, "w") for at, vector in enumerate(VECTORS))


@pytest.mark.parametrize("encoding", ["float", "base64", "FLOAT", "Base64", None])
def test_vectors_are_told_in_order_in_the_encoding_that_was_asked_for(encoding: str | None) -> None:
    reply = answer(asked(input=["a", "b"], encoding_format=encoding), EVENTS, NOW + 0.25)
    assert reply.status == 200
    body = reply.body
    assert (body["object"], body["model"], body["usage"]) == ("list", "bert", {"prompt_tokens": 7, "total_tokens": 7})
    assert [(entry["object"], entry["index"]) for entry in body["data"]] == [("embedding", 0), ("embedding", 1)]
    for entry, vector in zip(body["data"], VECTORS, strict=True):
        told = entry["embedding"]
        if (encoding or "").lower() == "base64":
            told = struct.unpack("<4f", base64.b64decode(told, validate=True))
        assert told == pytest.approx(vector)
    if encoding in (None, "float"):
        assert CreateEmbeddingResponse.model_validate(body).data[1].embedding == [1.0, 0.0, 0.0, 0.0]


def test_an_input_that_is_too_long_is_told_in_both_wordings() -> None:
    error = errors.ContextExceeded("long", code="context_length", facts={"prompt_tokens": 800, "context": 512})
    error.param = asked().prompt_field
    said = fault(error).body["error"]
    assert "This model's maximum context length is 512 tokens" in said["message"]
    assert "too large" in said["message"]
    assert (said["param"], said["code"], said["n_prompt_tokens"]) == ("input", "context_length_exceeded", 800)

"""POST /api/embed and /api/embeddings: bodies -> requests, loads and refusals; vectors and failures -> answers."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import pytest
from ollama import EmbeddingsResponse, EmbedResponse
from ollama_scene import BERT, ENDED, POCKET, surroundings
from tropilla.api.surface import JSON, Question, Reply
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.surfaces.ollama.embed import answer_embed, answer_embeddings, parse_embed, parse_embeddings
from tropilla.common.errors import ContextExceeded, GenerationFailed, Overloaded, TropillaError, WorkerLost
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, Loaded, LoadRequest, TextPrompt

LONG = ContextExceeded("long", code="context_length", facts={"prompt_tokens": 9, "context": 8})
NAN = GenerationFailed("the embedding contains NaN or Inf values")
LOADED = (Loaded(0, 0, 1.5, "w"),)
VECTORS = tuple(Embedded(at, at, struct.pack("<3f", at, 0.5, -1.0), 4, "w", 0.1 + at / 10) for at in range(2))


def embed(**more: Any) -> JSON:
    return {"model": "bert", "input": "Hi", **more}


def asked(parse: Any, body: JSON, **settings: Any) -> Question:
    question = parse(body, surroundings(**settings))
    assert isinstance(question, Question)
    return question


def requested(parse: Any, body: JSON) -> EmbeddingRequest:
    request = asked(parse, body).request
    assert isinstance(request, EmbeddingRequest)
    return dataclasses.replace(request, id="")


def loads(parse: Any, body: JSON) -> Question:
    question = asked(parse, body)
    assert isinstance(question.request, LoadRequest)
    assert question.request.model == "bert"
    return question


def told(parse: Any, body: JSON) -> Reply:
    """The answer a body gets at once."""
    try:
        reply = parse(body, surroundings())
    except TropillaError as error:
        return OLLAMA.fault(error)
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {}),
        ({"input": ["a", ""]}, {"prompts": (TextPrompt("a"), TextPrompt(""))}),
        ({"input": [""]}, {"prompts": (TextPrompt(""),)}),
        ({"truncate": True}, {}),
        ({"truncate": None}, {}),
        ({"truncate": False}, {"fit": Fit()}),
        ({"dimensions": 8}, {"dimensions": 8}),
        ({"dimensions": 0}, {}),
        ({"dimensions": -1}, {}),
        ({"dimensions": POCKET.embedding_length}, {}),
        ({"dimensions": 10_000}, {}),
        ({"options": {"num_ctx": 16}}, {"fit": Fit(overlong="shorten", context_limit=16)}),
        ({"options": {"num_ctx": 1}}, {"fit": Fit(overlong="shorten", context_limit=1)}),
        ({"options": {"num_ctx": -5}}, {"fit": Fit(overlong="shorten", context_limit=1)}),
        ({"options": {"num_ctx": 10**6}}, {"fit": Fit(overlong="shorten", context_limit=2048)}),
        ({"options": {"temperature": 0.5, "unheard": 1}, "keep_alive": "5m"}, {"keep_alive": 300.0}),
        ({"keep_alive": 0}, {"keep_alive": 0.0}),
        ({"keep_alive": -1}, {"keep_alive": -1.0}),
        ({"model": "BERT:latest"}, {}),
        # No model is asked whether it was made for this.
        ({"model": "pocket"}, {"model": "pocket"}),
        ({"MODEL": "bert", "Input": "Hi"}, {}),
    ],
)
def test_a_field_becomes_the_engines(more: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = EmbeddingRequest("", "bert", (TextPrompt("Hi"),), fit=Fit(overlong="shorten"))
    assert requested(parse_embed, embed(**more)) == dataclasses.replace(plain, **expected)


def test_the_older_route_takes_one_prompt_whose_vector_is_left_as_it_is() -> None:
    assert requested(parse_embeddings, {"model": "bert", "prompt": "Hi"}) == EmbeddingRequest(
        "", "bert", (TextPrompt("Hi"),), normalize=False
    )
    assert asked(parse_embeddings, {"model": "bert", "prompt": "Hi"}).prompt_field == "prompt"


@pytest.mark.parametrize("given", [{}, {"input": None}, {"input": ""}, {"input": []}, {"input": [], "keep_alive": 0}])
def test_no_input_is_a_load_without_numbers(given: JSON) -> None:
    question = loads(parse_embed, {"model": "Bert", **given})
    reply = answer_embed(question, LOADED, ENDED)
    assert question.request.keep_alive == (None if "keep_alive" not in given else 0)
    assert (reply.status, reply.body) == (200, {"model": "Bert", "embeddings": []})


@pytest.mark.parametrize("given", [{}, {"prompt": None}, {"prompt": ""}])
def test_no_prompt_is_no_vector(given: JSON) -> None:
    question = loads(parse_embeddings, {"model": "bert", **given})
    assert answer_embeddings(question, LOADED, ENDED).body == {"embedding": []}


#: As Go says it; `{}` is the struct's name.
WRONG = "json: cannot unmarshal {given} into Go struct field {field} of type {wanted}"

EMBED_FAULTS: list[tuple[JSON, int, str]] = [
    (None, 404, "model '' not found"),
    ({}, 404, "model '' not found"),
    ([], 400, "json: cannot unmarshal array into Go value of type api.EmbedRequest"),
    (embed(model="^"), 400, "invalid model name"),
    (embed(model="x"), 404, 'model "x" not found, try pulling it first'),
    ({"model": "x"}, 404, 'model "x" not found, try pulling it first'),
    (embed(input=5), 400, "invalid input type"),
    (embed(input={}), 400, "invalid input type"),
    (embed(input=True), 400, "invalid input type"),
    (embed(input=["a", 1]), 400, "invalid input type"),
    (embed(input=["a", None]), 400, "invalid input type"),
    (embed(input=5, model="x"), 400, "invalid input type"),
    (embed(input=["a"] * 2049), 400, "input has 2049 texts; at most 2048 are taken"),
    (embed(truncate="no"), 400, WRONG.format(given="string", field="EmbedRequest.truncate", wanted="bool")),
    (embed(dimensions="8"), 400, WRONG.format(given="string", field="EmbedRequest.dimensions", wanted="int")),
    (embed(dimensions=1.5), 400, WRONG.format(given="number 1.5", field="EmbedRequest.dimensions", wanted="int")),
    (embed(keep_alive="60"), 400, 'time: missing unit in duration "60"'),
    (embed(options={"num_ctx": "x"}), 400, 'option "num_ctx" must be of type integer'),
    ({"model": "bert", "options": {"num_ctx": "x"}}, 400, 'option "num_ctx" must be of type integer'),
]
EMBEDDINGS_FAULTS: list[tuple[JSON, int, str]] = [
    (None, 400, "model is required"),
    ({"prompt": "Hi"}, 400, "model is required"),
    ({"model": "^"}, 400, "invalid model name"),
    ({"model": "x", "prompt": "Hi"}, 404, 'model "x" not found, try pulling it first'),
    (
        {"model": "bert", "prompt": ["Hi"]},
        400,
        WRONG.format(given="array", field="EmbeddingRequest.prompt", wanted="string"),
    ),
    ("x", 400, "json: cannot unmarshal string into Go value of type api.EmbeddingRequest"),
]


@pytest.mark.parametrize(("body", "status", "text"), EMBED_FAULTS)
def test_embed_refuses_in_ollamas_words(body: JSON, status: int, text: str) -> None:
    reply = told(parse_embed, body)
    assert (reply.status, reply.body) == (status, {"error": text})


@pytest.mark.parametrize(("body", "status", "text"), EMBEDDINGS_FAULTS)
def test_embeddings_refuses_in_ollamas_words(body: JSON, status: int, text: str) -> None:
    reply = told(parse_embeddings, body)
    assert (reply.status, reply.body) == (status, {"error": text})


@pytest.mark.parametrize(
    ("parse", "body", "error", "status", "text"),
    [
        (parse_embed, embed(truncate=False), LONG, 400, "the input length exceeds the context length"),
        (parse_embed, embed(), LONG, 400, "input after truncation exceeds maximum context length"),
        (parse_embeddings, embed(prompt="Hi"), LONG, 400, "the input length exceeds the context length"),
        (parse_embed, embed(), NAN, 400, NAN.message),
        (parse_embeddings, embed(prompt="Hi"), NAN, 500, NAN.message),
        (parse_embed, embed(), WorkerLost("gone", code="worker_lost"), 500, "gone"),
        (
            parse_embed,
            embed(),
            Overloaded("full", retry_after_seconds=2),
            503,
            "server busy, please try again.  maximum pending requests exceeded",
        ),
    ],
)
def test_what_goes_wrong_later_has_the_routes_own_words(
    parse: Any, body: JSON, error: TropillaError, status: int, text: str
) -> None:
    fault = asked(parse, body).fault
    assert fault is not None
    assert (fault(error).status, fault(error).body) == (status, {"error": text})


def test_vectors_are_told_in_order_with_whole_numbers_beside_them() -> None:
    reply = answer_embed(asked(parse_embed, embed(model="Bert", input=["a", "b"])), VECTORS, ENDED)
    read = EmbedResponse.model_validate(reply.body)
    assert read.model == "Bert"
    assert [list(vector) for vector in read.embeddings] == [[0.0, 0.5, -1.0], [1.0, 0.5, -1.0]]
    assert (read.total_duration, read.load_duration, read.prompt_eval_count) == (500_000_000, 300_000_000, 8)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"


def test_the_older_route_tells_one_flat_vector_and_nothing_else() -> None:
    reply = answer_embeddings(asked(parse_embeddings, embed(prompt="Hi")), VECTORS[1:], ENDED)
    assert set(reply.body) == {"embedding"}
    assert list(EmbeddingsResponse.model_validate(reply.body).embedding) == [1.0, 0.5, -1.0]


def test_an_unknown_name_may_mean_a_model_that_was_made_for_it() -> None:
    around = surroundings(POCKET, BERT, unknown_model="default")
    question = parse_embed(embed(model="all-minilm"), around)
    assert isinstance(question, Question)
    assert question.request.model == "bert"

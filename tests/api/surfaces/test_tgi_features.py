"""POST / of a model that only makes vectors."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from scene import POCKET
from tropilla.api.surface import JSON, Question, Surroundings
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.features import MAX_INPUTS, answer_features
from tropilla.api.surfaces.tgi.parse import parse_compat, parse_generate
from tropilla.common.catalogue import Catalogue, Worker
from tropilla.common.errors import RequestError
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, TextPrompt
from tropilla.common.settings import Settings

VECTORS = replace(POCKET, name="vectors", capabilities=("embedding",))
AROUND = Surroundings(Catalogue((Worker("w", "cpu", "ready", 1, VECTORS),)), Settings(), 1.0)


def asked(body: JSON) -> EmbeddingRequest:
    question = parse_compat(body, AROUND)
    assert isinstance(question, Question)
    assert isinstance(question.request, EmbeddingRequest)
    return replace(question.request, id="")


@pytest.mark.parametrize(
    ("body", "texts", "more"),
    [
        ({"inputs": "a"}, ["a"], {}),
        ({"inputs": ["a", ""]}, ["a", ""], {}),
        ({"inputs": "a", "normalize": False, "truncate": True}, ["a"], {"normalize": False, "fit": Fit("shorten")}),
        ({"inputs": "a", "parameters": {"normalize": False}}, ["a"], {"normalize": False}),
        ({"inputs": "a", "parameters": None, "normalize": None, "prompt_name": None}, ["a"], {}),
        ({"inputs": "a", "truncation_direction": "Right", "else": 1}, ["a"], {}),
    ],
)
def test_it_is_asked_for_vectors(body: JSON, texts: list[str], more: dict[str, Any]) -> None:
    plain = EmbeddingRequest("", "vectors", tuple(TextPrompt(text) for text in texts))
    assert asked(body) == replace(plain, **more)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "the body must be an object"),
        ({}, "`inputs` must be a string or an array of strings"),
        ({"inputs": 1}, "`inputs` must be a string or an array of strings"),
        ({"inputs": ["a", 1]}, "`inputs` must be a string or an array of strings"),
        ({"inputs": []}, "`inputs` must hold 1 to 2048 strings. Given: 0"),
        ({"inputs": ["a"] * (MAX_INPUTS + 1)}, "`inputs` must hold 1 to 2048 strings. Given: 2049"),
        ({"inputs": "a", "normalize": 1}, "`normalize` must be a boolean"),
        ({"inputs": "a", "prompt_name": "query"}, "`prompt_name` is not supported: the model has no prompts"),
        ({"inputs": "a", "truncation_direction": "Left"}, "`truncation_direction` must be `Right`"),
    ],
)
def test_what_is_wrong_is_a_validation_error(body: JSON, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_compat(body, AROUND)
    reply = fault(caught.value)
    assert (reply.status, reply.body) == (
        422,
        {"error": f"Input validation error: {text}", "error_type": "validation"},
    )


def test_each_input_gets_an_array() -> None:
    question = parse_compat({"inputs": ["a", "b"]}, AROUND)
    assert isinstance(question, Question)
    vectors = tuple(Embedded(at, at, struct.pack("<2f", at, 0.5), 3) for at in range(2))
    assert answer_features(question, vectors, 2.0).body == [[0.0, 0.5], [1.0, 0.5]]


def test_the_other_routes_are_for_models_that_write() -> None:
    assert not isinstance(parse_generate({"inputs": "a"}, AROUND), Question)

"""Listings, version, health, and every error of the house in Ollama's words: sections 1, 9 and 11."""

from __future__ import annotations

import dataclasses
import json
import re

import ollama
import pytest
from ollama_scene import BERT, LIPS, POCKET, serving, surroundings
from tropilla.api.framing import compact
from tropilla.api.surface import Page, Reply, Surroundings, method_of
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.surfaces.ollama.facts import digest_of, parameter_size
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import (
    BodyTooLarge,
    Conflict,
    ContextExceeded,
    Expired,
    GenerationFailed,
    InvalidField,
    InvalidPrompt,
    LimitReached,
    MalformedBody,
    ModelUnavailable,
    Overloaded,
    RequestError,
    ScopeMissing,
    StoreClosed,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownModel,
    UnknownRoute,
    UnsupportedBackend,
    UnsupportedField,
    WorkerLost,
    WrongMethod,
)

NOBODY = Surroundings(Catalogue(), surroundings().settings, surroundings().now)


def page(path: str, around: Surroundings) -> Reply:
    answer = next(route.answer for route in OLLAMA.routes if isinstance(route, Page) and route.path == path)
    return answer(around, {})


def test_the_routes_are_those_of_the_sheet() -> None:
    assert {(method_of(route), route.path) for route in OLLAMA.routes} == {
        ("GET", "/"),
        ("GET", "/api/version"),
        ("GET", "/api/status"),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("POST", "/api/generate"),
        ("POST", "/api/chat"),
        ("POST", "/api/embed"),
        ("POST", "/api/embeddings"),
        ("POST", "/api/show"),
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
    }


def test_tags_lists_each_model_once_and_the_newest_first() -> None:
    twice = dataclasses.replace(surroundings(), catalogue=serving(BERT, POCKET, LIPS, POCKET))
    listed = page("/api/tags", twice).body["models"]
    assert [model["name"] for model in listed] == ["pocket:latest", "Apple/Lips:Code", "bert:latest"]


def test_a_listed_model_has_everything_the_clients_read() -> None:
    (listed,) = page("/api/tags", surroundings(POCKET)).body["models"]
    assert listed == {
        "name": "pocket:latest",
        "model": "pocket:latest",
        "modified_at": "2023-11-14T22:13:20.000000Z",
        "size": 4_000_000,
        "digest": digest_of(POCKET),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "2.30M",
            "quantization_level": "Q8_0",
            "context_length": 4096,
            "embedding_length": 192,
        },
        "capabilities": ["completion"],
    }
    assert ollama.ListResponse.model_validate({"models": [listed]}).models[0].model == "pocket:latest"


def test_what_a_file_does_not_say_is_left_out_or_unknown() -> None:
    bare = dataclasses.replace(
        POCKET, family="", quantization="", trained_context=0, embedding_length=0, capabilities=()
    )
    (listed,) = page("/api/tags", surroundings(bare)).body["models"]
    assert "capabilities" not in listed
    assert listed["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "",
        "families": None,
        "parameter_size": "2.30M",
        "quantization_level": "unknown",
    }


def test_without_a_model_the_list_is_empty_and_not_null() -> None:
    assert page("/api/tags", NOBODY).body == {"models": []}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (8_030_261_248, "8.0B"),
        (7_000_000_000, "7B"),
        (134_515_008, "134.52M"),
        (22_000_000, "22M"),
        (999_999, "1000K"),
        (1_500, "2K"),
        (999, "999"),
        (0, "0"),
    ],
)
def test_parameters_are_counted_as_ollama_counts_them(count: int, text: str) -> None:
    assert parameter_size(count) == text


def test_the_version_is_exactly_one_key() -> None:
    reply = page("/api/version", surroundings(ollama_version="0.12.0"))
    assert compact(reply.body) == b'{"version":"0.12.0"}'
    assert reply.headers == {"Content-Type": "application/json; charset=utf-8"}


def test_the_root_says_that_ollama_is_running_while_somebody_can_answer() -> None:
    reply = page("/", surroundings())
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (
        200,
        "Ollama is running",
        "text/plain; charset=utf-8",
    )
    idle = page("/", NOBODY)
    assert (idle.status, idle.body["error"]) == (503, "no model is ready")


FAULTS: list[tuple[TropillaError, int, str]] = [
    (MalformedBody("unexpected EOF"), 400, "unexpected EOF"),
    (BodyTooLarge("the body is too large"), 413, "the body is too large"),
    (UnknownRoute("GET", "/api/x"), 404, "404 page not found"),
    (WrongMethod("GET", "/api/chat"), 405, "405 method not allowed"),
    (InvalidField("bad {field}", param="x"), 400, "bad {field}"),
    (UnsupportedField("x is not supported yet", param="x"), 400, "x is not supported yet"),
    (UnknownModel("x"), 404, "model 'x' not found"),
    (Conflict("not now"), 409, "not now"),
    (Unauthenticated("no API key was given"), 401, "unauthorized"),
    (ScopeMissing("it needs the scope admin"), 403, "it needs the scope admin"),
    (LimitReached("60 times a minute", retry_after_seconds=7), 429, "60 times a minute"),
    (
        Overloaded("full", retry_after_seconds=7),
        503,
        "server busy, please try again.  maximum pending requests exceeded",
    ),
    (StoreUnavailable("redis://secret: refused"), 503, "the request queue cannot be reached"),
    (StoreClosed("the store is not running"), 503, "the store is not running"),
    (
        ContextExceeded("9 > 8", code="context_length", facts={"prompt_tokens": 9, "context": 8}),
        400,
        "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
        "context length in settings, or use a model with a longer context length",
    ),
    (InvalidPrompt("the template refuses", code="template"), 400, "the template refuses"),
    (ModelUnavailable("no memory"), 500, "no memory"),
    (ModelUnavailable("40 %", retry_after_seconds=9), 503, "40 %"),
    (UnsupportedBackend("vllm"), 501, "vllm"),
    (WorkerLost("worker lost while generating", code="worker_lost"), 500, "worker lost while generating"),
    (Expired("it took too long", code="expired"), 504, "it took too long"),
    (GenerationFailed("bug"), 500, "bug"),
    (RequestError("no"), 400, "no"),
    (TropillaError("broken"), 500, "broken"),
]


@pytest.mark.parametrize(("error", "status", "text"), FAULTS)
def test_every_error_has_a_status_and_one_string(error: TropillaError, status: int, text: str) -> None:
    reply = OLLAMA.fault(error)
    assert (reply.status, reply.body) == (status, {"error": text})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_a_full_queue_says_when_to_come_back() -> None:
    for error in (Overloaded("full", retry_after_seconds=7), LimitReached("60", retry_after_seconds=7)):
        assert OLLAMA.fault(error).headers["Retry-After"] == "7"


def test_a_context_error_is_found_by_the_words_suites_look_for() -> None:
    text = OLLAMA.fault(ContextExceeded("9 > 8", facts={"prompt_tokens": 9, "context": 8})).body["error"]
    assert re.search(r"context", text)
    assert re.search(r"exceed|too large|longer|too long", text)

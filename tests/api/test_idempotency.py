"""Which requests are the same one: words, digests, and what has neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import request
from tropilla.api.idempotency import HEADER, Asked, digest, named, refuse, word
from tropilla.api.surface import Surroundings
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import InvalidField
from tropilla.common.generation import EmbeddingRequest, LoadRequest, Request, TextPrompt, TokenizeRequest
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Terms

TEXTS = (TextPrompt("a"),)
BODY = '{"model": "m", "options": {"a": 1, "b": [1, 2.5, null]}, "text": "\\u00e9"}'


def asked(said: str | None, body: Any = None, route: str = "/say", **path: str) -> Asked:
    headers = {} if said is None else {HEADER.lower(): said}
    around = Surroundings(Catalogue(), Settings(), 0.0, headers, path)
    return Asked(route, lambda body, around: None, body, around)


@pytest.mark.parametrize("said", ["a", "~ !", "x" * 255, '"8e03978e-40d5"'])
def test_a_word_is_printable_ascii(said: str) -> None:
    assert word({"idempotency-key": said}) == said


@pytest.mark.parametrize("said", ["", "x" * 256, "é", "a\x7f", "a\tb"])
def test_what_is_no_word_is_refused_by_its_header(said: str) -> None:
    with pytest.raises(InvalidField, match=HEADER) as caught:
        word({"idempotency-key": said})
    assert caught.value.param == HEADER


def test_without_a_header_there_is_no_word() -> None:
    assert word({}) == ""
    refuse({})


def test_several_requests_in_a_body_have_no_word() -> None:
    with pytest.raises(InvalidField, match="several requests"):
        refuse({"idempotency-key": "a"})
    assert named(NO_TERMS, request(), None) == NO_TERMS


@pytest.mark.parametrize(
    "same",
    [
        '{"text": "\u00e9", "options": {"b": [1, 2.5, null], "a": 1}, "model": "m"}',
        '{"model":"m","options":{"a":1,"b":[1,2.5,null]},"text":"\\u00e9"}',
    ],
)
def test_neither_the_order_of_keys_nor_the_spelling_matters(same: str) -> None:
    assert digest("/say", {}, json.loads(same)) == digest("/say", {}, json.loads(BODY))


@pytest.mark.parametrize(
    ("route", "path", "body"),
    [
        ("/other", {}, BODY),
        ("/say", {"root": "m"}, BODY),
        ("/say", {}, BODY.replace('"m"', '"n"')),
        ("/say", {}, BODY.replace("[1, 2.5, null]", "[2.5, 1, null]")),
        ("/say", {}, BODY.replace("null", "false")),
        ("/say", {}, BODY.replace('"a": 1', '"a": "1"')),
    ],
)
def test_whatever_else_differs_is_another_request(route: str, path: dict[str, str], body: str) -> None:
    assert digest(route, path, json.loads(body)) != digest("/say", {}, json.loads(BODY))


@pytest.mark.parametrize("body", [10**30, float("inf"), "\ud800", [], None])
def test_any_value_has_a_digest(body: Any) -> None:
    assert len(digest("/say", {}, body)) == 64


def test_the_word_is_laid_over_the_terms() -> None:
    terms = named(Terms("k", "batch", 2.0), request(), asked("one", {"a": 1}, root="m"))
    assert terms == Terms("k", "batch", 2.0, "one", digest("/say", {"root": "m"}, {"a": 1}))
    assert named(NO_TERMS, EmbeddingRequest("r", "m", TEXTS), asked("one")).idempotency == "one"


@pytest.mark.parametrize(
    ("quiet", "said"),
    [(request(), None), (TokenizeRequest("r", "m", TEXTS), "one"), (LoadRequest("r", "m"), "one")],
    ids=["no header", "tokens are counted", "a model is loaded"],
)
def test_what_needs_no_word_has_none(quiet: Request, said: str | None) -> None:
    assert named(NO_TERMS, quiet, asked(said)) == NO_TERMS

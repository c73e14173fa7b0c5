"""What HTTP headers say of a request's place."""

from __future__ import annotations

import pytest
from fakes import request
from tropilla.api.admission import queued, refusal, terms
from tropilla.common.errors import InvalidField, LimitReached
from tropilla.common.generation import (
    EmbeddingRequest,
    LoadRequest,
    Request,
    TextPrompt,
    TokenizeRequest,
)
from tropilla.common.keys import Limits, Principal
from tropilla.common.terms import NO_TERMS, Priority

PROMPTS = (TextPrompt("a"),)


def test_whoever_asks_does_so_within_his_own_limits() -> None:
    limits = Limits(max_queue=3, tokens_per_day=100)
    found = terms({}, request(), principal=Principal("key_1", limits=limits))
    assert (found.key, found.limits) == ("key_1", limits)
    assert terms({}, request()) == NO_TERMS


@pytest.mark.parametrize(
    ("header", "said", "found"),
    [
        (None, None, "normal"),
        (None, "batch", "batch"),
        ("batch", None, "batch"),
        ("interactive", "batch", "interactive"),
        (" Normal ", "interactive", "normal"),
    ],
)
def test_the_header_says_how_urgent_it_is_and_else_the_body(
    header: str | None, said: Priority | None, found: Priority
) -> None:
    headers = {} if header is None else {"x-priority": header}
    assert terms(headers, request(), said).priority == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (TokenizeRequest("r", "m", PROMPTS), "interactive"),
        (LoadRequest("r", "m"), "interactive"),
        (EmbeddingRequest("r", "m", PROMPTS), "batch"),
    ],
)
def test_what_computes_nothing_waits_for_nobody(asked: Request, found: Priority) -> None:
    assert terms({"x-priority": "batch"}, asked).priority == found


@pytest.mark.parametrize("word", ["", "high", "1", "interactive,batch", "nórmal"])
@pytest.mark.parametrize("asked", [request(), LoadRequest("r", "m")], ids=["generation", "load"])
def test_other_words_are_refused_by_the_headers_name(word: str, asked: Request) -> None:
    with pytest.raises(InvalidField) as caught:
        terms({"x-priority": word}, asked)
    assert caught.value.param == "X-Priority"
    assert "interactive, normal, batch" in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2.5", 2.5),
        ("2.5s", 2.5),
        ("1500ms", 1.5),
        (" 3 s ", 3.0),
        (".5", 0.5),
        ("7.", 7.0),
        ("999999999", 999999999.0),
    ],
)
def test_a_deadline_is_in_seconds(text: str, seconds: float) -> None:
    assert terms({"x-request-deadline": text}, request()).deadline_seconds == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0ms", "-1", "+1", "1e3", "nan", "inf", "2m", "2,5", "٣", ".", "1s5", "1234567890", "2.5 s s", "ms"],
)
def test_other_deadlines_are_refused_by_the_headers_name(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        terms({"x-request-deadline": text}, request())
    assert caught.value.param == "X-Request-Deadline"


def test_who_says_nothing_is_nobody_in_no_hurry() -> None:
    assert terms({"content-type": "application/json"}, request()) == NO_TERMS


@pytest.mark.parametrize(
    ("outcome", "number", "wait", "text", "seconds"),
    [
        ("model", 512, 40.4, "the queue of m is full (512 waiting)", 40),
        ("key", 8, 0.2, "the queue of this API key is full (8 waiting)", 1),
        ("all", 4096, None, "the queue of all models together is full (4096 waiting)", 1024),
        (
            "model_share",
            384,
            40.4,
            "this API key has 384 requests waiting for m; the places that are left there are for others until some of its "
            "own have begun",
            40,
        ),
        (
            "all_share",
            3072,
            None,
            "this API key has 3072 requests waiting, of all models together; the places that are left are for others until "
            "some of its own have begun",
            768,
        ),
        ("model", 1, None, "the queue of m is full (1 waiting)", 1),
        ("late", 7, 9.26, "it could not begin within 2.5 s: 7 go first, which takes about 9.3 s", 7),
        ("late", 1, 2.6, "it could not begin within 2.5 s: 1 go first, which takes about 2.6 s", 1),
        # Rounded up: before the time is over it would be refused again.
        ("requests", 60, 11.2, "this API key may ask 60 times a minute", 12),
        ("requests", 1, 0.001, "this API key may ask 1 times a minute", 1),
        (
            "tokens",
            500,
            3600.5,
            "this API key has used up the 500 tokens that it may take in a day, until midnight UTC",
            3601,
        ),
    ],
)
def test_whoever_may_not_wait_hears_why_and_when_to_come_again(
    outcome: str, number: int, wait: float | None, text: str, seconds: int
) -> None:
    refused = refusal(outcome, number, wait, model="m", deadline_seconds=2.5)
    assert refused is not None
    assert (refused.message, refused.retry_after_seconds) == (text, seconds)


@pytest.mark.parametrize("outcome", ["requests", "tokens"])
def test_a_limit_of_ones_own_is_told_from_a_server_that_is_busy(outcome: str) -> None:
    refused = refusal(outcome, 3, 1.0, model="m", deadline_seconds=9)
    assert isinstance(refused, LimitReached)
    assert refused.limit == outcome


@pytest.mark.parametrize("outcome", ["admitted", "joined", "conflict"])
def test_a_place_is_no_refusal(outcome: str) -> None:
    assert refusal(outcome, 3, 1.0, model="m", deadline_seconds=9) is None


@pytest.mark.parametrize(
    ("before", "seconds", "text"),
    [
        (3, 4.4, "queued, 3 before you, about 4 s"),
        (1, 0.2, "queued, 1 before you, about 1 s"),
        (2, None, "queued, 2 before you"),
        (0, 0.0, "queued, 0 before you"),
    ],
)
def test_a_place_is_told_in_a_line(before: int, seconds: float | None, text: str) -> None:
    assert queued(before, seconds) == text

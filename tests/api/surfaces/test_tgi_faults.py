"""Every error in TGI's words, and the pages, by the sheet's sections 2, 4 and 8."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import POCKET
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.tgi.fault import broken_stream, fault
from tropilla.api.surfaces.tgi.pages import health, info
from tropilla.common.catalogue import Catalogue, State, Worker
from tropilla.common.errors import (
    BodyTooLarge,
    ConfigurationError,
    Conflict,
    ContextExceeded,
    Expired,
    ForbiddenHost,
    ForbiddenOrigin,
    GenerationFailed,
    InvalidField,
    InvalidPrompt,
    LimitReached,
    MalformedBody,
    ModelUnavailable,
    Overloaded,
    ScopeMissing,
    StoreClosed,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownModel,
    UnknownRoute,
    UnknownStream,
    UnreadableBody,
    UnsupportedBackend,
    UnsupportedField,
    WorkerLost,
    WrongMethod,
)
from tropilla.common.settings import Settings

SUM = {"prompt_tokens": 1, "context": 6, "max_tokens": 10}

FAULTS: list[tuple[TropillaError, int, str, str]] = [
    (MalformedBody("not JSON"), 422, "validation", "Input validation error: not JSON"),
    (InvalidField("bad", param="inputs"), 422, "validation", "Input validation error: bad"),
    (UnsupportedField("no", param="parameters.grammar"), 422, "validation", "Input validation error: no"),
    (InvalidPrompt("odd", code="invalid_prompt"), 422, "validation", "Input validation error: odd"),
    (InvalidPrompt("odd", code="template"), 422, "template_error", "Template error: odd"),
    (
        ContextExceeded("", code="context_length", facts=SUM),
        422,
        "validation",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 6. "
        "Given: 1 `inputs` tokens and 10 `max_new_tokens`",
    ),
    (
        ContextExceeded("", code="context_length", facts={"prompt_tokens": 120, "context": 100}),
        422,
        "validation",
        "Input validation error: `inputs` must have less than 99 tokens. Given: 120",
    ),
    (BodyTooLarge("too big"), 413, "validation", "too big"),
    (UnreadableBody("packed"), 415, "validation", "packed"),
    (ForbiddenOrigin("http://e"), 403, "forbidden", "pages of http://e may not use this server"),
    (
        ForbiddenHost("e"),
        403,
        "forbidden",
        "this server is not called 'e': where callers need no key it answers to addresses and names of its own machine "
        "alone, and to those in TROPILLA_HOSTS",
    ),
    (Unauthenticated("no key"), 401, "unauthorized", "no key"),
    (ScopeMissing("not so"), 403, "forbidden", "not so"),
    (LimitReached("60 a minute", retry_after_seconds=3), 429, "overloaded", "60 a minute"),
    (UnknownRoute("GET", "/x"), 404, "not_found", "unknown route GET /x"),
    (UnknownStream("x"), 404, "not_found", "there is no stream 'x', or not any more"),
    (WrongMethod("GET", "/generate"), 405, "method_not_allowed", "Method not allowed"),
    (UnknownModel("x"), 404, "not_found", "model 'x' not found"),
    (Conflict("not now"), 409, "conflict", "not now"),
    (Overloaded("full", retry_after_seconds=3), 429, "overloaded", "Model is overloaded"),
    (StoreClosed("the store is not running"), 500, "unavailable", "The request queue cannot be reached"),
    (StoreUnavailable("redis://:secret@h"), 500, "unavailable", "The request queue cannot be reached"),
    (GenerationFailed("oh {no}"), 424, "generation", "Request failed during generation: oh {no}"),
    (ModelUnavailable("no memory"), 424, "generation", "no memory"),
    (UnsupportedBackend("vllm"), 501, "generation", "vllm"),
    (Expired("no answer within 2 s", code="expired"), 504, "timeout", "no answer within 2 s"),
    (WorkerLost("gone", code="worker_lost"), 500, "incomplete_generation", "Incomplete generation"),
    (ConfigurationError("secret"), 500, "internal", "Internal server error"),
]


@pytest.mark.parametrize(
    ("error", "status", "slug", "text"), FAULTS, ids=[type(error).__name__ for error, *_ in FAULTS]
)
def test_every_error_has_a_status_a_slug_and_a_text(error: TropillaError, status: int, slug: str, text: str) -> None:
    reply = fault(error)
    assert (reply.status, reply.body) == (status, {"error": text, "error_type": slug})


def test_the_table_above_names_every_error_there_is() -> None:
    def below(kind: type[TropillaError]) -> Iterator[type[TropillaError]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    abstract = {"RequestError", "DecodeError", "NewerMessage"}
    told = {kind for kind in below(TropillaError) if kind.__module__ == TropillaError.__module__}
    assert {kind.__name__ for kind in told} - abstract <= {type(error).__name__ for error, *_ in FAULTS}


def test_no_error_is_ever_503_for_a_client_would_repeat_it_without_end() -> None:
    assert all(fault(error).status != 503 for error, *_ in FAULTS)


def test_a_full_queue_says_when_to_come_back() -> None:
    assert fault(Overloaded("full", retry_after_seconds=3)).headers == {"Retry-After": "3"}


def test_only_a_lost_worker_has_other_words_inside_a_stream() -> None:
    for error, *_ in FAULTS:
        changed = broken_stream(error) != fault(error).body
        assert changed is isinstance(error, WorkerLost)


def surroundings(*states: State) -> Surroundings:
    workers = tuple(Worker(name=f"w{at}", flavour="cpu", state=s, slots=1, model=POCKET) for at, s in enumerate(states))
    return Surroundings(Catalogue(workers), Settings(), 0.0)


def test_health_is_empty_while_a_worker_is_ready_and_503_otherwise() -> None:
    healthy = health(surroundings("ready", "loading"), {})
    assert (healthy.status, healthy.body) == (200, "")
    for around in (surroundings(), surroundings("loading", "draining")):
        ill = health(around, {})
        assert (ill.status, ill.body) == (503, {"error": "unhealthy", "error_type": "healthcheck"})


def test_info_has_every_key_of_the_seed() -> None:
    assert info(surroundings("ready"), {}).body == {
        "model_id": "pocket",
        "model_sha": POCKET.digest,
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": 1024,
        "max_best_of": 2,
        "max_stop_sequences": 4,
        "max_top_n_tokens": 5,
        "max_input_tokens": 2047,
        "max_total_tokens": 2048,
        "validation_workers": 1,
        "max_client_batch_size": 16,
        "adapters": (),
        "router": "text-generation-router",
        "version": "3.3.6-dev0",
        "sha": None,
        "docker_label": None,
    }


def test_info_of_nothing_is_not_found() -> None:
    with pytest.raises(UnknownModel):
        info(surroundings(), {})

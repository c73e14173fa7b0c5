"""What is written down of an HTTP request: its line, its span, and what is in neither."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fakes import Clock, request
from tropilla.api.diary import Diary, Entry
from tropilla.api.watch import PULSE, ClientGone
from tropilla.common.errors import InvalidField, StoreUnavailable
from tropilla.common.generation import (
    ChatPrompt,
    Embedded,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    Loaded,
    LoadRequest,
    Message,
    Request,
    Sampling,
    TextPrompt,
    Timings,
    Token,
    Tokenized,
    TokenizeRequest,
    Usage,
)
from tropilla.common.settings import Settings
from tropilla.common.spans import Place, Span

ABOVE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "xyzzyplugh"
TIMINGS = Timings(prefill=0.5, decode=1.0)


class Told:
    """A collector that keeps what it is told, and knows one place."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.above: Place | None = None

    def begin(self, parent: Place | None) -> Place:
        self.above = parent
        return Place(parent.trace if parent else "ab" * 16, "cd" * 8)

    def tell(self, spans: Any) -> None:
        self.spans += spans

    def close(self) -> None:
        pass


class Scene:
    def __init__(self, method: str = "POST", traceparent: str = ABOVE) -> None:
        self.clock, self.told = Clock(), Told()
        self.entry: Entry = Diary(Settings(), self.told, self.clock).open(method, traceparent)

    def hear(self, asked: Request, *events: Event, streams: bool = False) -> None:
        self.entry.streams = streams
        self.entry.ask(asked, "k")
        for event in events:
            self.clock.advance(1)
            self.entry.hear(event, asked)

    def close(self, status: int = 200, route: str = "/v1/chat/completions") -> dict[str, Any]:
        facts: list[dict[str, Any]] = []

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                facts.append(record.facts)  # type: ignore[attr-defined]

        logger, handler = logging.getLogger("tropilla.api.diary"), Handler()
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            self.entry.close(route=route, dialect="openai", status=status, request_id="req_r")
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
        return facts[0] if facts else {}


def finished(choice: int = 0, prompt: int = 5) -> Finished:
    return Finished(9, choice, "length", Usage(prompt, 2, 10), seed=0, timings=TIMINGS)


CHAT = request(
    prompts=(ChatPrompt((Message("user", SECRET),)),),
    sampling=Sampling(temperature=0.5, top_p=0.9, seed=3),
    max_tokens=10,
)


def test_a_stream_that_ends_has_all_its_numbers() -> None:
    scene = Scene()
    scene.clock.advance(0.25)
    scene.hear(CHAT, PULSE, Token(0, 0, 1, SECRET), Token(1, 0, 1, SECRET), finished(), streams=True)  # type: ignore[arg-type]
    line = scene.close()
    assert line == {
        "request_id": "req_r",
        "model": "m",
        "request": {
            "method": "POST",
            "route": "/v1/chat/completions",
            "dialect": "openai",
            "status": 200,
            "outcome": "completed",
            "seconds": 4.25,
            "key": "k",
            "model": "m",
            "prompt_tokens": 5,
            "cached_tokens": 2,
            "generated_tokens": 10,
            "queue_seconds": 1.5,
            "ttft_seconds": 2.25,
        },
    }
    (span,) = scene.told.spans
    assert (span.name, span.kind, span.error, span.end - span.start) == ("chat m", "server", "", 4_250_000_000)
    assert span.parent == Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") == scene.told.above
    assert span.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "tropilla.dialect": "openai",
        "tropilla.outcome": "completed",
        "gen_ai.provider.name": "tropilla",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.response.id": "r",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.response.time_to_first_chunk": 2.25,
    }
    assert SECRET not in str((line, span))


def test_the_choices_of_a_prompt_share_it() -> None:
    scene = Scene()
    asked = request(prompts=(TextPrompt("a"), TextPrompt("b")), n=2)
    scene.hear(asked, *(finished(choice) for choice in range(4)))
    told = scene.close()["request"]
    assert (told["prompt_tokens"], told["cached_tokens"], told["generated_tokens"]) == (10, 4, 40)
    assert scene.told.spans[0].name == "text_completion m"
    assert scene.told.spans[0].attributes["gen_ai.request.choice.count"] == 4


def test_vectors_have_prompts_only() -> None:
    scene = Scene()
    asked = EmbeddingRequest("e", "m", (TextPrompt("a"),))
    scene.hear(asked, Embedded(0, 0, b"", 7))
    told = scene.close(route="/v1/embeddings")["request"]
    assert (told["outcome"], told["prompt_tokens"], told["generated_tokens"]) == ("completed", 7, 0)
    assert scene.told.spans[0].name == "embeddings m"


@pytest.mark.parametrize(
    ("error", "status", "outcome", "bad"),
    [
        (InvalidField("x", param="x"), 400, "refused:invalid_field", ""),
        (StoreUnavailable("Redis is at 10.0.0.1"), 500, "failed:store_unavailable", "store_unavailable"),
        (ClientGone(), 499, "dropped", ""),
        (None, 404, "refused:404", ""),
        (None, 500, "failed:500", "500"),
        (None, 200, "completed", ""),
    ],
)
def test_how_it_ended_is_one_word(error: BaseException | None, status: int, outcome: str, bad: str) -> None:
    scene = Scene()
    if error is not None:
        scene.entry.fail(error)
    assert scene.close(status)["request"]["outcome"] == outcome
    assert scene.told.spans[0].error == bad


def test_a_stream_that_fails_on_its_way_has_failed_though_its_status_is_200() -> None:
    scene = Scene()
    scene.hear(CHAT, Token(0, 0, 1, "a"), Failed(1, "worker_crashed", SECRET), streams=True)
    line = scene.close()
    assert line["request"]["outcome"] == "failed:worker_crashed"
    assert scene.told.spans[0].error == "worker_crashed"
    assert SECRET not in str((line, scene.told.spans))


def test_a_stream_that_nobody_takes_to_its_end_is_dropped() -> None:
    scene = Scene()
    scene.hear(CHAT, Token(0, 0, 1, "a"), streams=True)
    assert scene.close()["request"]["outcome"] == "dropped"


def test_pages_that_are_looked_at_all_the_time_are_no_news() -> None:
    scene = Scene("GET")
    assert (scene.entry.traceparent, scene.close(route="/readyz"), scene.told.spans) == ("", {}, [])
    assert Scene("GET").close(500, "/readyz")["request"]["outcome"] == "failed:500"


def test_a_header_that_is_no_trace_context_begins_a_trace() -> None:
    scene = Scene(traceparent="nonsense")
    scene.close()
    assert (scene.told.above, scene.told.spans[0].parent) == (None, None)


def test_what_is_only_counted_or_loaded_comes_to_its_end_too() -> None:
    for asked, event in (
        (TokenizeRequest("t", "m", (TextPrompt("a"),)), Tokenized(0, 0, (), "a")),
        (LoadRequest("l", "m"), Loaded(0, 0, 0.5)),
    ):
        scene = Scene()
        scene.hear(asked, event)
        assert scene.close(route="/tokenize")["request"]["outcome"] == "completed"
        assert scene.told.spans[0].name == "POST /tokenize"


def test_who_joins_what_was_asked_before_has_asked_for_one_thing() -> None:
    scene = Scene()
    scene.entry.ask(CHAT, "k")
    scene.entry.ask(request("before", prompts=CHAT.prompts), "", joins=True)
    scene.entry.hear(finished(), CHAT)
    line = scene.close()
    assert (line["request_id"], line["request"]["outcome"]) == ("req_before", "completed")
    assert (line["request"]["client_request_id"], line["request"]["key"]) == ("req_r", "k")

"""What lies around the dialects, over a real socket: browsers' questions, packed bodies, signs of life, a full queue."""

from __future__ import annotations

import gzip
import itertools
import json
from contextlib import ExitStack

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, post

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("path", "status"), [(OPENAI, 200), (OLLAMA, 204), (TGI, 200), ("/v1/nothing", 200)])
def test_a_browser_may_ask(herd: Herd, path: str, status: int) -> None:
    asked = {
        "Origin": "https://chat.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
    }
    with Answer(herd, path, b"", "OPTIONS", asked) as answer:
        assert (answer.status, answer.text()) == (status, "")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "x-stainless-os" in answer.headers["Access-Control-Allow-Headers"]


def test_a_stream_may_be_read_by_a_page(herd: Herd) -> None:
    body = json.dumps(ask(OPENAI, "a", "pocket", tokens=2)).encode()
    with Answer(herd, OPENAI, body, headers={**JSON, "Origin": "https://chat.example.com"}) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert list(answer.items())[-1] == "[DONE]"


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/health", "/v1/health"])
def test_head_is_get_without_a_body(herd: Herd, path: str) -> None:
    with Answer(herd, path, b"", "HEAD") as head, Answer(herd, path, b"", "GET") as got:
        assert (head.status, head.text()) == (200, "")
        assert head.headers["Content-Length"] == str(len(got.text().encode()))


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_a_packed_body_is_unpacked(herd: Herd, path: str) -> None:
    body = gzip.compress(json.dumps(ask(path, "The capital of France is", "pocket", tokens=3)).encode())
    with Answer(herd, path, body, headers={**JSON, "Content-Encoding": "gzip"}) as answer:
        assert answer.status == 200
        assert len(list(answer.items())) >= 3
    with Answer(herd, path, body, headers={**JSON, "Content-Encoding": "zstd"}) as answer:
        assert answer.status == 415
        assert "zstd" in answer.text()


@pytest.mark.parametrize("path", [OPENAI, TGI])
def test_a_body_of_another_type_is_refused(herd: Herd, path: str) -> None:
    with Answer(herd, path, b"a=b", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
        assert "text/plain" in answer.json()["error"]["message" if path == OPENAI else slice(None)]


@pytest.fixture
def crowded(make_herd: HerdMaker) -> Herd:
    """One slot, one place to wait, impatient to say that it lives."""
    herd = make_herd(slots=1, max_queue=1, heartbeat_seconds=0.5)
    herd.start_worker()
    herd.start_api()
    return herd


def test_a_stream_that_waits_says_that_it_lives_and_one_too_many_is_sent_away(crowded: Herd) -> None:
    with ExitStack() as open_answers:
        running = open_answers.enter_context(post(crowded, OPENAI, ask(OPENAI, "a", "endless", tokens=5000)))
        next(running.items())
        # Two wait with the worker, which has their prompts ready; one waits in the queue.
        for _ in range(3):
            waiting = open_answers.enter_context(post(crowded, OPENAI, ask(OPENAI, "b", "endless", tokens=2)))
            assert waiting.status == 200
            assert list(itertools.islice(waiting.lines(), 2)) == [b":", b":"]
        refused = open_answers.enter_context(post(crowded, OPENAI, ask(OPENAI, "c", "endless", tokens=2)))
        assert refused.status == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        running.close()
        assert list(waiting.items())[-1] == "[DONE]"

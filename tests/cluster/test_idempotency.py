"""One Idempotency-Key is one request, whoever asks, where and how often: two API processes, in every dialect."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import openai
import psutil
import pytest
from cluster.herd import Herd, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, text_of
from tropilla.common import names

CALLERS = 100
WHOLE, VECTORS = "/generate", "/api/embed"
TEXTS = ["the cat sat", "on the mat"]
#: Enough to be in the middle of it for a while.
TOKENS = 120
#: How long a worker bears with nobody listening.
ORPHAN_SECONDS = 1.5
#: What Ollama measures anew for each who asks.
TIMES = {"created_at", "total_duration", "load_duration"}
#: One for each test, so that none finds another's.
WORDS = count()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Herd]:
    """Two API processes behind one port."""
    times = {"lease_seconds": 1, "stall_seconds": 0.3, "orphan_seconds": ORPHAN_SECONDS}
    herd = Herd(tmp_path_factory.mktemp("twins"), model=endless_model, context=8192, slots=4, threads=1, **times)
    try:
        herd.start_worker(ready=False)
        api = herd.start_api(api_processes=2)
        wait_for(lambda: herd.bus.catalogue().models, "the model")
        wait_for(lambda: len(psutil.Process(api.pid).children()) == 2, "both API processes")
        yield herd
    finally:
        herd.stop()


def a_word() -> str:
    return f"word {next(WORDS)}"


def body(path: str, tokens: int = 8) -> dict[str, Any]:
    if path == VECTORS:
        return {"model": "endless", "input": TEXTS}
    dialect, stream = (TGI, False) if path == WHOLE else (path, True)
    return ask(dialect, "a", "endless", tokens=tokens, stream=stream, temperature=0.0)


def post(herd: Herd, path: str, word: str, tokens: int = TOKENS, key: str = "", **more: Any) -> Answer:
    headers = {"Idempotency-Key": word, **({"Authorization": f"Bearer {key}"} if key else {})}
    return Answer(herd, path, json.dumps({**body(path, tokens), **more}).encode(), headers=headers)


def told(path: str, data: str) -> list[Any]:
    """What an answer says, line by line: without comments, and without Ollama's times."""
    lines = [line for line in data.splitlines() if line and not line.startswith(":")]
    if path not in (OLLAMA, VECTORS):
        return lines
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def rows(herd: Herd) -> list[dict[bytes, bytes]]:
    """Of the ledger, the last one first."""
    found: Any = herd.redis.xrevrange(names.LEDGER_KEY)
    return [fields for _, fields in found]


@pytest.mark.parametrize(
    "asked",
    [(OPENAI, {}), (OPENAI, {"stream": False}), (OLLAMA, {}), (WHOLE, {}), (VECTORS, {})],
    ids=["openai stream", "openai whole", "ollama stream", "tgi whole", "ollama vectors"],
)
def test_a_hundred_at_once_are_one_request_and_one_answer(twins: Herd, asked: tuple[str, dict[str, Any]]) -> None:
    (path, more), word, before = asked, a_word(), len(rows(twins))
    sent, headers, together = {**body(path), **more}, {"Idempotency-Key": word}, threading.Barrier(CALLERS)
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=twins.base_url, timeout=60, limits=limits) as client:

        def call(_: int) -> httpx.Response:
            together.wait()
            return client.post(path, json=sent, headers=headers)

        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(call, range(CALLERS)))
        again = client.post(path, json=dict(reversed(sent.items())), headers=headers)
        other = client.post(path, json={**sent, "user": "somebody else"}, headers=headers)
    assert {answer.status_code for answer in answers} == {200}
    expected = told(path, answers[0].text)
    assert all(told(path, answer.text) == expected for answer in [*answers, again])
    assert sum("Idempotent-Replayed" not in answer.headers for answer in [*answers, again]) == 1
    assert (other.status_code, "Idempotency-Key" in other.text) == (409, True)
    row, *earlier = rows(twins)
    assert (row[b"outcome"], row[b"attempts"], len(earlier)) == (b"completed", b"1", before)


@pytest.fixture(scope="module")
def undisturbed(twins: Herd) -> str:
    with post(twins, OPENAI, a_word()) as answer:
        return text_of(OPENAI, list(answer.items()))


def test_a_stream_that_its_caller_left_in_the_middle_goes_on_for_his_next_try(twins: Herd, undisturbed: str) -> None:
    word, before = a_word(), len(rows(twins))
    with post(twins, OPENAI, word) as answer:
        next(answer.items())
    with post(twins, OPENAI, word) as stays:
        assert (stays.status, stays.headers["Idempotent-Replayed"]) == (200, "true")
        for _ in range(4):
            with post(twins, OPENAI, word) as leaves:
                next(leaves.items())
        assert text_of(OPENAI, list(stays.items())) == undisturbed
    row, *earlier = rows(twins)
    assert (row[b"outcome"], row[b"attempts"], len(earlier)) == (b"completed", b"1", before)


def test_a_whole_answer_that_its_caller_did_not_wait_for_is_there_for_his_next_try(
    twins: Herd, undisturbed: str
) -> None:
    word, before = a_word(), len(rows(twins))
    impatient = http.client.HTTPConnection("127.0.0.1", twins.api_port)
    impatient.request("POST", WHOLE, json.dumps(body(WHOLE, TOKENS)), {"Idempotency-Key": word})
    wait_for(lambda: twins.redis.exists(names.idempotency_key("", word)), "the request to be admitted")
    impatient.close()
    with post(twins, WHOLE, word) as answer:
        assert (answer.status, answer.headers["Idempotent-Replayed"]) == (200, "true")
        assert answer.json()["generated_text"] == undisturbed
    assert len(rows(twins)) == before + 1


def test_what_nobody_comes_back_for_is_given_up_and_the_word_is_free_again(twins: Herd) -> None:
    word = a_word()
    with post(twins, OPENAI, word, tokens=8000) as answer:
        next(answer.items())
        asked = answer.headers["x-stream-id"]
    wait_for(lambda: rows(twins)[0][b"request"] == asked.encode(), "the worker to give it up")
    assert rows(twins)[0][b"outcome"] == b"cancelled"
    with post(twins, OPENAI, word, tokens=8000) as answer:
        next(answer.items())
        assert "Idempotent-Replayed" not in answer.headers
        anew = answer.headers["x-stream-id"]
    assert anew != asked
    # The next test is to have the worker for itself.
    twins.room.cancel(anew, seconds=60, journal_seconds=60)
    wait_for(lambda: rows(twins)[0][b"request"] == anew.encode(), "the worker to drop it")


def test_a_word_is_its_keys_own(twins: Herd) -> None:
    word = a_word()
    found = []
    for key in ("one", "two", ""):
        with post(twins, WHOLE, word, tokens=2, key=key) as answer:
            answer.data()
            found.append((answer.status, answer.headers["Idempotent-Replayed"], answer.request_id))
    assert [(status, replayed) for status, replayed, _ in found] == [(200, None)] * 3
    assert len({request_id for *_, request_id in found}) == 3


def test_the_official_client_gets_the_same_completion_or_a_conflict(twins: Herd) -> None:
    headers = {"Idempotency-Key": a_word()}
    asked: dict[str, Any] = {"model": "endless", "prompt": "a", "max_tokens": 3, "extra_headers": headers}
    with openai.OpenAI(base_url=f"{twins.base_url}/v1", api_key="none") as client:
        assert client.completions.create(**asked) == client.completions.create(**asked)
        with pytest.raises(openai.ConflictError) as caught:
            client.completions.create(**{**asked, "max_tokens": 4})
        with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
            client.completions.create(**{**asked, "extra_headers": {"Idempotency-Key": "x" * 256}})
    assert (caught.value.param, caught.value.response.headers["x-should-retry"]) == ("Idempotency-Key", "false")


def test_the_next_try_finds_what_was_asked_at_a_process_that_was_killed(twins: Herd, undisturbed: str) -> None:
    word = a_word()
    with post(twins, OPENAI, word) as answer:
        next(answer.items())
        stream = answer.headers["x-stream-id"]
        os.kill(server_of(twins, answer), signal.SIGKILL)
    with post(twins, OPENAI, word) as again:
        assert (again.headers["Idempotent-Replayed"], again.headers["x-stream-id"]) == ("true", stream)
        assert text_of(OPENAI, list(again.items())) == undisturbed


def server_of(herd: Herd, answer: Answer) -> int:
    """The API process at the other end of the connection."""
    port = answer.local_port
    (pid,) = {
        child.pid
        for process in herd.processes
        if process.name == "api"
        for child in psutil.Process(process.pid).children()
        if any(c.raddr and c.raddr.port == port for c in child.net_connections())
    }
    return pid

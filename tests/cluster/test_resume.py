"""API processes are killed under their streams: any other one tells the rest, in every dialect."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, get, post, text_of

TOKENS = 250
MESSAGES = "/v1/messages"


@pytest.fixture
def twins(make_herd: HerdMaker) -> Herd:
    """Two API processes behind one port."""
    herd = make_herd()
    herd.start_worker()
    api = herd.start_api(api_processes=2)
    wait_for(lambda: len(psutil.Process(api.pid).children()) == 2, "both API processes")
    return herd


def body(path: str) -> dict[str, Any]:
    if path == MESSAGES:
        asked = {"model": "endless", "max_tokens": TOKENS, "temperature": 0.0, "stream": True}
        return {**asked, "messages": [{"role": "user", "content": "a"}]}
    return ask(path, "a", "endless", tokens=TOKENS, temperature=0.0)


def said(path: str, items: list[Any]) -> str:
    if path == MESSAGES:
        return "".join(item["delta"].get("text", "") for item in items if item["type"] == "content_block_delta")
    return text_of(path, items)


def kill_server_of(herd: Herd, answer: Answer, number: int = signal.SIGKILL) -> None:
    """The API process at the other end of the connection."""
    port = answer.local_port
    (pid,) = {
        child.pid
        for process in herd.processes
        if process.name == "api"
        for child in psutil.Process(process.pid).children()
        if any(c.raddr and c.raddr.port == port for c in child.net_connections())
    }
    os.kill(pid, number)


def until_broken(items: Iterator[Any]) -> Iterator[Any]:
    """What still arrives: bytes that had left before the kill, and no torn item."""
    try:
        yield from items
    except (http.client.IncompleteRead, ConnectionError):
        return


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI, MESSAGES])
def test_a_stream_whose_api_process_is_killed_goes_on_at_another(twins: Herd, path: str) -> None:
    with post(twins, path, body(path)) as answer:
        expected = list(answer.items())
    with post(twins, path, body(path)) as answer:
        items = answer.items()
        first = [next(items) for _ in range(5)]
        kill_server_of(twins, answer)
        first += until_broken(items)
        stream = answer.headers["x-stream-id"]
    assert len(first) < len(expected)
    with get(twins, f"/v1/streams/{stream}?from={len(first)}") as rest:
        assert rest.status == 200
        assert rest.headers["Content-Type"] == answer.headers["Content-Type"]
        whole = [*first, *rest.items()]
    assert said(path, whole) == said(path, expected)
    assert len(whole) == len(expected)
    if path == OPENAI:
        assert len({item["id"] for item in whole if item != "[DONE]"}) == 1


def test_a_client_that_says_where_it_was_in_last_event_id_hears_the_rest(twins: Herd) -> None:
    with post(twins, OPENAI, body(OPENAI)) as answer:
        expected = list(answer.items())
    with post(twins, OPENAI, body(OPENAI)) as answer:
        lines = answer.lines()
        heard = [next(lines) for _ in range(10)]
        kill_server_of(twins, answer)
    place = [line for line in heard if line.startswith(b"id: ")][-1].removeprefix(b"id: ").decode()
    with Answer(twins, OPENAI, b"{}", headers={"Last-Event-ID": place}) as rest:
        items = list(rest.items())
    # Ten lines are five frames: data and id.
    assert place.endswith(".5")
    assert text_of(OPENAI, items) == text_of(OPENAI, expected[5:])
    assert (len(items), items[-1]) == (len(expected) - 5, "[DONE]")


def test_a_stream_that_a_leaving_process_has_cut_goes_on_at_another(twins: Herd) -> None:
    with post(twins, OPENAI, {**body(OPENAI), "max_tokens": 5 * TOKENS}) as answer:
        lines = answer.lines()
        heard = [next(lines)]
        kill_server_of(twins, answer, signal.SIGTERM)
        heard += lines
        stream = answer.headers["x-stream-id"]
    *told, error = (json.loads(line.removeprefix(b"data: ")) for line in heard if line.startswith(b"data: {"))
    assert "shutting down" in error["error"]["message"]
    places = [line.removeprefix(b"id: ").decode() for line in heard if line.startswith(b"id: ")]
    assert len(places) == len(told)
    with Answer(twins, OPENAI, b"{}", headers={"Last-Event-ID": places[-1]}) as rest:
        whole = [*told, *rest.items()]
    assert whole[-2]["choices"][0]["finish_reason"] == "length"
    with get(twins, f"/v1/streams/{stream}") as again:
        assert [item["choices"] for item in again.items() if item != "[DONE]"] == [i["choices"] for i in whole[:-1]]


def test_a_stream_that_has_ended_can_be_heard_again(twins: Herd) -> None:
    with post(twins, TGI, body(TGI)) as answer:
        items = list(answer.items())
        stream = answer.headers["x-stream-id"]
    with get(twins, f"/v1/streams/{stream}") as again:
        assert list(again.items()) == items
    with get(twins, f"/v1/streams/{stream}?from={len(items)}") as nothing:
        assert (nothing.status, list(nothing.items())) == (200, [])


def test_a_stream_nobody_comes_back_to_is_dropped(make_herd: HerdMaker) -> None:
    herd = make_herd(orphan_seconds=1)
    herd.start_worker()
    herd.start_api(api_processes=2)
    with post(herd, OLLAMA, ask(OLLAMA, "a", "endless", tokens=-1)) as answer:
        next(answer.items())
        kill_server_of(herd, answer)
        stream = answer.headers["x-stream-id"]
    wait_for(lambda: not list(herd.redis.scan_iter("tropilla:request:*:lease")), "the worker to drop it")
    with get(herd, f"/v1/streams/{stream}") as again:
        # What was said is told, and that it is not all.
        assert "given up" in list(again.items())[-1]["error"]

"""What happens to a caller when something dies, and to the cluster when a caller leaves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, Process, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, ask, post, text_of
from tropilla.common import codec, names
from tropilla.common.catalogue import Model, Worker
from tropilla.common.generation import Event, Finished, Token
from tropilla.common.ledger import Ledger

FOREVER = 5000


@pytest.fixture
def busy(make_herd: HerdMaker) -> Herd:
    """One worker with two slots, one API process."""
    herd = make_herd()
    herd.start_worker()
    herd.start_api()
    return herd


def journal(herd: Herd, request_id: str) -> Iterator[Event]:
    """A request's events as they are written, to the last one."""
    at = "0"
    while True:
        read: Any = herd.redis.xread({names.journal_key(request_id): at}, block=20_000)
        assert read, "nothing more was written"
        entries = read[0][1] if isinstance(read, list) else next(iter(read.values()))[0]
        for entry, fields in entries:
            at = entry
            event = codec.decode_event(int(entry.split(b"-")[0]) - 1, fields[b"e"])
            yield event
            if not isinstance(event, Token):
                return


def ending(herd: Herd, request_id: str) -> Event:
    *_, last = journal(herd, request_id)
    return last


def held(herd: Herd) -> list[str]:
    """Requests that a worker runs now."""
    return [key.decode().split(":")[2] for key in herd.redis.scan_iter(names.lease_key("*"))]


LAST_WORDS = {
    OPENAI: lambda items: items[-1] == "[DONE]" and items[-2]["error"]["type"] == "server_error",
    OLLAMA: lambda items: isinstance(items[-1]["error"], str),
    TGI: lambda items: items[-1]["error_type"] == "incomplete_generation_stream",
}


@pytest.fixture
def pair(make_herd: HerdMaker) -> Herd:
    """Two workers of one model, one API process."""
    herd = make_herd()
    workers = [herd.start_worker(ready=False) for _ in range(2)]
    herd.start_api()
    wait_for(lambda: len([w for w in herd.bus.catalogue().workers if w.state == "ready"]) == len(workers), "both")
    return herd


def holder(herd: Herd, request_id: str) -> Process:
    """The worker that runs the request; waits until there is one."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = [herd.redis.get(names.lease_key(request_id))]
        return found[0] is not None

    wait_for(look, "somebody to run the request")
    name = found[0].decode().split("@")[0]
    return herd.processes[int(name.removeprefix("test-"))]


TOKENS = 250


def undisturbed(herd: Herd, path: str) -> str:
    with post(herd, path, ask(path, "a", "endless", tokens=TOKENS, temperature=0.0)) as answer:
        return text_of(path, list(answer.items()))


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_a_stream_whose_worker_is_killed_goes_on_at_another_as_if_nothing_had_happened(pair: Herd, path: str) -> None:
    expected = undisturbed(pair, path)
    with post(pair, path, ask(path, "a", "endless", tokens=TOKENS, temperature=0.0)) as answer:
        items = answer.items()
        first = [next(items) for _ in range(3)]
        holder(pair, request_id_of(pair)).kill()
        said = [*first, *items]
    assert text_of(path, said) == expected
    if path == TGI:
        assert [item["index"] for item in said] == list(range(1, TOKENS + 1))


def test_nobody_waits_for_the_lease_of_a_worker_that_was_seen_to_die(make_herd: HerdMaker) -> None:
    herd = make_herd(lease_seconds=30)
    for _ in range(2):
        herd.start_worker()
    herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=TOKENS)) as answer:
        items = answer.items()
        first = next(items)
        lost = holder(herd, request_id_of(herd))
        lost.kill()
        assert [item["index"] for item in [first, *items]] == list(range(1, TOKENS + 1))
    # It is its witness that says so.
    wait_for(lambda: "was killed: 1 requests wait again" in lost.log, "somebody to have seen it")


def request_id_of(herd: Herd) -> str:
    """The one request that runs now."""
    wait_for(lambda: len(held(herd)) == 1, "one request to be run")
    return held(herd)[0]


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, "/generate"], ids=["openai", "ollama", "tgi"])
def test_a_whole_answer_whose_worker_is_killed_is_made_by_another(pair: Herd, path: str) -> None:
    body = json.dumps(ask(path, "a", "endless", tokens=TOKENS, stream=False)).encode()
    connection = Sent(pair, path, body)
    holder(pair, request_id_of(pair)).kill()
    assert connection.status() == 200


def test_a_worker_that_comes_back_goes_on_with_what_it_had_begun(busy: Herd) -> None:
    with post(busy, TGI, ask(TGI, "a", "endless", tokens=TOKENS)) as answer:
        items = answer.items()
        first = next(items)
        busy.processes[1].kill()
        busy.start_worker(ready=False)
        assert [item["index"] for item in [first, *items]] == list(range(1, TOKENS + 1))


def test_a_worker_that_was_frozen_writes_nothing_more_and_serves_again(pair: Herd) -> None:
    with post(pair, TGI, ask(TGI, "a", "endless", tokens=TOKENS)) as answer:
        items = answer.items()
        first = next(items)
        request_id = request_id_of(pair)
        frozen = holder(pair, request_id)
        frozen.kill(signal.SIGSTOP)
        assert [item["index"] for item in [first, *items]] == list(range(1, TOKENS + 1))
    written = pair.bus.read_journal(request_id)
    frozen.kill(signal.SIGCONT)
    wait_for(lambda: "was taken away" in frozen.log or "is lost" in frozen.log, "the frozen one to see it")
    assert pair.bus.read_journal(request_id) == written
    other = next(p for p in pair.processes[1:3] if p is not frozen)
    other.stop()
    with post(pair, TGI, ask(TGI, "a", "endless", tokens=50)) as again:
        assert len(list(again.items())) == 50


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_a_worker_told_to_stop_hands_its_streams_over_and_leaves_at_once(pair: Herd, path: str) -> None:
    expected = undisturbed(pair, path)
    with post(pair, path, ask(path, "a", "endless", tokens=TOKENS, temperature=0.0)) as answer:
        items = answer.items()
        first = next(items)
        leaving = holder(pair, request_id_of(pair))
        leaving.kill(signal.SIGTERM)
        assert text_of(path, [first, *items]) == expected
    assert leaving.wait(5) == 0


def test_after_a_kill_another_worker_serves_new_requests(busy: Herd) -> None:
    busy.processes[1].kill()
    busy.start_worker()
    with post(busy, "/generate", ask(TGI, "a", "endless", tokens=3)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_hanging_up_in_mid_stream_stops_the_sequence(busy: Herd, path: str) -> None:
    with post(busy, path, ask(path, "a", "endless", tokens=FOREVER)) as answer:
        next(answer.items())
    finished = ending(busy, answer.request_id)
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"
    assert finished.usage.generated < FOREVER // 2


class Sent:
    """A request whose answer nobody has read yet."""

    def __init__(self, herd: Herd, path: str, body: bytes) -> None:
        self._socket = socket.socket()
        # Small, so that whoever does not read is noticed soon.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", herd.api_port))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def status(self) -> int:
        with self._socket, self._socket.makefile("rb") as answer:
            return int(answer.readline().split()[1])

    def hang_up(self) -> None:
        self._socket.close()


def test_hanging_up_frees_the_slot_when_nothing_is_streamed(busy: Herd) -> None:
    sent = Sent(busy, TGI, json.dumps(ask("/generate", "a", "endless", tokens=FOREVER, stream=False)).encode())
    request_id = wait_for(lambda: held(busy), "the request to be run")[0]
    sent.hang_up()
    finished = ending(busy, request_id)
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"


def test_hanging_up_in_prefill_stops_the_prefill(make_herd: HerdMaker) -> None:
    herd = make_herd(step_tokens=16)
    herd.start_worker()
    herd.start_api()
    # 8,000 tokens in chunks of 16 take seconds.
    sent = Sent(herd, TGI, json.dumps(ask(TGI, "a" * 4000, "endless", tokens=50)).encode())
    request_id = wait_for(lambda: held(herd), "the request to be run")[0]
    sent.hang_up()
    finished = ending(herd, request_id)
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.generated) == ("cancelled", 0)


def test_a_client_that_stops_reading_is_left_and_its_slot_freed(make_herd: HerdMaker) -> None:
    """Some two kilobytes a token: soon more than the kernel's buffers take."""
    herd = make_herd(write_seconds=1)
    herd.start_worker()
    herd.start_api()
    body = {"model": "endless", "prompt": "a", "max_tokens": FOREVER, "stream": True, "logprobs": 20, "temperature": 0}
    sent = Sent(herd, OPENAI, json.dumps(body).encode())
    request_id = wait_for(lambda: held(herd), "the request to be run")[0]
    finished = ending(herd, request_id)
    sent.hang_up()
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"


def pretended_worker(herd: Herd, model: str) -> None:
    """Says that a worker serves the model, so that requests are accepted and wait."""
    facts = Model(model, "0" * 64, 1, "llama", 1, "F32", 4096, 4096, 64, 288, 0.0)
    herd.bus.announce(Worker("pretended", "cpu", "ready", 1, facts))


def test_hanging_up_while_queued_means_that_the_request_never_runs(make_herd: HerdMaker) -> None:
    herd = make_herd()
    herd.start_api()
    pretended_worker(herd, "endless")
    sent = Sent(herd, TGI, json.dumps(ask(TGI, "a", "endless", tokens=FOREVER)).encode())
    wait_for(lambda: herd.waiting("endless.cpu"), "the request to wait")
    (request_id,) = herd.redis.zrange(names.room_key("endless.cpu"), 0, -1)
    sent.hang_up()
    wait_for(lambda: not herd.waiting("endless.cpu"), "the request to leave")
    finished = ending(herd, request_id.decode())
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.generated) == ("cancelled", 0)


def test_a_queued_request_whose_model_loses_its_last_worker_gets_an_error(make_herd: HerdMaker) -> None:
    herd = make_herd(heartbeat_seconds=15)
    herd.start_api()
    pretended_worker(herd, "endless")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, herd, OLLAMA, ask(OLLAMA, "a", "endless", tokens=3))
        wait_for(lambda: herd.waiting("endless.cpu"), "the ticket")
        herd.bus.leave("pretended")
    with asked.result() as answer:
        assert answer.status == 500
        assert "no worker serves endless" in answer.json()["error"]


def test_no_token_is_lost_or_repeated_while_subscriptions_break(busy: Herd) -> None:
    body = ask(TGI, "a", "endless", tokens=400)
    answers = [post(busy, TGI, body) for _ in range(2)]
    seen: list[list[Any]] = [[], []]
    streams = [answer.items() for answer in answers]
    for number in range(400):
        if number % 40 == 20:
            busy.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        for stream, items in zip(streams, seen, strict=True):
            items.append(next(stream))
    for answer in answers:
        answer.close()
    for items in seen:
        assert [item["index"] for item in items] == list(range(1, 401))
        # The worker's own account of what it said.
        assert items[-1]["generated_text"] == "".join(item["token"]["text"] for item in items)


def test_a_generation_longer_than_the_visibility_timeout_runs_once(make_herd: HerdMaker) -> None:
    herd = make_herd(visibility_seconds=3)
    for _ in range(2):
        herd.start_worker()
    herd.start_api()
    # Two slots of 900 tokens at some milliseconds each: longer than three seconds and two sweeps.
    answers = [post(herd, TGI, ask(TGI, "a", "endless", tokens=900)) for _ in range(2)]
    for answer in answers:
        with answer:
            assert len(list(answer.items())) == 900
    # Tickets may be more: one too many does no harm.
    assert [row.attempts for row in Ledger(herd.bus).rows()] == [1, 1]


def test_what_a_worker_told_to_stop_could_not_finish_waits_for_another(busy: Herd) -> None:
    """Two run and one has not begun; the worker leaves after its grace, and the next one finds all three."""
    answers = [post(busy, TGI, ask(TGI, letter, "endless", tokens=FOREVER // 10)) for letter in "ab"]
    first = [[next(items := answer.items()), items] for answer in answers]
    sent = Sent(busy, TGI, json.dumps(ask(TGI, "c", "endless", tokens=5)).encode())
    wait_for(lambda: len(held(busy)) == 3, "the third to be taken, though no slot is free")
    busy.processes[1].kill(signal.SIGTERM)
    assert busy.processes[1].wait(5) == 0
    assert not busy.bus.catalogue().workers
    busy.start_worker(ready=False)
    for answer, (item, items) in zip(answers, first, strict=True):
        with answer:
            said = [item, *items]
        assert [each["index"] for each in said] == list(range(1, FOREVER // 10 + 1))
        assert said[-1]["generated_text"] == text_of(TGI, said)
    assert sent.status() == 200


def test_an_api_process_told_to_stop_answers_whoever_is_connected_and_sends_him_elsewhere(
    make_herd: HerdMaker,
) -> None:
    herd = make_herd(api_drain_seconds=30)
    api = herd.start_api()
    idle = [http.client.HTTPConnection("127.0.0.1", herd.api_port, timeout=60) for _ in range(2)]
    for connection in idle:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert json.loads(answer.read())["status"] == "unready"
        assert answer.headers["Connection"] == "keep-alive"
    (process,) = _children(api.pid)
    api.kill(signal.SIGTERM)
    # Once it refuses others.
    wait_for(lambda: not any(each.status == "LISTEN" for each in process.net_connections()), "the port to be closed")
    for connection, path, expected in zip(idle, ("/readyz", "/api/version"), (503, 200), strict=True):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, "draining" in answer.read().decode()) == (expected, expected == 503)
        assert answer.headers["Connection"] == "close"
        connection.close()
    assert api.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_api_process_told_to_stop_ends_its_streams_properly(make_herd: HerdMaker, number: int) -> None:
    herd = make_herd(orphan_seconds=1)
    herd.start_worker()
    api = herd.start_api()
    with post(herd, OPENAI, ask(OPENAI, "a", "endless", tokens=FOREVER)) as answer:
        items = answer.items()
        next(items)
        api.kill(number)
        assert LAST_WORDS[OPENAI](list(items))
    # Until then somebody might have come for the rest.
    finished = ending(herd, answer.request_id)
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"
    assert api.wait(20) == 0


def test_a_killed_api_process_does_not_keep_the_worker_busy(make_herd: HerdMaker) -> None:
    herd = make_herd(orphan_seconds=1)
    herd.start_worker()
    api = herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=FOREVER)) as answer:
        next(answer.items())
        group = [child.pid for child in _children(api.pid)]
        for pid in [api.pid, *group]:
            os.kill(pid, signal.SIGKILL)
    finished = ending(herd, answer.request_id)
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"


def _children(pid: int) -> list[Any]:
    return psutil.Process(pid).children(recursive=True)


def test_a_ticket_that_cannot_be_queued_is_an_error_at_once(busy: Herd) -> None:
    with post(busy, TGI, ask(TGI, "a", "endless", tokens=2)) as answer:
        assert answer.status == 200
        list(answer.items())
    busy.redis_process.kill()
    busy.redis_process.wait()
    with post(busy, TGI, ask(TGI, "a", "endless", tokens=2)) as answer:
        assert answer.status in {429, 500, 503}
        assert answer.json()["error_type"]

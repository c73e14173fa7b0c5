"""What callers see of the queue: refusals, places, deadlines, and that leaving it leaves nothing behind."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import anthropic
import huggingface_hub
import openai
import pytest
from cluster.herd import Herd, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, get
from tropilla.common import codec, names
from tropilla.common.catalogue import Model, Worker
from tropilla.common.generation import Event, Finished, Token

FOREVER = 5000
LANE = "endless.cpu"
#: Where the lane's pace is kept.
TIMES = names.room_key(LANE) + ":times"
HEARTBEAT_SECONDS = 0.5
#: A worker of one slot takes so many requests: it has the prompts of two more ready.
TAKEN = 3
WHOLE = {OPENAI: OPENAI, OLLAMA: OLLAMA, TGI: "/generate"}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Herd]:
    """One slot, small steps, and an API that is impatient to say that it lives."""
    herd = Herd(
        tmp_path_factory.mktemp("crowd"),
        model=endless_model,
        context=8192,
        threads=1,
        slots=1,
        step_tokens=16,
        stall_seconds=0.3,
        heartbeat_seconds=HEARTBEAT_SECONDS,
    )
    try:
        herd.start_worker()
        herd.start_api()
        yield herd
    finally:
        herd.stop()


@pytest.fixture
def herd(crowd: Herd) -> Iterator[Herd]:
    """The crowded one, which every test leaves as it found it."""
    yield crowd
    wait_for(lambda: not crowd.redis.hgetall(names.WAITING_KEY), "everybody to have left the queue")
    wait_for(lambda: not held(crowd), "the worker to be idle")


def held(herd: Herd) -> set[str]:
    """Requests that the worker runs, or has ready."""
    return {request_id.decode() for request_id in herd.redis.smembers(names.running_key("endless"))}


def waiting(herd: Herd) -> list[str]:
    """In their order."""
    return [request_id.decode() for request_id in herd.redis.zrange(names.room_key(LANE), 0, -1)]


class Caller:
    """A request whose answer nobody reads."""

    def __init__(self, herd: Herd, path: str, body: Any, **headers: str) -> None:
        data = json.dumps(body).encode()
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._socket = socket.create_connection(("127.0.0.1", herd.api_port), timeout=30)
        lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n{head}\r\n"
        self._socket.sendall(lines.encode() + data)

    def hang_up(self) -> None:
        self._socket.close()

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)


def to(herd: Herd, path: str, body: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(herd, path, json.dumps(body).encode(), headers=named)


@contextmanager
def occupied(herd: Herd) -> Iterator[None]:
    """Somebody is answered without end, and the worker takes nobody else: the next one waits."""
    with ExitStack() as stack:
        for _ in range(TAKEN + 1):
            caller = Caller(herd, TGI, ask(TGI, "a", "endless", tokens=FOREVER), X_Priority="interactive")
            stack.callback(caller.hang_up)
        wait_for(lambda: (len(held(herd)), len(waiting(herd))) == (TAKEN, 1), "the worker to have its hands full")
        yield


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """Little room, and models of which somebody only says that he serves them."""
    bounds = {"max_queue": 12, "max_queue_per_key": 5, "max_queue_in_all": 16}
    herd = Herd(tmp_path_factory.mktemp("narrow"), **bounds, heartbeat_seconds=HEARTBEAT_SECONDS)
    try:
        herd.start_api()
        yield herd
    finally:
        herd.stop()


def pretended(herd: Herd, *models: str) -> None:
    for name in models:
        facts = Model(name, name.encode().hex().zfill(64), 1, "llama", 1, "F32", 4096, 4096, 64, 288, 0.0)
        herd.bus.announce(Worker(f"pretended-{name}", "cpu", "ready", 1, facts), milliseconds=60_000)


def burst(herd: Herd, callers: int, model: str, **headers: str) -> list[Answer]:
    """So many at once. Answers who was refused; the others wait until they are told that somebody lives."""
    ready = threading.Barrier(callers)

    def call(_: int) -> Answer:
        ready.wait(30)
        return to(herd, OPENAI, ask(OPENAI, "a", model, tokens=1), **headers)

    with ThreadPoolExecutor(callers) as threads:
        return list(threads.map(call, range(callers)))


def test_of_two_hundred_at_once_exactly_as_many_wait_as_may(narrow: Herd) -> None:
    pretended(narrow, "one", "two")
    # A pace of half a second, as if the worker had kept it for long.
    narrow.redis.hset(names.room_key("one.cpu") + ":times", mapping={"gap": 500, "gaps": 20})
    calls: list[tuple[int, str, dict[str, str], str, int]] = [
        (60, "one", {"Authorization": "Bearer k"}, "the queue of this API key is full (5 waiting)", 5),
        (60, "one", {}, "the queue of one is full (12 waiting)", 7),
        (80, "two", {}, "the queue of all models together is full (16 waiting)", 4),
    ]
    with ExitStack() as stack:
        for callers, model, headers, text, accepted in calls:
            answers = [stack.enter_context(answer) for answer in burst(narrow, callers, model, **headers)]
            refused = [answer for answer in answers if answer.status == 429]
            assert (len(refused), callers - len(refused)) == (callers - accepted, accepted)
            told = [(answer.json()["error"]["message"], int(answer.headers["Retry-After"])) for answer in refused]
            assert all(text in message for message, _ in told)
            if model == "one":
                # Whoever comes when so many wait waits for so many halves of a second.
                waits = 0.5 * (5 if headers else 12)
                assert {abs(seconds - waits) <= 0.5 for _, seconds in told} == {True}
    wait_for(lambda: not narrow.redis.hgetall(names.WAITING_KEY), "everybody to have left the queue")
    assert narrow.room.waiting(["one.cpu", "two.cpu"]) == {"one.cpu": 0, "two.cpu": 0}


# -- places ------------------------------------------------------------------------------------------------------------

STORY: list[Any] = [{"role": "user", "content": "a"}]
NO_KEY = {"api_key": "none", "max_retries": 0, "timeout": 30}


def with_openai(herd: Herd) -> int:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", **NO_KEY) as client:
        stream = client.chat.completions.create(model="endless", messages=STORY, max_tokens=4, stream=True)
        return sum(bool(chunk.choices[0].delta.content) for chunk in stream)


def with_anthropic(herd: Herd) -> int:
    with anthropic.Anthropic(base_url=herd.base_url, **NO_KEY) as client:
        events = client.messages.create(model="endless", messages=STORY, max_tokens=4, stream=True)
        return sum(event.type == "content_block_delta" for event in events)


def with_hugging_face(herd: Herd) -> int:
    with huggingface_hub.InferenceClient(base_url=herd.base_url, timeout=30) as client:
        return len(list(client.text_generation("a", max_new_tokens=4, stream=True)))


def done(futures: list[Future[int]]) -> bool:
    """Whether any is. Raises what it has failed with."""
    return any(future.done() and future.result() for future in futures)


def test_official_clients_pass_over_the_places_that_they_are_told(herd: Herd) -> None:
    clients = (with_openai, with_anthropic, with_hugging_face)
    with ThreadPoolExecutor(len(clients)) as threads:
        with occupied(herd):
            futures = [threads.submit(client, herd) for client in clients]
            wait_for(lambda: len(waiting(herd)) == 1 + len(clients) or done(futures), "them to wait", seconds=10)
            with to(herd, OPENAI, ask(OPENAI, "a", "endless", tokens=4), X_Priority="batch") as last:
                assert (last.status, last.headers["x-queue-position"]) == (200, "4")
                lines = last.lines()
                assert next(line for line in lines if line != b":").startswith(b": queued, 4 before you")
                with get(herd, f"/v1/streams/{last.request_id}") as again:
                    said = next(line for line in again.lines() if line != b":")
                    assert said.startswith(b": queued, 4 before you")
                    # Nobody has been told his place later than the last one.
                    assert not done(futures)
        # Each token shows something of its own, or is held back as the start of a character.
        assert all(0 < future.result(30) <= 6 for future in futures)


def test_a_stream_is_never_silent_from_its_admission_on(herd: Herd) -> None:
    def hear(path: str) -> None:
        data = json.dumps(ask(path, "a", "endless", tokens=4)).encode()
        # Raises `TimeoutError` where it is silent for longer.
        with socket.create_connection(("127.0.0.1", herd.api_port), timeout=2 * HEARTBEAT_SECONDS) as caller:
            until = time.monotonic() + 3 * HEARTBEAT_SECONDS
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
            caller.sendall(head.encode() + data)
            while time.monotonic() < until:
                assert caller.recv(4096)

    with occupied(herd), ThreadPoolExecutor(3) as threads:
        assert list(threads.map(hear, (OPENAI, OLLAMA, TGI))) == [None] * 3


# -- deadlines ---------------------------------------------------------------------------------------------------------


def row_of(herd: Herd, request_id: str) -> dict[str, str]:
    """Of the ledger, once it is there."""
    found: list[dict[str, str]] = []

    def look() -> bool:
        rows: Any = herd.redis.xrevrange(names.LEDGER_KEY, count=50)
        told = [{key.decode(): value.decode() for key, value in row.items()} for _, row in rows]
        found[:] = [row for row in told if row["request"] == request_id]
        return bool(found)

    wait_for(look, "its row")
    (row,) = found
    return row


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_what_expires_in_the_queue_is_never_begun_and_says_so_at_once(herd: Herd, stream: bool) -> None:
    with occupied(herd):
        # Nobody knows that it will take longer.
        herd.redis.hdel(TIMES, "gap")
        for path in (OPENAI, OLLAMA, TGI):
            where, began = path if stream else WHOLE[path], time.monotonic()
            body = ask(where, "a", "endless", tokens=4, stream=stream)
            with to(herd, where, body, X_Request_Deadline="300ms") as answer:
                assert answer.status == 504
                assert "0.3 s" in answer.text()
                assert 0.3 <= time.monotonic() - began < 5
                assert answer.headers.get("x-should-retry") == ("false" if path == OPENAI else None)
            row = row_of(herd, answer.request_id)
            assert (row["outcome"], row["attempts"], row["generated"]) == ("expired", "0", "0")


def test_what_expires_while_it_runs_ends_there(herd: Herd) -> None:
    with to(herd, OPENAI, ask(OPENAI, "a", "endless", tokens=FOREVER), X_Request_Deadline="1") as answer:
        assert answer.status == 200
        *_, error, done = answer.items()
    assert (error["error"]["code"], done) == ("deadline_exceeded", "[DONE]")
    row = row_of(herd, answer.request_id)
    assert (row["outcome"], int(row["generated"]) > 0) == ("expired", True)


def test_what_could_not_begin_in_time_is_not_let_in(herd: Herd) -> None:
    with occupied(herd):
        herd.redis.hset(TIMES, mapping={"gap": 8000, "gaps": 20})
        body = ask(OLLAMA, "a", "endless", tokens=4)
        for path, status in ((OPENAI, 429), (OLLAMA, 503), (TGI, 429)):
            with to(herd, path, ask(path, "a", "endless", tokens=4), X_Request_Deadline="2s") as answer:
                assert (answer.status, int(answer.headers["Retry-After"])) == (status, 6)
        assert len(waiting(herd)) == 1
        with to(herd, OLLAMA, body, X_Request_Deadline="10s") as answer:
            assert answer.status == 200


# -- leaving -----------------------------------------------------------------------------------------------------------


def journal(herd: Herd, request_id: str) -> Iterator[Event]:
    """A request's events as they are written, to the last one."""
    at = "0"
    while True:
        read: Any = herd.redis.xread({names.journal_key(request_id): at}, block=20_000)
        assert read, "nothing more was written"
        ((_, entries),) = read
        for entry, fields in entries:
            at = entry
            event = codec.decode_event(int(entry.split(b"-")[0]) - 1, fields[b"e"])
            yield event
            if not isinstance(event, Token):
                return


CASES = [(path, stream) for path in (OPENAI, OLLAMA, TGI) for stream in (True, False)]
LEAVE: list[Callable[[Caller], None]] = [Caller.hang_up, Caller.half_close]


def called(herd: Herd, path: str, stream: bool, prompt: str = "a", tokens: int = FOREVER) -> Caller:
    where = path if stream else WHOLE[path]
    return Caller(herd, where, ask(where, prompt, "endless", tokens=tokens, stream=stream))


def left(herd: Herd, request_id: str) -> tuple[int, int]:
    """What was generated for a request that its caller has left: by the journal, and by the ledger."""
    *said, last = journal(herd, request_id)
    assert isinstance(last, Finished)
    assert last.reason == "cancelled"
    row = row_of(herd, request_id)
    assert (row["outcome"], last.usage.generated) == ("cancelled", len(said))
    return len(said), int(row["generated"])


def test_whoever_leaves_the_queue_leaves_at_once(herd: Herd) -> None:
    with occupied(herd):
        (first,) = waiting(herd)
        callers = [called(herd, path, stream) for path, stream in CASES]
        wait_for(lambda: len(waiting(herd)) == 1 + len(CASES), "them to wait")
        request_ids = [request_id for request_id in waiting(herd) if request_id != first]
        for number, caller in enumerate(callers):
            LEAVE[number % 2](caller)
        wait_for(lambda: waiting(herd) == [first], "them to leave", seconds=5)
        assert herd.redis.hget(names.WAITING_KEY, "all") == b"1"
        assert [left(herd, request_id) for request_id in request_ids] == [(0, 0)] * len(CASES)
        for caller in callers:
            caller.hang_up()


@pytest.mark.parametrize("stage", ["prefill", "decode"])
@pytest.mark.parametrize(("path", "stream"), CASES)
def test_what_its_caller_leaves_is_cancelled_and_booked_as_far_as_it_came(
    herd: Herd, stage: str, path: str, stream: bool
) -> None:
    # 8,000 tokens in chunks of 16 take seconds.
    asked = ("a" * 4000, 50) if stage == "prefill" else ("a", FOREVER)
    caller = called(herd, path, stream, *asked)
    request_id = wait_for(lambda: held(herd), "the request to be run").pop()
    if stage == "decode":
        events = journal(herd, request_id)
        assert all(isinstance(next(events), Token) for _ in range(3))
    LEAVE[CASES.index((path, stream)) % 2](caller)
    generated, booked = left(herd, request_id)
    assert generated == booked
    assert generated == 0 if stage == "prefill" else 3 <= generated < FOREVER // 2
    caller.hang_up()

"""What happens to callers and workers when Redis is away, slow, silent, empty or full, or deaf to some of them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, Process, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, get, post
from faults.proxy import CUT, FAIR, HOLE, Proxy, Weather
from tropilla.common import names
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery

FOREVER = 5000
#: A worker whose consumer is deaf leaves with this status.
DEAF_STATUS = 72
OUTAGE_SECONDS = 5


def in_front_of(herd: Herd) -> Proxy:
    port = urlsplit(herd.redis_url).port
    assert port is not None
    return Proxy(port)


@dataclass
class Networked:
    """Two workers and an API process, each with its own way to Redis."""

    herd: Herd
    workers: list[Process]
    #: In the workers' order.
    ways: list[Proxy]
    api_way: Proxy

    def healthy(self) -> bool:
        return sum(worker.state == "ready" for worker in self.herd.bus.catalogue().workers) == len(self.workers)

    def turn(self, weather: Weather) -> None:
        for way in (*self.ways, self.api_way):
            way.turn(weather)

    @property
    def resets(self) -> int:
        return sum(way.counts.resets for way in (*self.ways, self.api_way))

    def lease(self, request_id: str) -> str:
        """Who holds the request, and which attempt it is; waits until somebody does."""

        def held() -> bytes | None:
            found: Any = self.herd.redis.get(names.lease_key(request_id))
            return found  # type: ignore[no-any-return]

        return str(wait_for(held, "somebody to hold the request").decode())

    def way_of(self, lease: str) -> Proxy:
        number = next(n for n, worker in enumerate(self.workers) if lease.startswith(f"{name_of(self.herd, worker)}@"))
        return self.ways[number]


def name_of(herd: Herd, worker: Process) -> str:
    return f"test-{herd.processes.index(worker)}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Networked]:
    herd = Herd(
        tmp_path_factory.mktemp("networked"), model=endless_model, context=8192, threads=1, slots=4, lease_seconds=2,
        stall_seconds=0.3, heartbeat_seconds=0.5, outage_seconds=OUTAGE_SECONDS, visibility_seconds=3,
    )  # fmt: skip
    ways = [in_front_of(herd) for _ in range(2)]
    api_way = in_front_of(herd)
    try:
        workers = [herd.start_worker(ready=False, redis_url=way.url) for way in ways]
        herd.start_api(redis_url=api_way.url)
        yield Networked(herd, workers, ways, api_way)
    finally:
        herd.stop()
        for way in (*ways, api_way):
            way.close()


@pytest.fixture
def networked(whole: Networked) -> Iterator[Networked]:
    wait_for(whole.healthy, "both workers")
    yield whole
    whole.turn(FAIR)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers that wait while the test goes on."""
    with ThreadPoolExecutor(24) as threads:
        yield threads


def told(herd: Herd, tokens: int) -> list[Any]:
    """All of one stream."""
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=tokens)) as answer:
        return list(answer.items())


def indices(items: list[Any]) -> list[int]:
    return [item["index"] for item in items]


def journalled(herd: Herd, request_id: str) -> list[int]:
    return [entry.index for entry in herd.bus.read_journal(request_id)]


class Reader:
    """A stream that is read in a thread of its own: what comes, and when the last of it came."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.items: list[Any] = []
        self.pings = 0
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.answer.lines():
            data = line.removeprefix(b"data:").strip()
            with self._grown:
                if line.startswith(b":"):
                    self.pings += 1
                elif data == b"[DONE]":
                    self.items.append("[DONE]")
                elif not line.startswith((b"id:", b"event:")):
                    self.items.append(json.loads(data))
                self._grown.notify_all()

    def wait(self, claim: Callable[[], bool], seconds: float = 20.0) -> None:
        with self._grown:
            assert self._grown.wait_for(claim, seconds), (self.items[-1:], self.pings)

    def rest(self) -> list[Any]:
        """Everything, once it is over."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the stream hangs"
        self.answer.close()
        return self.items


def status_of(networked: Networked, path: str) -> int:
    with get(networked.herd, path) as page:
        return page.status


def stream(networked: Networked, tokens: int, path: str = TGI) -> Reader:
    reader = Reader(post(networked.herd, path, ask(path, "a", "endless", tokens=tokens)))
    reader.wait(lambda: len(reader.items) >= 3)
    return reader


# -- the worker is cut off (F9) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weather", [CUT, HOLE], ids=["cut", "hole"])
def test_a_worker_that_is_cut_off_loses_its_requests_to_the_other_and_writes_nothing_when_it_is_back(
    networked: Networked, weather: Weather
) -> None:
    reader = stream(networked, 300)
    request_id = reader.answer.request_id
    first = networked.lease(request_id)
    way = networked.way_of(first)
    way.turn(weather)
    wait_for(lambda: networked.lease(request_id).split("/")[0] != first.split("/")[0], "the other to take it")
    # It has gone on computing: what it kept comes now, and is refused.
    way.turn(FAIR)
    assert indices(reader.rest()) == list(range(1, 301))
    assert journalled(networked.herd, request_id) == list(range(302))[: len(journalled(networked.herd, request_id))]
    assert networked.herd.redis.hget(names.state_key(request_id), "attempt") == b"2"


def test_a_worker_that_gets_its_own_request_back_leaves_no_gap_in_the_journal(networked: Networked) -> None:
    """What it still had to say as the first attempt goes out in one call with what it says as the second."""
    # The ticket can come back to nobody else.
    networked.ways[1].turn(CUT)
    reader = stream(networked, 300)
    networked.ways[0].turn(CUT)
    wait_for(lambda: not networked.herd.redis.exists(names.lease_key(reader.answer.request_id)), "the lease to run out")
    networked.ways[0].turn(FAIR)
    assert indices(reader.rest()) == list(range(1, 301))


# -- the API process is cut off (F10) ----------------------------------------------------------------------------------


def test_an_api_process_that_is_cut_off_pings_and_goes_on_when_redis_is_back(networked: Networked) -> None:
    reader = stream(networked, 300)
    networked.api_way.turn(HOLE)
    pinged = reader.pings
    reader.wait(lambda: reader.pings > pinged)
    networked.api_way.turn(FAIR)
    assert indices(reader.rest()) == list(range(1, 301))


LAST_WORDS = {
    OPENAI: lambda items: "could not be reached" in items[-2]["error"]["message"] and items[-1] == "[DONE]",
    OLLAMA: lambda items: "could not be reached" in items[-1]["error"],
    TGI: lambda items: items[-1]["error_type"] == "incomplete_generation_stream",
}


def test_an_api_process_that_is_cut_off_for_too_long_ends_its_streams_and_refuses_at_once(networked: Networked) -> None:
    readers = {path: stream(networked, FOREVER, path) for path in LAST_WORDS}
    networked.turn(HOLE)
    wait_for(lambda: status_of(networked, "/readyz") == 503, "the process to know")
    began = time.monotonic()
    for path, status in ((OPENAI, 500), (OLLAMA, 503), (TGI, 500)):
        with post(networked.herd, path, ask(path, "a", "endless", tokens=3)) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (status, "5")
    assert status_of(networked, "/health") == 503
    assert time.monotonic() - began < 2
    for path, reader in readers.items():
        assert LAST_WORDS[path](reader.rest()), reader.items[-2:]
        assert reader.pings or path == OLLAMA
    networked.turn(FAIR)
    wait_for(lambda: status_of(networked, "/readyz") == 200, "the process to know that Redis is back")
    assert indices(told(networked.herd, 5)) == [1, 2, 3, 4, 5]


# -- the network is bad (F11) ------------------------------------------------------------------------------------------


def test_a_slow_line_that_loses_packets_makes_it_slower_and_nothing_else(networked: Networked) -> None:
    networked.turn(Weather(delay_seconds=0.05, jitter_seconds=0.1, loss=0.01, bytes_per_second=125_000))
    readers = [stream(networked, 40) for _ in range(2)]
    for reader in readers:
        assert indices(reader.rest()) == list(range(1, 41))


def test_answers_that_break_in_the_middle_are_asked_for_again(networked: Networked) -> None:
    reader = stream(networked, 300)
    for cut_at in (1500, 1700, 1900, 2100):
        before = networked.resets
        networked.turn(Weather(reset_after=cut_at))
        wait_for(lambda before=before: networked.resets > before, "a connection to be reset")
        networked.turn(FAIR)
        seen = len(reader.items)
        reader.wait(lambda seen=seen: len(reader.items) >= seen + 20)
    assert indices(reader.rest()) == list(range(1, 301))


# -- Redis itself (F6, F7, F8) -----------------------------------------------------------------------------------------


def test_a_journal_with_a_hole_in_it_ends_the_answer_for_whoever_reads_it(networked: Networked) -> None:
    """A fail-over that lost what it had acknowledged: whoever has heard it goes on, nobody else skips it."""
    reader = stream(networked, 300)
    request_id = reader.answer.request_id
    reader.wait(lambda: len(reader.items) >= 20)
    assert networked.herd.redis.xdel(names.journal_key(request_id), "10-0") == 1
    assert indices(reader.rest()) == list(range(1, 301))
    with Answer(networked.herd, f"/v1/streams/{request_id}", b"", "GET") as again:
        items = list(again.items())
    assert indices(items[:-1]) == list(range(1, len(items)))
    assert items[-1]["error_type"] == "incomplete_generation_stream"


def test_a_request_whose_journal_has_a_hole_is_not_gone_on_with(networked: Networked) -> None:
    reader = stream(networked, FOREVER)
    request_id = reader.answer.request_id
    reader.wait(lambda: len(reader.items) >= 20)
    networked.herd.redis.xdel(names.journal_key(request_id), "10-0")
    # Whoever takes it next must not build on a text with a hole.
    networked.way_of(networked.lease(request_id)).turn(CUT)
    assert reader.rest()[-1]["error_type"] == "incomplete_generation_stream"


def restart(networked: Networked, *, empty: bool) -> None:
    herd = networked.herd
    herd.redis_process.kill()
    herd.redis_process.wait()
    if empty:
        for folder in Path(herd.folder).glob("appendonly*"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    herd.redis_process = herd.start_redis()
    # In its place: it is the last to be stopped.
    herd.processes[0] = herd.processes.pop()


def test_a_redis_that_is_killed_and_starts_again_with_its_log_costs_a_pause(networked: Networked) -> None:
    readers = [stream(networked, 300) for _ in range(3)]
    restart(networked, empty=False)
    for reader in readers:
        assert indices(reader.rest()) == list(range(1, 301))
    assert indices(told(networked.herd, 5)) == [1, 2, 3, 4, 5]


def test_a_redis_that_comes_back_empty_costs_the_open_requests_and_nothing_else(networked: Networked) -> None:
    readers = {path: stream(networked, FOREVER, path) for path in (OPENAI, OLLAMA, TGI)}
    restart(networked, empty=True)
    for reader in readers.values():
        assert "error" in str(reader.rest()[-2:])
    wait_for(networked.healthy, "the workers to announce themselves again")
    assert indices(told(networked.herd, 5)) == [1, 2, 3, 4, 5]
    assert all(worker.alive for worker in networked.workers)


@pytest.fixture
def full(networked: Networked) -> Iterator[Callable[[], None]]:
    """Leaves a Redis at its limit without any room, as somebody else's data would."""
    redis = networked.herd.redis

    def fill() -> None:
        redis.config_set("maxmemory", int(redis.info("memory")["used_memory"]) - 1)

    yield fill
    redis.config_set("maxmemory", 0)


def test_a_full_redis_takes_nothing_new_and_loses_nothing_that_it_took(
    networked: Networked, full: Callable[[], None], elsewhere: ThreadPoolExecutor
) -> None:
    herd = networked.herd
    # More than two workers hold: the others wait, with their tickets, while it fills.
    readers = [elsewhere.submit(told, herd, 100) for _ in range(24)]

    def all_in() -> bool:
        waiting, running = (
            herd.redis.zcard(names.room_key("endless.cpu")),
            herd.redis.scard(names.running_key("endless")),
        )
        return 0 < waiting <= herd.redis.llen("endless.cpu") and waiting + running == len(readers)

    wait_for(all_in, "some to wait")
    full()
    # At first by the script that would admit it, then before that is asked.
    wait_for(lambda: told(herd, 3)[-1].get("error_type") == "overloaded", "new requests to be refused")
    for path, status in ((OPENAI, 429), (OLLAMA, 503), (TGI, 429)):
        with post(herd, path, ask(path, "a", "endless", tokens=3)) as refused:
            assert (refused.status, "Retry-After" in refused.headers) == (status, True)
    for reader in readers:
        assert indices(reader.result()) == list(range(1, 101))
    assert all(worker.alive for worker in networked.workers)
    herd.redis.config_set("maxmemory", 0)
    wait_for(lambda: "index" in told(herd, 3)[-1], "requests to be taken again")


# -- a consumer that has gone deaf -------------------------------------------------------------------------------------


def test_a_deaf_worker_hands_over_what_runs_and_leaves_to_be_started_again(
    make_herd: HerdMaker, elsewhere: ThreadPoolExecutor
) -> None:
    """As after a reconnect that forgot to subscribe: it lives, answers pings, and pulls from no lane."""
    herd = make_herd(deaf_seconds=1)
    deaf = herd.start_worker()
    herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=500)) as running:
        first = next(running.items())
        (name,) = (worker.name for worker in herd.bus.catalogue().workers)
        celery = create_celery(Settings(redis_url=herd.redis_url))
        celery.control.cancel_consumer("endless.cpu", destination=[name], reply=True, timeout=5)
        waiting = elsewhere.submit(told, herd, 20)
        assert deaf.wait(20) == DEAF_STATUS
        # As the supervisor does.
        herd.start_worker(ready=False)
        assert indices(waiting.result()) == list(range(1, 21))
        assert indices([first, *running.items()]) == list(range(1, 501))

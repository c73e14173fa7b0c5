"""GET /metrics of a whole cluster: the processes' counts are one, and never go backwards; who waits is told as it is."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator

import pytest
from cluster.herd import Herd, Process, wait_for
from cluster.wire import get, post
from prometheus_client.parser import text_string_to_metric_families
from psutil import Process as Running

LONG = {"inputs": "abc", "parameters": {"max_new_tokens": 8000}}
Sample = tuple[str, frozenset[tuple[str, str]]]


class Scene:
    def __init__(self, herd: Herd) -> None:
        self.herd, self.worker, self.api = herd, herd.start_worker(), herd.start_api()

    def scrape(self) -> dict[Sample, float]:
        with get(self.herd, "/metrics") as answer:
            text = answer.text()
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def number(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with these labels; `class_` is `class`."""
        wanted = {(key.rstrip("_"), value) for key, value in labels.items()}
        return sum(value for (found, has), value in self.scrape().items() if found == name and wanted <= has)

    def generate(self, tokens: int) -> None:
        with post(self.herd, "/generate", {"inputs": "abc", "parameters": {"max_new_tokens": tokens}}) as answer:
            assert answer.status == 200

    def left_waiting(self, priority: str) -> http.client.HTTPConnection:
        """Asks, and does not listen. To be closed, which is hanging up."""
        caller = http.client.HTTPConnection("127.0.0.1", self.herd.api_port)
        caller.request("POST", "/generate_stream", json.dumps(LONG), {"X-Priority": priority})
        return caller

    @property
    def api_processes(self) -> list[int]:
        return [child.pid for child in Running(self.api.pid).children()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Scene]:
    herd = Herd(
        tmp_path_factory.mktemp("metrics"),
        model=endless_model,
        context=8192,
        threads=1,
        slots=1,
        api_processes=2,
        lease_seconds=1,
        stall_seconds=0.3,
    )
    try:
        yield Scene(herd)
    finally:
        herd.stop()


def test_processes_are_one_and_outlive_each_other_without_a_count_going_back(scene: Scene) -> None:
    for _ in range(6):
        scene.generate(4)
    count = ("gen_ai_server_time_to_first_token_seconds_count", 6)
    wait_for(lambda: scene.number(count[0]) == count[1], "both processes' counts")
    wait_for(lambda: len(scene.api_processes) == 2, "two processes")
    before = scene.scrape()
    os.kill(scene.api_processes[0], signal.SIGKILL)
    # Whoever answers: the one that is left, or the one that took the place.
    for _ in range(8):
        after = scene.scrape()
        backwards = {
            sample for sample, number in before.items() if _grows(sample[0]) and after.get(sample, -1.0) < number
        }
        assert backwards == set()
    assert scene.number("tropilla_requests_total", outcome="completed") == 6
    assert scene.number("tropilla_generated_tokens_total") == 24
    assert scene.number("tropilla_attempts_total", cause="first") == 6
    assert scene.number("tropilla_admissions_total", outcome="admitted") == 6
    assert scene.number("tropilla_queue_wait_seconds_count") == 6
    assert scene.number("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 24
    # The worker's own counts come with its next beat.
    wait_for(lambda: scene.number("tropilla_inter_token_seconds_count") == 18, "three more tokens each")
    wait_for(lambda: scene.number("tropilla_processes", role="api") == 2, "the process that took the place")


def _grows(name: str) -> bool:
    return name.endswith(("_total", "_count", "_sum", "_bucket"))


#: Of a worker with one slot: it takes two more, which wait there.
HELD = 2


def test_who_waits_and_since_when(scene: Scene) -> None:
    running = post(scene.herd, "/generate_stream", LONG)
    next(running.lines())
    held = [scene.left_waiting("normal") for _ in range(HELD)]
    wait_for(lambda: scene.number("tropilla_slots_waiting") == HELD, "those that wait at the worker")
    waiting = scene.left_waiting("batch")
    wait_for(lambda: scene.number("tropilla_queue_requests", class_="batch", flavour="cpu") == 1, "one who waits")
    assert scene.number("tropilla_queue_requests", class_="normal") == 0
    first = scene.number("tropilla_queue_oldest_seconds", class_="batch")
    wait_for(lambda: scene.number("tropilla_queue_oldest_seconds", class_="batch") > first, "time")
    assert scene.number("tropilla_slots_used") == 1
    assert 0 < scene.number("tropilla_kv_cells_used") <= scene.number("tropilla_kv_cells")
    waiting.close()
    wait_for(lambda: scene.number("tropilla_queue_requests") == 0, "nobody who waits")
    assert scene.number("tropilla_queue_oldest_seconds") == 0
    assert scene.number("tropilla_cancels_total", stage="queued") == 1
    for each in held:
        each.close()
    wait_for(lambda: scene.number("tropilla_cancels_total", stage="prefill") == HELD, "those that were held")
    running.close()
    wait_for(lambda: scene.number("tropilla_cancels_total", stage="decode") == 1, "the one that ran")


def test_a_worker_that_is_lost_is_counted_once_and_its_request_goes_on(scene: Scene) -> None:
    starts = scene.number("tropilla_worker_starts_total")
    with post(scene.herd, "/generate_stream", {"inputs": "abc", "parameters": {"max_new_tokens": 300}}) as stream:
        lines = stream.lines()
        next(lines)
        scene.worker.kill()
        # Its witness says so, before anybody could miss it.
        wait_for(lambda: scene.number("tropilla_workers_lost_total") == 1, "the lost one", seconds=4)
        other: Process = scene.herd.start_worker()
        assert sum(1 for line in lines if line) >= 299
    assert other.alive
    assert scene.number("tropilla_attempts_total", cause="worker_lost") == 1
    assert scene.number("tropilla_worker_starts_total") == starts + 1
    wait_for(lambda: scene.number("tropilla_workers") == 1, "the other one alone")
    assert scene.number("tropilla_workers_lost_total") == 1
    assert scene.number("tropilla_processes", role="worker") == 1
    assert scene.number("tropilla_model_load_seconds_count", outcome="loaded") == 2

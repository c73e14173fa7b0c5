"""Models that are loaded where they are waited for: API, steward and workers over real sockets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, Process, wait_for
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition, Lane, Worker
from tropilla.common.gguf import read_header
from tropilla.common.recipes import File, Recipe
from tropilla.common.registry import Registry
from tropilla.workers import pocket
from tropilla.workers.card import describe

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
BEGINNING = "The capital of France is"
GREEDY = {"temperature": 0, "num_predict": 8}
#: How the same is asked on each surface, and where the answer stands.
SURFACES: list[tuple[str, Callable[[str], dict[str, Any]], Callable[[Any], str]]] = [
    (
        "/v1/chat/completions",
        lambda model: {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 8},
        lambda answer: answer["choices"][0]["message"]["content"],
    ),
    (
        "/v1/completions",
        lambda model: {"model": model, "prompt": BEGINNING, "temperature": 0, "max_tokens": 8},
        lambda answer: answer["choices"][0]["text"],
    ),
    (
        "/v1/responses",
        lambda model: {"model": model, "input": MESSAGES, "temperature": 0, "max_output_tokens": 16},
        lambda answer: answer["output"][0]["content"][0]["text"],
    ),
    (
        "/v1/messages",
        lambda model: {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 8},
        lambda answer: answer["content"][0]["text"],
    ),
    (
        "/api/chat",
        lambda model: {"model": model, "messages": MESSAGES, "stream": False, "options": GREEDY},
        lambda answer: answer["message"]["content"],
    ),
    (
        "/api/generate",
        lambda model: {"model": model, "prompt": MESSAGES[0]["content"], "stream": False, "options": GREEDY},
        lambda answer: answer["response"],
    ),
    (
        "/models/{model}/generate",
        lambda model: {"inputs": BEGINNING, "parameters": {"max_new_tokens": 8}},
        lambda answer: answer["generated_text"],
    ),
]


def stored(herd: Herd, name: str, path: Path) -> Definition:
    """A file in the store, under a name."""
    blobs = Blobs.below(herd.folder)
    blobs.prepare()
    model = replace(describe(name, path, read_header(path), 512), pinned_as=f"{name}@0123abcd")
    if not blobs.path(model.digest).exists():
        blobs.path(model.digest).symlink_to(path)
    return Definition(model, Recipe(model.pin, (File(model.digest, model.size_bytes, path.name),), context=512))


def broken(herd: Herd, name: str) -> Definition:
    """A file that somebody has taken out of the store."""
    whole = stored(herd, name, pocket.path())
    lost = File("f" * 64, whole.model.size_bytes, "lost.gguf")
    return replace(whole, recipe=replace(whole.recipe, files=(lost,)))


@pytest.fixture
def client() -> Iterator[Callable[[Herd], httpx.Client]]:
    made: list[httpx.Client] = []

    def make(herd: Herd) -> httpx.Client:
        limits = httpx.Limits(max_connections=200)
        made.append(httpx.Client(base_url=herd.base_url, timeout=90, limits=limits))
        return made[-1]

    yield make
    for each in made:
        each.close()


def idle_workers(herd: Herd, count: int) -> list[Process]:
    """Workers that load what they are told to."""
    started = [herd.start_worker("--idle", ready=False) for _ in range(count)]
    herd.start_api()
    wait_for(lambda: sum(w.state == "idle" for w in herd.bus.catalogue().workers) == count, "idle workers")
    return started


def test_a_hundred_requests_of_three_models_on_all_surfaces_share_two_workers_though_one_of_those_is_killed(
    make_herd: HerdMaker, client: Callable[[Herd], httpx.Client]
) -> None:
    # A ticket that the killed worker had just popped is handed out again after that.
    herd = make_herd(swap_seconds=2, slots=4, visibility_seconds=3)
    names = ("alpha", "beta", "gamma")
    Registry(herd.bus).define(*(stored(herd, name, pocket.path()) for name in names))
    workers, http = idle_workers(herd, 2), client(herd)
    chance = random.Random(3)

    def ask(model: str, surface: int) -> str:
        path, body, said = SURFACES[surface]
        response = http.post(path.format(model=model), json=body(model))
        assert response.status_code == 200, response.text
        return said(response.json())

    asked = [(chance.choice(names), place % len(SURFACES)) for place in range(100)]
    with ThreadPoolExecutor(100) as threads:
        futures = {threads.submit(ask, *each): each for each in asked}
        for answered, future in enumerate(as_completed(futures), start=1):
            assert future.result()
            if answered == 10:
                workers[0].kill()
                workers.append(herd.start_worker("--idle", ready=False))
    # What every worker has let go of, and what it had in the end. In the order of arrival it would be two of three.
    loads = sum(worker.log.count("letting go of") + 1 for worker in workers)
    assert loads <= 15
    assert sum(herd.waiting(Lane(f"{name}@0123abcd", "cpu").name) for name in names) == 0


def test_what_cannot_be_loaded_says_so_and_its_worker_serves_another(
    make_herd: HerdMaker, client: Callable[[Herd], httpx.Client]
) -> None:
    herd = make_herd()
    Registry(herd.bus).define(broken(herd, "lost"), stored(herd, "alpha", pocket.path()))
    idle_workers(herd, 1)
    http = client(herd)
    body = {"messages": MESSAGES, "max_tokens": 4}
    waited = http.post("/v1/chat/completions", json={**body, "model": "lost"})
    at_once = http.post("/v1/chat/completions", json={**body, "model": "lost"})
    assert (waited.status_code, waited.json()) == (at_once.status_code, at_once.json())
    error = at_once.json()["error"]
    assert (at_once.status_code, error["code"]) == (424, "model_unavailable")
    assert "lost" in error["message"]
    assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["alpha"]
    assert http.post("/v1/chat/completions", json={**body, "model": "alpha"}).status_code == 200


def test_a_stream_that_waits_for_its_model_gets_signs_of_life(
    make_herd: HerdMaker, client: Callable[[Herd], httpx.Client]
) -> None:
    """The first worker is only announced: it takes no order, until it is gone and another one gets it."""
    herd = make_herd(heartbeat_seconds=0.5)
    Registry(herd.bus).define(stored(herd, "alpha", pocket.path()))
    hung = Worker("hung@test", "cpu", "idle", 2, None)
    herd.bus.announce(hung, milliseconds=60_000)
    herd.start_api()
    body = {"model": "alpha", "messages": MESSAGES, "max_tokens": 4, "stream": True}
    with client(herd).stream("POST", "/v1/chat/completions", json=body) as response:
        lines = (line for line in response.iter_lines() if line)
        assert next(lines).startswith(":")
        herd.bus.leave(hung.name)
        herd.start_worker("--idle", ready=False)
        *_, last = (line for line in lines if line.startswith("data:"))
    assert response.status_code == 200
    assert last == "data: [DONE]"


def test_what_a_gpu_worker_leaves_behind_is_done_by_a_cpu_worker_and_so_is_what_it_does_not_manage(
    make_herd: HerdMaker, client: Callable[[Herd], httpx.Client]
) -> None:
    """The gpu worker is only announced: it takes nothing."""
    herd = make_herd(spill_backlog=0)
    herd.start_worker()
    (cpu,) = herd.bus.catalogue().workers
    assert cpu.model is not None
    gpu = Worker("gpu@test", "gpu", "ready", 2, cpu.model)
    herd.bus.announce(gpu, milliseconds=60_000)
    herd.start_api()
    http = client(herd)
    body = {"model": cpu.model.name, "prompt": "a", "max_tokens": 3, "temperature": 0}
    asked: list[Future[httpx.Response]] = []
    with ThreadPoolExecutor(64) as threads:

        def one_more() -> set[Future[httpx.Response]]:
            asked.append(threads.submit(http.post, "/v1/completions", json=body))
            return wait(asked, timeout=0.3, return_when=FIRST_COMPLETED).done

        done = wait_for(one_more, "a request to spill over")
        assert asked[0] not in done
        assert herd.waiting(Lane(cpu.pin, "gpu").name) > 0
        herd.bus.leave(gpu.name)
        assert [each.result().status_code for each in asked] == [200] * len(asked)

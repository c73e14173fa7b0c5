from __future__ import annotations

import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

from tropilla.common.catalogue import Catalogue, Model, State, Worker
from tropilla.compose.lookout import Address, Lookout, Sighting, health_status, waiting_for
from tropilla.compose.program import ModelFile, plan_workers

MODEL = Model("pocket", "0" * 64, 1, "llama", 1, "Q8_0", 2048, 2048, 8, 256, 0.0)
PLANS = plan_workers([ModelFile()], {"cpu": 2})


def seen(*states: State, health: int = 0) -> Sighting:
    workers = [Worker(f"cpu-{n}@host", "cpu", state, 8, MODEL) for n, state in enumerate(states, start=1)]
    return Sighting(redis=True, store=True, catalogue=Catalogue(tuple(workers)), health=health)


def test_workers_are_waited_for_until_all_are_ready() -> None:
    assert waiting_for(seen(), PLANS) == "cpu-1, cpu-2: loading pocket"
    assert waiting_for(seen("ready", "loading", health=200), PLANS) == "cpu-2: loading pocket"


def test_idle_workers_are_waited_for_until_they_are_there_whatever_they_do() -> None:
    plans = plan_workers([ModelFile()], {"cpu": 1}, idle={"cpu": 1})
    assert waiting_for(seen("ready", health=200), plans) == "cpu-2: starting"
    for state in ("idle", "loading", "ready", "draining"):
        assert waiting_for(seen("ready", state, health=200), plans) is None
        assert waiting_for(seen("loading", state, health=200), plans) == "cpu-1: loading pocket"


def test_without_a_model_an_api_that_says_so_is_ready() -> None:
    plans = plan_workers([], {}, idle={"cpu": 1})
    assert waiting_for(seen("idle", health=503), plans) is None
    assert waiting_for(seen("idle"), plans) == "api: no answer yet"


def test_then_the_store_is_waited_for() -> None:
    assert waiting_for(replace(seen("ready", "ready", health=200), store=False), PLANS) == "store: not open yet"


def test_then_the_api_is_waited_for() -> None:
    assert waiting_for(seen("ready", "ready"), PLANS) == "api: no answer yet"
    assert waiting_for(seen("ready", "ready", health=503), PLANS) == "api: GET /health answers 503"
    assert waiting_for(seen("ready", "ready", health=200), PLANS) is None


def test_a_look_says_since_when_it_has_been_looking() -> None:
    looking, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def look() -> Sighting:
        looking.release()
        assert go_on.acquire(timeout=5)
        return Sighting(redis=True)

    with Lookout(look, every_seconds=0.0) as lookout:
        assert looking.acquire(timeout=5)
        happened = time.monotonic()
        go_on.release()
        assert looking.acquire(timeout=5)
        assert lookout.latest.redis
        assert lookout.latest.began < happened
        go_on.release()
        assert looking.acquire(timeout=5)
        assert lookout.latest.began >= happened
        go_on.release()


def test_a_look_that_fails_is_reported_and_does_not_end_the_watch() -> None:
    looked = threading.Semaphore(0)

    def look() -> Sighting:
        looked.release()
        raise RuntimeError("broken")

    with Lookout(look, every_seconds=0.0) as lookout:
        assert looked.acquire(timeout=5)
        assert looked.acquire(timeout=5)
        refusal = lookout.latest.refusal
    assert refusal is not None
    assert "broken" in refusal.message


def test_the_health_of_an_api_is_its_answer_and_zero_without_one() -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = Address("127.0.0.1", server.server_port)
        assert health_status(address) == 200
        server.shutdown()
        thread.join()
    assert health_status(address) == 0

"""What one worker process goes through, told by hand what a steward would tell it."""

from __future__ import annotations

import hashlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery
from cluster.conftest import HerdMaker
from cluster.herd import Herd, Process, wait_for
from shop import Shop
from tropilla.common import codec, names
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition, Lane, Trouble, Worker
from tropilla.common.generation import (
    Event,
    Finished,
    GenerationRequest,
    Loaded,
    LoadRequest,
    Request,
    Sampling,
    TextPrompt,
    Token,
    new_request_id,
)
from tropilla.common.gguf import read_header
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Recipe
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from tropilla.workers import pocket
from tropilla.workers.card import describe

TOKENS = 200


class Stage:
    """One worker in a herd without an API: orders and tickets are given by hand."""

    def __init__(self, herd: Herd, process: Process, name: str) -> None:
        self.herd, self.process = herd, process
        self.name = f"{name}@{socket.gethostname()}"
        self.registry = Registry(herd.bus)
        self.celery: Celery = create_celery(Settings(redis_url=herd.redis_url))

    @property
    def worker(self) -> Worker:
        """As it announces itself."""
        assert self.process.alive, self.process.log
        return next(worker for worker in self.herd.bus.catalogue().workers if worker.name == self.name)

    @property
    def rss(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def until(self, state: str, pin: str = "") -> Worker:
        def there() -> Worker | None:
            known = [worker for worker in self.herd.bus.catalogue().workers if worker.name == self.name]
            assert self.process.alive, self.process.log
            return next((worker for worker in known if (worker.state, worker.pin) == (state, pin)), None)

        found: Worker = wait_for(there, f"{state} {pin}")
        return found

    def until_it_loads(self) -> None:
        """As soon as it does: that is soon over."""
        while self.herd.redis.get(names.loading_key(self.name)) is None:
            assert self.process.alive, self.process.log

    def order(self, definition: Definition | None) -> None:
        assert self.registry.order(self.name, Order(definition))

    def ask(self, request: Request, pin: str) -> Iterator[Event]:
        """The request's events, as they are written."""
        lane = Lane(pin, "cpu")
        self.herd.admit(request, lane, inbox="nobody")
        submit(self.celery, lane.name, ticket=request.id, shown=request.model)
        return self._events(request.id)

    def _events(self, request_id: str) -> Iterator[Event]:
        at = "0"
        while True:
            read: Any = self.herd.redis.xread({names.journal_key(request_id): at}, block=30_000)
            assert read, "nothing more was written"
            for entry, fields in read[0][1] if isinstance(read, list) else next(iter(read.values()))[0]:
                at = entry
                yield (event := codec.decode_event(int(entry.split(b"-")[0]) - 1, fields[b"e"]))
                if not isinstance(event, Token):
                    return


@pytest.fixture
def make_stage(make_herd: HerdMaker) -> Any:
    """Nobody listens to the answers: the worker is to go on all the same."""

    def make(*flags: str, **settings: object) -> Stage:
        herd = make_herd(orphan_seconds=600)
        name = f"test-{len(herd.processes)}"
        return Stage(herd, herd.start_worker(*flags, ready=False, **settings), name)

    return make


@pytest.fixture
def stage(make_stage: Any) -> Stage:
    """A worker that has no model of its own."""
    made: Stage = make_stage("--idle")
    made.until("idle")
    return made


def stored(stage: Stage, name: str, path: Path, recipe: Recipe | None = None) -> Definition:
    """A file in the store, under a name."""
    blobs = Blobs.below(stage.herd.folder)
    blobs.prepare()
    model = replace(describe(name, path, read_header(path), 512), pinned_as=f"{name}@0123abcd")
    blobs.path(model.digest).symlink_to(path)
    return Definition(model, Recipe(model.pin, (File(model.digest, model.size_bytes, path.name),), context=2048))


def broken(stage: Stage, name: str, content: bytes | None) -> Definition:
    """As the store would define it, were the file a model; None: the file is gone."""
    digest = hashlib.sha256(content or b"gone").hexdigest()
    if content is not None:
        Blobs.below(stage.herd.folder).path(digest).write_bytes(content)
    return Definition(replace(PLAIN, name=name), Recipe(name, (File(digest, 100, "broken.gguf"),)))


PLAIN = describe("plain", pocket.path(), read_header(pocket.path()), 512)


def generation(pin: str) -> GenerationRequest:
    greedy = Sampling(temperature=0.0)
    return GenerationRequest(new_request_id(), pin, (TextPrompt("a"),), greedy, max_tokens=TOKENS)


def test_a_worker_lets_go_of_its_model_when_what_runs_is_finished_and_all_memory_with_it(
    stage: Stage, endless_model: str
) -> None:
    endless = stored(stage, "endless", Path(endless_model.partition("=")[2]))
    small = stored(stage, "small", pocket.path())
    pin = endless.recipe.pin
    born = psutil.Process(stage.process.pid).create_time()

    stage.order(endless)
    loaded = stage.until("ready", pin)
    assert (loaded.ordered, loaded.own, loaded.slots) == (True, None, 2)
    assert loaded.model is not None
    assert loaded.model.context_length == 2048
    assert loaded.resident_bytes > endless.model.size_bytes
    undisturbed = list(stage.ask(generation(pin), pin))
    assert isinstance(undisturbed[-1], Finished)

    running = stage.ask(generation(pin), pin)
    said = [next(running) for _ in range(3)]
    stage.order(small)
    draining = stage.until("draining", pin)
    assert (draining.next_pin, draining.coming(small.recipe.pin), draining.running) == (small.recipe.pin, True, 1)
    said += running
    tokens = [event.id for event in said if isinstance(event, Token)]
    assert tokens == [event.id for event in undisturbed if isinstance(event, Token)]
    assert len(tokens) == TOKENS
    assert isinstance(said[-1], Finished)
    assert [event.index for event in said] == list(range(TOKENS + 1))

    stage.until("ready", small.recipe.pin)
    assert isinstance(list(stage.ask(generation(small.recipe.pin), small.recipe.pin))[-1], Finished)
    assert stage.registry.orders([stage.name]) == {}

    before = stage.rss
    stage.order(None)
    idle = stage.until("idle")
    assert (idle.model, idle.next_pin, idle.resident_bytes) == (None, "", 0)
    assert stage.rss < before
    # Another program in the same process, several times by now.
    assert stage.process.alive
    assert psutil.Process(stage.process.pid).create_time() == born


def test_a_worker_says_all_that_llama_cpp_does_of_a_model_that_is_debugged_and_of_no_other(stage: Stage) -> None:
    plain = stored(stage, "plain", pocket.path())
    debugged = replace(plain, recipe=replace(plain.recipe, pin="debugged@0123abcd", debug=True))
    stage.order(debugged)
    stage.until("ready", "debugged@0123abcd")
    told = stage.process.log
    assert "DEBUG tropilla.workers.llama.library: llama.cpp: " in told
    stage.order(plain)
    stage.until("ready", plain.recipe.pin)
    anew = stage.process.log.removeprefix(told).partition("loading plain")[2]
    assert "loaded plain" in anew
    assert "DEBUG" not in anew


def test_what_waits_stays_in_its_lane_for_whoever_comes_next(stage: Stage, endless_model: str) -> None:
    endless = stored(stage, "endless", Path(endless_model.partition("=")[2]))
    pin = endless.recipe.pin
    stage.order(endless)
    stage.until("ready", pin)
    asked = [stage.ask(replace(generation(pin), max_tokens=40), pin) for _ in range(16)]
    next(asked[0])
    stage.order(stored(stage, "small", pocket.path()))
    stage.until("ready", "small@0123abcd")
    waiting = stage.herd.waiting(Lane(pin, "cpu").name)
    # All that the worker had taken is finished, and none of the rest is lost on its way.
    assert 0 < waiting < len(asked)
    assert stage.herd.redis.hlen("unacked") == 0
    stage.order(endless)
    for events in asked:
        assert isinstance(list(events)[-1], Finished)


def test_a_model_that_nobody_asks_for_goes_and_takes_its_memory_with_it(stage: Stage, endless_model: str) -> None:
    endless = stored(stage, "endless", Path(endless_model.partition("=")[2]))
    nothing = stage.rss
    stage.order(endless)
    assert 290 < (stage.until("ready", endless.recipe.pin).expires_in or 0) <= 300
    asked = LoadRequest(new_request_id(), "endless", keep_alive=0.5)
    (answer,) = stage.ask(asked, endless.recipe.pin)
    assert isinstance(answer, Loaded)
    assert answer.seconds > 0
    full = stage.rss
    stage.until("idle")
    assert full - stage.rss > endless.model.size_bytes
    assert stage.rss < nothing + (32 << 20)


def test_what_cannot_be_loaded_is_reported_and_the_worker_loads_something_else(make_stage: Any) -> None:
    with Shop(pocket.path()) as shop:
        stage: Stage = make_stage("--idle", blobs_url=shop.url)
        stage.until("idle")
        stage.herd.redis.set(names.INTERNAL_SECRET_KEY, shop.secret)
        _fail_twice_and_load(stage)
        assert shop.asked


def _fail_twice_and_load(stage: Stage) -> None:
    small = stored(stage, "small", pocket.path())
    # It is fetched instead.
    Blobs.below(stage.herd.folder).path(small.model.digest).unlink()
    cut = pocket.path().read_bytes()[: 1 << 20]
    for definition, code in (
        (broken(stage, "gone", None), "file_missing"),
        (broken(stage, "cut", cut), "not_gguf"),
    ):
        stage.order(definition)
        pin = definition.recipe.pin
        wait_for(lambda pin=pin: pin in stage.registry.failures(), f"{pin} to fail")
        assert stage.registry.failures()[pin][stage.name].code == code
    stage.order(small)
    stage.until("ready", small.recipe.pin)


def test_a_model_that_was_the_worker_s_death_is_not_loaded_again_unasked(make_stage: Any) -> None:
    # Cells for eight slots take a while to be made.
    stage: Stage = make_stage(slots=8)
    stage.until_it_loads()
    stage.process.kill(signal.SIGKILL)
    stage.process.wait()
    name = stage.name.partition("@")[0]
    stage.process = stage.herd.start_worker(ready=False, worker_name=name, slots=8)
    idle = stage.until("idle")
    assert stage.registry.failures() == {
        "endless": {stage.name: Trouble("load_failed", "the worker died while loading it")}
    }
    assert idle.own is not None
    stage.order(idle.own)
    assert not stage.until("ready", "endless").ordered
    stage.order(None)
    assert stage.until("idle").own == idle.own
    stage.order(idle.own)
    stage.until_it_loads()
    # Being told to leave is no death.
    stage.process.kill(signal.SIGTERM)
    assert stage.process.wait() == 0
    assert stage.herd.redis.get(names.loading_key(stage.name)) is None
    assert stage.herd.bus.catalogue().workers == ()


def test_a_signal_ends_a_worker_that_lets_go_as_it_ends_any_other(stage: Stage, endless_model: str) -> None:
    endless = stored(stage, "endless", Path(endless_model.partition("=")[2]))
    pin = endless.recipe.pin
    stage.order(endless)
    stage.until("ready", pin)
    request = replace(generation(pin), max_tokens=100_000)
    running = stage.ask(request, pin)
    next(running)
    stage.order(stored(stage, "small", pocket.path()))
    stage.until("draining", pin)
    stage.process.kill(signal.SIGTERM)
    assert stage.process.wait() == 0
    assert stage.herd.bus.catalogue().workers == ()
    # Whoever serves the model next finds it in its lane.
    assert stage.herd.waiting(Lane(pin, "cpu").name) == 1
    assert stage.herd.bus.attempts(request.id) == 1


def test_a_worker_told_to_restart_is_waited_for(make_stage: Any) -> None:
    """Nobody else has the model: what it could not finish goes on at the process that comes after it."""
    stage: Stage = make_stage(slots=4)
    stage.until("ready", "endless")
    running = stage.ask(replace(generation("endless"), max_tokens=600), "endless")
    first = next(running)
    stage.process.kill(signal.SIGUSR2)
    assert stage.process.wait() == 0
    (left,) = stage.herd.bus.catalogue().workers
    assert (left.state, left.returns) == ("draining", True)
    assert stage.registry.catalogue().find("endless") is not None
    stage.herd.start_worker(ready=False, worker_name=stage.name.partition("@")[0])
    *tokens, last = [first, *running]
    assert [token.index for token in tokens] == list(range(600))
    assert isinstance(last, Finished)
    assert last.reason == "length"


def test_an_idle_worker_is_told_to_restart_too(stage: Stage) -> None:
    stage.process.kill(signal.SIGUSR2)
    assert stage.process.wait() == 0
    assert [worker.state for worker in stage.herd.bus.catalogue().workers] == ["idle"]

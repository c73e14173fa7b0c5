"""What the registry promises, on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster.herd import Herd
from fakes import MODEL
from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Delete, Done, Look, Progress, Task, Word
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Recipe
from tropilla.common.registry import Registry

DEFINITION = Definition(MODEL, Recipe("m", (File("0" * 64, 1, "m.gguf"),)))
TROUBLE = Trouble("not_gguf", "it is no GGUF file")


@pytest.fixture
def registry(herd: Herd) -> Iterator[Registry]:
    bus = Bus.connect(herd.redis_url)
    yield Registry(bus)
    bus.close()


def test_many_wait_for_redis_at_once(registry: Registry) -> None:
    """More than redis-py has connections for, by itself."""
    callers = 150
    together = threading.Barrier(callers)

    def hear(caller: int) -> list[tuple[str, Word]]:
        together.wait(30)
        return registry.hear(f"nobody's-{caller}", wait_seconds=1)

    with ThreadPoolExecutor(callers) as threads:
        assert list(threads.map(hear, range(callers))) == [[]] * callers


def test_what_is_defined_is_read_again_only_after_a_change(registry: Registry) -> None:
    before = registry.shelf()
    registry.trouble("m", TROUBLE)
    registry.define(DEFINITION)
    shelf = registry.shelf(before)
    assert DEFINITION in shelf.definitions
    assert "m" not in shelf.troubles
    assert registry.shelf(shelf) is shelf
    registry.forget("m")
    registry.trouble("m", TROUBLE)
    shelf = registry.shelf(shelf)
    assert DEFINITION not in shelf.definitions
    assert shelf.troubles["m"] == TROUBLE
    registry.trouble("m", None)
    assert "m" not in registry.shelf(shelf).troubles


def test_a_worker_has_one_order_at_a_time(registry: Registry) -> None:
    assert registry.order("w1", Order(DEFINITION))
    assert not registry.order("w1", Order(None))
    assert registry.orders(["w1", "w2"]) == {"w1": Order(DEFINITION)}
    assert registry.take_order("w1") == Order(DEFINITION)
    registry.acknowledge_order("w1")
    assert (registry.orders(["w1"]), registry.take_order("w1")) == ({}, None)


def test_an_order_is_kept_for_as_long_as_its_worker_is_busy(registry: Registry, herd: Herd) -> None:
    assert registry.order("w3", Order(DEFINITION))
    herd.redis.pexpire(names.order_key("w3"), 100)
    registry.keep_order("w3")
    assert herd.redis.pttl(names.order_key("w3")) > 10_000
    registry.acknowledge_order("w3")
    registry.keep_order("w3")
    assert registry.take_order("w3") is None


def test_what_a_worker_was_loading_is_told_once(registry: Registry) -> None:
    registry.begin_loading("m@0123abcd", "w1")
    assert registry.end_loading("w2") == ""
    assert [registry.end_loading("w1"), registry.end_loading("w1")] == ["m@0123abcd", ""]


def test_a_failure_is_known_for_its_time(registry: Registry) -> None:
    registry.report_failure("m", "w1", TROUBLE, seconds=60)
    registry.report_failure("n", "w1", TROUBLE, seconds=0.001)
    while "n" in registry.failures():
        pass
    assert registry.failures() == {"m": {"w1": TROUBLE}}


def test_one_holds_an_office(registry: Registry) -> None:
    assert registry.lead("test", "a", seconds=60)
    assert registry.lead("test", "a", seconds=0.01)
    while not registry.lead("test", "b", seconds=60):
        pass
    assert not registry.lead("test", "a", seconds=60)


def test_an_office_is_given_up_by_its_holder_only(registry: Registry) -> None:
    assert not registry.staffed("desk")
    registry.lead("desk", "a", seconds=60)
    registry.resign("desk", "b")
    assert registry.staffed("desk")
    registry.resign("desk", "a")
    assert not registry.staffed("desk")


def test_an_office_whose_holder_is_about_to_be_replaced_counts_as_held(registry: Registry) -> None:
    registry.lead("desk", "a", seconds=60)
    registry.resign("desk", "a", expect_seconds=0.05)
    assert registry.staffed("desk")
    assert registry.lead("desk", "b", seconds=60)
    registry.resign("desk", "b")
    while registry.staffed("desk"):
        pass


def test_information_goes_with_its_file(registry: Registry) -> None:
    registry.inform("d" * 64, b"{}")
    assert registry.information("d" * 64) == b"{}"
    registry.uninform("d" * 64, "e" * 64)
    assert registry.information("d" * 64) is None


def test_who_comes_second_listens_to_the_errand_that_is_under_way(registry: Registry) -> None:
    assert registry.begin(Delete("e1", "m"), "m") == "e1"
    assert registry.begin(Delete("e2", "m"), "m") == "e1"
    registry.tell("e1", Progress("on it"))
    registry.tell("e1", Done("m"), flight="m")
    assert registry.begin(Delete("e3", "m"), "m") == "e3"
    (place, first), (_, last) = registry.hear("e1")
    assert (first, last) == (Progress("on it"), Done("m"))
    assert [word for _, word in registry.hear("e1", place)] == [Done("m")]
    assert registry.hear("nobody") == []


def test_a_word_is_heard_when_it_is_said(registry: Registry) -> None:
    heard: list[Word] = []
    listening = threading.Thread(target=lambda: heard.extend(w for _, w in registry.hear("e4", wait_seconds=30)))
    listening.start()
    registry.tell("e4", Done("m"))
    listening.join(30)
    assert heard == [Done("m")]


def test_what_was_asked_is_known_with_what_came_of_it(registry: Registry) -> None:
    asked, joined = Delete("t1", "m"), Delete("t2", "m")
    registry.begin(asked, "flight")
    registry.begin(joined, "flight")
    registry.tell("t1", Progress("on it"))
    assert Task(asked, (Progress("on it"),)) in registry.tasks()
    assert registry.task("t2") is None, "it is the first one that is under way"
    registry.tell("t1", Done("m"), flight="flight")
    assert asked not in [task.errand for task in registry.tasks()]
    over = registry.task("t1")
    assert over == Task(asked, (Progress("on it"), Done("m")))
    assert over.over


def test_an_errand_can_be_stopped(registry: Registry) -> None:
    assert not registry.stopped("e5")
    registry.stop_errand("e5", discard=False)
    assert registry.stopped("e5") == "pause"
    registry.stop_errand("e5", discard=True)
    assert registry.stopped("e5") == "discard"


def test_who_listens_to_an_errand_is_counted(registry: Registry) -> None:
    assert [registry.attend("e6", more) for more in (1, 1, -1, -1)] == [1, 2, 1, 0]


def test_looks_are_taken_in_turn_and_leave_nothing(registry: Registry, herd: Herd) -> None:
    first, second, third = (Look(f"look-{n}", "https://x.example/", 1) for n in range(3))
    for look in (first, second, third):
        assert registry.begin(look, f"flight {look.id}") == look.id
        registry.queue_look(look, f"flight {look.id}")
    assert not any(isinstance(task.errand, Look) for task in registry.tasks())
    # Its caller has left; of another one everything is over.
    registry.stop_errand(first.id, discard=True)
    herd.bus.connection.delete(names.errand_asked_key(second.id))
    found = [registry.next_look(wait_seconds=1) for _ in range(3)]
    assert found == [None, None, (third, "flight look-2")]
    registry.tell(third.id, Done("digest"), flight="flight look-2", passing=True)
    assert registry.hear(third.id)[-1][1] == Done("digest")
    registry.attend(third.id, 1)
    registry.attend(third.id, -1)
    keys = [names.errand_key(third.id), names.errand_asked_key(third.id), names.flight_key("flight look-1")]
    keys += [names.errand_stop_key(first.id), names.errand_listeners_key(third.id)]
    assert all(0 < herd.bus.connection.pttl(key) <= 30_000 for key in keys)
    assert herd.bus.connection.exists(names.LOOKS_KEY, names.flight_key("flight look-2")) == 0

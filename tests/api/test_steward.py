"""The steward over a registry in memory, its turns taken by hand."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from fakes import MODEL, Clock
from simulated import definition
from tropilla.api.steward import LOOK_AFTER_SECONDS, OFFICE_SECONDS, RENEW_SECONDS, Steward
from tropilla.common.catalogue import Worker, catalogue
from tropilla.common.errors import StoreUnavailable
from tropilla.common.orders import Order
from tropilla.common.survey import Seen

A, B = definition("a"), definition("b")
IDLE = Worker("idle", "cpu", "idle", 4, None)
HAS_B = Worker("busy", "cpu", "ready", 4, replace(MODEL, name="b"), ordered=True)


class World:
    """What registry and survey tell a steward, and what it tells them."""

    def __init__(self, *workers: Worker) -> None:
        self.clock = Clock()
        self.workers = list(workers)
        self.waiting: dict[str, int] = {}
        #: Tickets whose requests are over, by lane.
        self.over: dict[str, int] = {}
        self.orders: dict[str, Order] = {}
        self.holder, self.until = "", 0.0
        self.asked = self.looked = self.looked_after = 0
        self.down: Exception | None = None
        self.turned = threading.Event()

    def lead(self, office: str, who: str, *, seconds: float) -> bool:
        self.asked += 1
        if self.down:
            raise self.down
        if self.holder in ("", who) or self.clock() >= self.until:
            self.holder, self.until = who, self.clock() + seconds
        return self.holder == who

    def order(self, worker: str, order: Order) -> bool:
        return self.orders.setdefault(worker, order) is order

    def look(self) -> Seen:
        self.looked += 1
        self.turned.set()
        if self.down:
            raise self.down
        return Seen(catalogue(self.workers, [A, B]), dict(self.waiting), dict(self.orders))

    def sweep(self, lane: str) -> int:
        swept = self.over.pop(lane, 0)
        self.waiting[lane] -= swept
        return swept

    def look_after_the_lost(self) -> None:
        self.looked_after += 1

    def steward(self, name: str = "here", **times: float) -> Steward:
        after = self.look_after_the_lost
        return Steward(self, self, self.sweep, after, name, swap_seconds=10, clock=self.clock, **times)


def pins(world: World) -> dict[str, str]:
    return {worker: order.definition.recipe.pin for worker, order in world.orders.items() if order.definition}


def test_what_is_waited_for_is_ordered_once() -> None:
    world = World(IDLE)
    steward = world.steward()
    steward.turn()
    assert world.orders == {}
    world.waiting = {"a.cpu": 2}
    for _ in range(3):
        steward.turn()
    assert world.orders == {"idle": Order(A)}


def test_whoever_holds_the_office_looks_after_the_lost_now_and_then() -> None:
    world = World(IDLE)
    here, there = world.steward("here"), world.steward("there")
    for _ in range(11):
        for steward in (here, there):
            steward.turn()
        world.clock.advance(LOOK_AFTER_SECONDS / 5)
    assert world.looked_after == 3


def test_time_passes_between_its_turns() -> None:
    world = World(replace(HAS_B, running=1))
    world.waiting = {"a.cpu": 1, "b.cpu": 1}
    steward = world.steward()
    for _ in range(39):
        steward.turn()
        world.clock.advance(0.25)
    assert world.orders == {}
    for _ in range(2):
        steward.turn()
        world.clock.advance(0.25)
    assert pins(world) == {"busy": "a"}


def test_nothing_is_loaded_for_those_who_have_left() -> None:
    world = World(IDLE)
    world.waiting, world.over = {"a.cpu": 3}, {"a.cpu": 3}
    world.steward().turn()
    assert world.orders == {}
    world.waiting, world.over = {"a.cpu": 3}, {"a.cpu": 2}
    world.steward().turn()
    assert pins(world) == {"idle": "a"}


def test_nothing_is_swept_where_a_worker_pulls() -> None:
    world = World(HAS_B)
    world.waiting, world.over = {"b.cpu": 3, "b.gpu": 1}, {"b.cpu": 3, "b.gpu": 1}
    world.steward().turn()
    assert world.over == {"b.cpu": 3}


def test_one_of_them_holds_the_office_until_it_is_heard_no_more() -> None:
    world = World(IDLE)
    first, second = world.steward("first"), world.steward("second")
    first.turn()
    second.turn()
    assert (world.holder, world.looked) == ("first", 1)
    for _ in range(10):
        world.clock.advance(RENEW_SECONDS)
        first.turn()
        second.turn()
    assert (world.holder, world.looked) == ("first", 11)
    world.clock.advance(OFFICE_SECONDS)
    second.turn()
    first.turn()
    assert (world.holder, world.looked) == ("second", 12)


def test_the_office_is_not_asked_for_at_every_turn() -> None:
    world = World(IDLE)
    steward = world.steward()
    for _ in range(8):
        steward.turn()
        world.clock.advance(0.25)
    assert (world.asked, world.looked) == (2, 8)


def test_an_order_that_the_worker_has_one_before_is_tried_again() -> None:
    world = World(IDLE)
    world.waiting = {"a.cpu": 1}
    steward, taken = world.steward(), Order(None)
    steward.turn()
    world.orders = {"idle": taken}
    steward.turn()
    assert world.orders == {"idle": taken}
    del world.orders["idle"]
    steward.turn()
    assert pins(world) == {"idle": "a"}


@pytest.mark.parametrize("error", [StoreUnavailable("Redis cannot serve"), RuntimeError("a bug")])
def test_it_goes_on_when_redis_comes_back_or_something_broke(error: Exception) -> None:
    world = World(IDLE)
    world.waiting, world.down = {"a.cpu": 1}, error
    steward = world.steward()
    steward.start()
    try:
        while world.asked < 2:
            steward.wake()
        assert world.orders == {}
        world.down = None
        world.turned.clear()
        steward.wake()
        assert world.turned.wait(10)
    finally:
        steward.stop()
    assert pins(world) == {"idle": "a"}


def test_who_submits_something_new_is_heard_at_once() -> None:
    world = World(IDLE)
    steward = world.steward(turn_seconds=600)
    steward.start()
    try:
        assert world.turned.wait(10)
        world.waiting = {"a.cpu": 1}
        world.turned.clear()
        steward.wake()
        assert world.turned.wait(10)
    finally:
        steward.stop()
    assert pins(world) == {"idle": "a"}

"""What placement sees of a cluster, on a real Redis and in real Celery lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from fakes import MODEL, request
from simulated import definition
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane, Trouble, Worker
from tropilla.common.generation import new_request_id
from tropilla.common.orders import Order
from tropilla.common.registry import Registry
from tropilla.common.survey import Survey

A, B = definition("a"), definition("org/b:q4")
IDLE = Worker("idle@here", "cpu", "idle", 4, None)
HAS_A = Worker("busy@here", "gpu", "ready", 4, replace(MODEL, name="a"), ordered=True)
LANE = Lane("a", "cpu")
FAILED = Trouble("load_failed", "it could not be loaded")


@dataclass
class World:
    herd: Herd
    bus: Bus
    registry: Registry
    survey: Survey

    def submit(self, lane: Lane = LANE) -> str:
        """A request that waits."""
        asked = request(new_request_id(), model="a")
        self.herd.admit(asked, lane, inbox="here")
        return asked.id


@pytest.fixture
def world(make_herd: HerdMaker) -> Iterator[World]:
    herd = make_herd()
    bus = Bus.connect(herd.redis_url)
    registry = Registry(bus)
    yield World(herd, bus, registry, Survey(bus, registry, herd.room))
    bus.close()


def commands(world: World) -> int:
    """How many times Redis has been asked anything, in packets as they come."""
    return int(world.herd.redis.info("stats")["total_reads_processed"])


def test_nothing_is_seen_where_nothing_is(world: World) -> None:
    seen = world.survey.look()
    assert (seen.catalogue.workers, seen.waiting, seen.orders) == ((), {}, {})


def test_it_sees_who_is_there_what_there_is_and_who_waits(world: World) -> None:
    world.bus.announce(IDLE)
    world.bus.announce(HAS_A)
    world.registry.define(A, B)
    world.registry.report_failure("org/b:q4", "idle@here", FAILED, seconds=60)
    world.submit()
    world.submit(Lane("org/b:q4", "gpu"))
    order = Order(B)
    world.registry.order("busy@here", order)
    world.registry.order("nobody@here", order)
    seen = world.survey.look()
    assert seen.catalogue == world.registry.catalogue()
    assert seen.catalogue.workers == (HAS_A, IDLE)
    assert seen.catalogue.failures == {"org/b:q4": {"idle@here": FAILED}}
    assert seen.waiting == {"a.cpu": 1, "org/b:q4.gpu": 1}
    assert seen.orders == {"busy@here": order}


def test_it_notices_who_has_come_and_who_has_gone(world: World) -> None:
    world.bus.announce(HAS_A)
    assert world.survey.look().catalogue.workers == (HAS_A,)
    world.bus.announce(IDLE)
    assert world.survey.look().catalogue.workers == (HAS_A, IDLE)
    world.bus.leave(HAS_A.name)
    assert world.survey.look().catalogue.workers == (IDLE,)
    # It died, and its presence ran out.
    world.herd.redis.delete("tropilla:worker:idle@here")
    assert world.survey.look().catalogue.workers == ()
    assert world.herd.redis.smembers("tropilla:workers") == set()


def test_looking_costs_one_question_while_nothing_changes(world: World) -> None:
    world.bus.announce(IDLE)
    world.bus.announce(HAS_A)
    world.registry.define(A, B)
    for _ in range(2):
        world.survey.look()
    before = commands(world)
    for _ in range(10):
        world.survey.look()
    # The last one is the question itself.
    assert commands(world) - before == 10 + 1

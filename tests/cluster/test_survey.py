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
from tropilla.common.settings import Settings
from tropilla.common.survey import Survey
from tropilla.common.tasks import create_celery, submit

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
        assert self.bus.admit(asked.id, inbox="here", lane=lane.name, bound=100, lifetime_seconds=60) is not None
        celery = create_celery(Settings(redis_url=self.herd.redis_url))
        submit(celery, asked, lane=lane)
        celery.close()
        return asked.id


@pytest.fixture
def world(make_herd: HerdMaker) -> Iterator[World]:
    herd = make_herd()
    bus = Bus.connect(herd.redis_url)
    registry = Registry(bus)
    yield World(herd, bus, registry, Survey(bus, registry))
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


def test_tickets_of_requests_that_are_over_are_taken_out_and_no_others(world: World) -> None:
    waiting, ended, left, forgotten = (world.submit() for _ in range(4))
    world.bus.conclude(ended, b"over", attempt=None, journal_seconds=60)
    world.bus.cancel(left, seconds=60)
    world.herd.redis.delete(f"tropilla:request:{forgotten}:state")
    world.herd.redis.rpush(LANE.name, b"not a ticket of ours")
    assert world.survey.sweep(LANE.name) == 3
    assert world.survey.sweep(LANE.name) == 0
    (foreign, ticket) = sorted(world.herd.redis.lrange(LANE.name, 0, -1))
    assert foreign == b"not a ticket of ours"
    assert waiting.encode() in ticket
    assert world.survey.sweep("nobody.cpu") == 0

"""The scripts' contract, on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from fakes import WORKER, request
from tropilla.common import names
from tropilla.common.bus import Bus, Delivered, Entry, Lease, Listener, split_message
from tropilla.common.catalogue import Lane
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.generation import new_request_id
from tropilla.common.logs import JsonLines
from tropilla.common.metrics import Key
from tropilla.common.settings import Settings
from tropilla.compose import health
from tropilla.workers import witness

INBOX = "test-inbox"
LANE = Lane("nobody", "cpu")


@pytest.fixture
def bus(herd: Herd) -> Iterator[Bus]:
    bus = Bus.connect(herd.redis_url)
    yield bus
    bus.close()


@pytest.fixture
def listener(bus: Bus) -> Iterator[Listener]:
    listener = bus.listen_inbox(INBOX)
    yield listener
    listener.close()


def taken(herd: Herd, *, inbox: str = INBOX) -> str:
    """A request that a worker called `a` has taken, attempt 1."""
    request_id = new_request_id()
    herd.admit(request(request_id), LANE, inbox=inbox)
    found = herd.room.take(LANE.name, worker="a", lease_seconds=5, journal_seconds=60)
    assert (found.outcome, found.request_id, found.attempt) == ("claimed", request_id, 1)
    return request_id


def entries(request_id: str, attempt: int, indices: range, *, ends: bool = False) -> list[Entry]:
    last = "completed" if ends else ""
    return [
        Entry(request_id, attempt, index, last if index == indices[-1] else "", b"e%d" % index, tokens=1)
        for index in indices
    ]


def test_a_released_journal_is_gone_and_its_request_stays_ended(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60)
    bus.release(request_id)
    assert bus.read_journal(request_id) == []
    # A writer whose connection broke and who asks again has nothing left to write.
    assert bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60).refused == {(request_id, 1)}
    assert bus.read_journal(request_id) == []


def test_events_are_journalled_and_published_in_one_message_per_inbox(bus: Bus, herd: Herd, listener: Listener) -> None:
    one, two = taken(herd), taken(herd)
    appended = bus.append([*entries(one, 1, range(2)), *entries(two, 1, range(1))], journal_seconds=60)
    assert (appended.refused, appended.unheard) == (frozenset(), frozenset())
    message = listener.read(5)
    assert message is not None
    assert list(split_message(message)) == [
        Delivered(one, 0, b"e0"), Delivered(one, 1, b"e1"), Delivered(two, 0, b"e0"),
    ]  # fmt: skip
    assert bus.read_journal(one, 1) == [Delivered(one, 1, b"e1")]


def test_appending_the_same_events_twice_is_harmless_and_counts_once(bus: Bus, herd: Herd) -> None:
    request_id, counted = taken(herd), Key("generated_tokens", request().model)
    before = bus.counts().get(counted, 0)
    for _ in range(2):
        said = entries(request_id, 1, range(3), ends=True)
        assert not bus.append(said, journal_seconds=60).refused
    assert len(bus.read_journal(request_id)) == 3
    assert bus.counts()[counted] - before == 3


def test_a_zombie_is_refused_and_publishes_nothing(bus: Bus, herd: Herd, listener: Listener) -> None:
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(1)), journal_seconds=60)
    assert bus.conclude(request_id, b"over", outcome="failed:x", attempt=None, journal_seconds=60) == 1
    assert bus.append(entries(request_id, 1, range(1, 4)), journal_seconds=60).refused == {(request_id, 1)}
    assert [item.payload for item in bus.read_journal(request_id)] == [b"e0", b"over"]
    assert [listener.read(5) is not None, listener.read(5) is not None, listener.read(0.05)] == [True, True, None]


def test_each_attempt_in_one_call_is_refused_or_accepted_for_itself(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(2)), journal_seconds=60)
    herd.redis.hset(names.state_key(request_id), "attempt", 2)
    both = [*entries(request_id, 1, range(2, 4)), *entries(request_id, 2, range(2, 5))]
    assert bus.append(both, journal_seconds=60).refused == {(request_id, 1)}
    assert [item.index for item in bus.read_journal(request_id)] == [0, 1, 2, 3, 4]


def test_an_event_behind_one_that_redis_has_lost_is_refused(bus: Bus, herd: Herd) -> None:
    """A fail-over loses what came last: nobody writes on beyond it as if it stood there."""
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(5)), journal_seconds=60)
    herd.redis.xtrim(names.journal_key(request_id), minid="5-0", approximate=False)
    assert not bus.append(entries(request_id, 1, range(5, 6)), journal_seconds=60).refused
    assert bus.append(entries(request_id, 1, range(7, 8)), journal_seconds=60).refused == {(request_id, 1)}
    # What ends it from outside stands behind the last one, whatever is missing before.
    assert bus.conclude(request_id, b"over", outcome="failed:x", attempt=None, journal_seconds=60) == 6


def test_a_journal_that_has_as_many_events_as_should_be_there_may_still_have_a_later_one(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(5)), journal_seconds=60)
    herd.redis.xdel(names.journal_key(request_id), "2-0")
    other = Entry(request_id, 1, 4, "", b"another")
    assert bus.append([other], journal_seconds=60).refused == {(request_id, 1)}
    assert not bus.append(entries(request_id, 1, range(4, 6)), journal_seconds=60).refused
    assert [item.payload for item in bus.read_journal(request_id)] == [b"e0", b"e2", b"e3", b"e4", b"e5"]


def test_an_ended_request_cannot_be_concluded_or_written_to(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60)
    assert bus.conclude(request_id, b"over", outcome="failed:x", attempt=None, journal_seconds=60) is None
    assert bus.append(entries(request_id, 1, range(2, 3)), journal_seconds=60).refused == {(request_id, 1)}


def test_nobody_is_concluded_who_has_gone_on_since_it_was_looked_at(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    assert bus.conclude(request_id, b"over", outcome="failed:x", attempt=0, journal_seconds=60) is None
    assert bus.conclude(request_id, b"over", outcome="failed:x", attempt=1, journal_seconds=60) == 0


def test_renewing_tells_which_leases_are_lost(bus: Bus, herd: Herd) -> None:
    request_id = taken(herd)
    mine, never = Lease(request_id, "a", 1), Lease(request_id, "b", 2)
    assert bus.renew([mine, never], lease_seconds=5) == [never]


def test_a_request_without_listeners_is_unheard_unless_it_needs_none(bus: Bus, herd: Herd) -> None:
    alone, background = taken(herd, inbox="dead"), taken(herd, inbox="")
    said = [*entries(alone, 1, range(1)), *entries(background, 1, range(1))]
    assert bus.append(said, journal_seconds=60).unheard == {alone}


def test_an_evicting_redis_is_refused_by_name(bus: Bus, herd: Herd) -> None:
    herd.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="maxmemory-policy allkeys-lru"):
            bus.check()
    finally:
        herd.redis.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_is_not_there_is_one_sentence() -> None:
    bus = Bus.connect("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(ConfigurationError, match=r"Redis at redis://127\.0\.0\.1:1/0 cannot be reached"):
        bus.check()
    with pytest.raises(StoreUnavailable):
        bus.ping()


def test_who_cannot_be_heard_because_redis_takes_nothing_is_not_called_dead(make_herd: HerdMaker) -> None:
    """As with a full disk: it still answers, and what workers and the store say of themselves has run out meanwhile."""
    herd = make_herd()
    settings = Settings(redis_url=herd.redis_url)
    for look in (health.worker, health.store):
        assert not look(settings, "").well
    herd.redis.config_set("min-replicas-to-write", 1)
    for look in (health.worker, health.store):
        assert "nothing is known against" in look(settings, "").sentence
        assert look(settings, "").well


#: What becomes of workers of one name, one after the other -> how many of them are lost. Capitals are lives.
LOST = {
    "A says, A says": 0,
    "A says, A leaves, B says": 0,
    "A says, A returns, B says": 0,
    "A says, B says": 1,
    "A says, B says, B says": 1,
    "A says, silence": 1,
    "A says, silence, silence, B says": 1,
    "A says, A returns, silence": 1,
    "A says, A is buried": 1,
    "A says, A is buried, A is buried": 1,
    "A says, A is buried, silence": 1,
    "A says, A is buried, B says": 1,
    "A says, A is buried, B says, silence": 2,
    "A says, A is buried, B says, B is buried, C says": 2,
    "A says, B says, A is buried": 1,
    "A says, silence, A is buried, B says": 1,
    "A says, silence, B says, A is buried": 1,
    "A is buried, A says": 0,
}


@pytest.mark.parametrize("fates", LOST)
def test_each_worker_that_is_lost_is_counted_once(bus: Bus, herd: Herd, fates: str) -> None:
    worker, before = replace(WORKER, name=f"w-{new_request_id()}@host"), bus.counts().get(Key("workers_lost"), 0)
    for fate in fates.split(", "):
        match fate.split():
            case [life, "says"]:
                bus.announce(worker, life=life)
            case [_, "leaves"]:
                bus.leave(worker.name)
            case [_, "returns"]:
                bus.announce(worker)
            case [life, "is", "buried"]:
                herd.room.bury(worker.name, killed=True, life=life)
            case ["silence"]:
                herd.redis.delete(names.presence_key(worker.name))
                bus.forget_workers([worker.name])
    assert bus.counts().get(Key("workers_lost"), 0) - before == LOST[fates]
    bus.leave(worker.name)


def test_who_speaks_again_meanwhile_is_not_forgotten(bus: Bus) -> None:
    before = bus.counts().get(Key("workers_lost"), 0)
    bus.announce(replace(WORKER, name="late@host"), life="A")
    bus.forget_workers(["late@host"])
    assert "late@host" in {worker.name for worker in bus.catalogue().workers}
    assert bus.counts().get(Key("workers_lost"), 0) == before
    bus.leave("late@host")


def test_what_a_witness_says_is_a_line_like_all_others(herd: Herd, caplog: pytest.LogCaptureFixture) -> None:
    """In the form of the settings, as whatever the worker itself has logged."""
    witness.burying(Settings(redis_url=herd.redis_url), "gone@host", "A")(False)
    (line,) = caplog.records
    told = json.loads(JsonLines("worker", "gone").format(line))
    assert (told["level"], told["message"]) == ("warning", "gone@host has crashed: 0 requests wait again")

"""The scripts' contract, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.herd import Herd
from tropilla.common import names
from tropilla.common.bus import Bus, Delivered, Entry, Lease, Listener, split_message
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.generation import new_request_id

INBOX = "test-inbox"


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


def admitted(bus: Bus, lane: str = "nobody.cpu", bound: int = 10) -> str:
    request_id = new_request_id()
    assert bus.admit(request_id, inbox=INBOX, lane=lane, bound=bound, lifetime_seconds=60) is not None
    return request_id


def entries(request_id: str, attempt: int, indices: range, *, ends: bool = False) -> list[Entry]:
    last = indices[-1]
    return [Entry(request_id, attempt, index, ends and index == last, b"e%d" % index) for index in indices]


def test_a_claim_is_one_workers_alone(bus: Bus) -> None:
    request_id = admitted(bus)
    first = bus.claim(request_id, worker="a", lease_seconds=5)
    second = bus.claim(request_id, worker="b", lease_seconds=5)
    assert (first.outcome, first.attempt, second.outcome) == ("claimed", 1, "held")
    assert 4 < (bus.held_for(request_id) or 0) <= 5


def test_a_released_journal_is_gone_and_its_request_stays_ended(bus: Bus) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="a", lease_seconds=5)
    bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60)
    bus.release(request_id)
    assert bus.read_journal(request_id) == []
    assert bus.claim(request_id, worker="b", lease_seconds=5).outcome == "ended"
    # A writer whose connection broke and who asks again has nothing left to write.
    assert bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60).refused == {request_id}
    assert bus.read_journal(request_id) == []


def test_an_unknown_request_has_ended(bus: Bus) -> None:
    assert bus.claim(new_request_id(), worker="a", lease_seconds=5).outcome == "ended"


def test_events_are_journalled_and_published_in_one_message_per_inbox(bus: Bus, listener: Listener) -> None:
    one, two = admitted(bus), admitted(bus)
    for request_id in (one, two):
        bus.claim(request_id, worker="a", lease_seconds=5)
    appended = bus.append([*entries(one, 1, range(2)), *entries(two, 1, range(1))], journal_seconds=60)
    assert not appended.refused
    assert appended.reached == {names.inbox_channel(INBOX)}
    message = listener.read(5)
    assert message is not None
    assert list(split_message(message)) == [
        Delivered(one, 0, b"e0"), Delivered(one, 1, b"e1"), Delivered(two, 0, b"e0"),
    ]  # fmt: skip
    assert bus.read_journal(one, 1) == [Delivered(one, 1, b"e1")]


def test_appending_the_same_events_twice_is_harmless(bus: Bus) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="a", lease_seconds=5)
    for _ in range(2):
        assert not bus.append(entries(request_id, 1, range(3), ends=True), journal_seconds=60).refused
    assert len(bus.read_journal(request_id)) == 3


def test_a_zombie_is_refused_and_publishes_nothing(bus: Bus, listener: Listener) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="zombie", lease_seconds=5)
    bus.append(entries(request_id, 1, range(1)), journal_seconds=60)
    assert bus.conclude(request_id, b"over", attempt=None, journal_seconds=60) == 1
    appended = bus.append(entries(request_id, 1, range(1, 4)), journal_seconds=60)
    assert appended.refused == {request_id}
    assert not appended.reached
    assert [item.payload for item in bus.read_journal(request_id)] == [b"e0", b"over"]
    assert [listener.read(5) is not None, listener.read(5) is not None, listener.read(0.05)] == [True, True, None]


def lost(bus: Bus, request_id: str) -> None:
    """A worker takes the request and dies."""
    assert bus.claim(request_id, worker="a", lease_seconds=0.02).outcome == "claimed"
    while bus.held_for(request_id) is not None:
        pass


def test_a_later_attempt_goes_on_behind_what_an_earlier_one_had_said(bus: Bus) -> None:
    request_id = admitted(bus)
    lost(bus, request_id)
    bus.append(entries(request_id, 1, range(2)), journal_seconds=60)
    again = bus.claim(request_id, worker="b", lease_seconds=5)
    assert (again.outcome, again.attempt, again.next_index) == ("claimed", 2, 2)
    assert bus.append(entries(request_id, 1, range(2, 3)), journal_seconds=60).refused == {request_id}


def test_a_request_that_has_cost_two_workers_is_not_tried_again(bus: Bus) -> None:
    request_id = admitted(bus)
    lost(bus, request_id)
    lost(bus, request_id)
    assert bus.claim(request_id, worker="c", lease_seconds=5).outcome == "crashed"


def test_a_request_that_was_given_back_has_cost_nobody(bus: Bus) -> None:
    request_id = admitted(bus)
    for attempt in range(1, 5):
        assert bus.claim(request_id, worker="a", lease_seconds=5).outcome == "claimed"
        mine, stale = Lease(request_id, "a", attempt), Lease(request_id, "a", attempt - 1)
        assert bus.hand_back([stale, mine]) == [mine]
        assert bus.held_for(request_id) is None
        assert bus.renew([mine], lease_seconds=5) == [mine], "what was given back is not taken again"


def test_an_ended_request_cannot_be_claimed_concluded_or_written_to(bus: Bus) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="a", lease_seconds=5)
    bus.append(entries(request_id, 1, range(2), ends=True), journal_seconds=60)
    assert bus.claim(request_id, worker="b", lease_seconds=5).outcome == "ended"
    assert bus.conclude(request_id, b"over", attempt=None, journal_seconds=60) is None
    assert bus.append(entries(request_id, 1, range(2, 3)), journal_seconds=60).refused == {request_id}


def test_a_cancelled_request_is_known_to_whoever_pops_its_ticket_later(bus: Bus) -> None:
    request_id = admitted(bus)
    cancels = bus.listen_cancels()
    bus.cancel(request_id, seconds=60)
    assert cancels.read(5) == request_id.encode()
    cancels.close()
    assert bus.cancelled([new_request_id(), request_id]) == [request_id]
    assert bus.claim(request_id, worker="a", lease_seconds=5).outcome == "cancelled"


def test_renewing_tells_which_leases_are_lost(bus: Bus) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="a", lease_seconds=5)
    mine, never = Lease(request_id, "a", 1), Lease(request_id, "b", 2)
    assert bus.renew([mine, never], lease_seconds=5) == [never]


def test_a_lease_that_has_run_out_is_its_holders_again_until_somebody_takes_the_request(bus: Bus) -> None:
    request_id = admitted(bus)
    lost(bus, request_id)
    mine = Lease(request_id, "a", 1)
    assert bus.renew([mine], lease_seconds=0.02) == []
    while bus.held_for(request_id) is not None:
        pass
    bus.claim(request_id, worker="b", lease_seconds=5)
    assert bus.renew([mine], lease_seconds=5) == [mine]


def test_a_lease_of_a_request_that_has_ended_is_not_renewed(bus: Bus) -> None:
    request_id = admitted(bus)
    lost(bus, request_id)
    bus.conclude(request_id, b"x", attempt=None, journal_seconds=60)
    mine = Lease(request_id, "a", 1)
    assert bus.renew([mine], lease_seconds=5) == [mine]


def test_a_full_lane_admits_nobody(bus: Bus, herd: Herd) -> None:
    herd.redis.rpush("full.cpu", "one", "two")
    assert bus.admit(new_request_id(), inbox=INBOX, lane="full.cpu", bound=2, lifetime_seconds=60) is None
    assert bus.admit(new_request_id(), inbox=INBOX, lane="full.cpu", bound=3, lifetime_seconds=60) == 2
    herd.redis.delete("full.cpu")


def test_an_inbox_without_listeners_is_unheard(bus: Bus) -> None:
    request_id = new_request_id()
    bus.admit(request_id, inbox="dead", lane="nobody.cpu", bound=9, lifetime_seconds=60)
    bus.claim(request_id, worker="a", lease_seconds=5)
    appended = bus.append(entries(request_id, 1, range(1)), journal_seconds=60)
    assert appended.unheard == {names.inbox_channel("dead")}


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


def test_nobody_is_concluded_who_has_gone_on_since_it_was_looked_at(bus: Bus) -> None:
    request_id = admitted(bus)
    bus.claim(request_id, worker="a", lease_seconds=5)
    assert bus.conclude(request_id, b"over", attempt=0, journal_seconds=60) is None
    assert bus.conclude(request_id, b"over", attempt=1, journal_seconds=60) == 0

"""Who may wait, and who is next: the room's scripts, on a real Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from cluster.herd import Herd
from fakes import request
from tropilla.common import codec, names
from tropilla.common.bus import Bus, Entry, Lease, Listener
from tropilla.common.catalogue import Lane
from tropilla.common.gauges import Gauges
from tropilla.common.generation import Failed, Finished, TextPrompt, new_request_id
from tropilla.common.room import MAX_LOST_IN_ALL, Admitted, Position, Room, Taken, arrival
from tropilla.common.terms import NO_TERMS, PRIORITIES, Bounds, Newcomer, Priority, Terms

WIDE = Bounds(model=100, key=100, all=100)
_numbers = count()


class Queue:
    """One lane that is nobody else's."""

    def __init__(self, herd: Herd) -> None:
        self.herd, self.bus, self.room = herd, herd.bus, Room(herd.bus)
        self.lane = Lane(f"room{next(_numbers)}", "cpu")
        self.names: dict[str, str] = {}

    def ask(
        self,
        name: str = "r",
        terms: Terms = NO_TERMS,
        *,
        bounds: Bounds = WIDE,
        tokens: int = 10,
        seconds: float = 60,
        call: bytes = b"",
    ) -> Admitted:
        asked = request(new_request_id(), prompts=(TextPrompt(""),), max_tokens=tokens)
        self.names[asked.id] = name
        return self.room.admit(
            asked,
            self.lane,
            terms,
            inbox="here",
            bounds=bounds,
            deadline_seconds=seconds,
            kept_seconds=60,
            call=call,
            listener="1",
        )

    def take(self, worker: str = "a", lease_seconds: float = 5) -> Taken:
        return self.room.take(self.lane.name, worker=worker, lease_seconds=lease_seconds, journal_seconds=60)

    def order(self) -> str:
        """The names of all who wait, as they are taken."""
        taken = iter(lambda: self.take().request_id, "")
        return "".join(self.names[request_id] for request_id in taken)

    @property
    def counts(self) -> dict[str, int]:
        found = self.herd.redis.hgetall(names.WAITING_KEY)
        return {field.decode(): int(number) for field, number in found.items() if field != b"all"}

    def until_lapsed(self, request_id: str) -> None:
        while self.bus.held_for(request_id) is not None:
            pass


@pytest.fixture
def queue(herd: Herd) -> Iterator[Queue]:
    queue = Queue(herd)
    yield queue
    queue.order()
    assert queue.counts == {}


def key(name: str, priority: Priority = "normal") -> Terms:
    return Terms(key=name, priority=priority)


def test_requests_of_one_key_are_taken_in_their_order(queue: Queue) -> None:
    assert [queue.ask(name).number for name in "abc"] == [0, 1, 2]
    assert queue.order() == "abc"


def test_the_more_urgent_go_first(queue: Queue) -> None:
    priorities: list[Priority] = ["batch", "normal", "interactive", "batch", "normal", "interactive"]
    for name, priority in zip("abcdef", priorities, strict=True):
        queue.ask(name, Terms(priority=priority))
    assert queue.order() == "cfbead"


def test_keys_take_turns_by_tokens(queue: Queue) -> None:
    for _ in range(6):
        queue.ask("h", key("heavy"), tokens=100)
    for _ in range(4):
        queue.ask("l", key("light"), tokens=40)
    order = queue.order()
    assert set(order[:2]) == {"h", "l"}
    # One starts at 40, 80 and 120, the other at 100, 200, ...
    assert order[2:] == "llhlhhhh"


def test_whoever_comes_later_does_not_wait_behind_a_long_backlog(queue: Queue) -> None:
    for _ in range(5):
        queue.ask("h", key("heavy"))
    assert queue.names[queue.take().request_id] == "h"
    assert queue.names[queue.take().request_id] == "h"
    queue.ask("l", key("light"))
    assert queue.order() == "lhhh"


def test_what_an_answer_really_took_is_settled_when_it_ends(queue: Queue) -> None:
    """One key's answers are thought to be long and turn out short: it gets the tokens that it did not use."""
    queue.ask("a", key("short"), tokens=200)
    queue.ask("b", key("exact"), tokens=50)
    for taken in (queue.take(), queue.take()):
        tokens = {"a": 2, "b": 50}[queue.names[taken.request_id]]
        said = [
            Entry(taken.request_id, 1, n, "completed" if n == tokens - 1 else "", b"e", tokens=1) for n in range(tokens)
        ]
        queue.bus.append(said, journal_seconds=60)
    queue.ask("c", key("exact"))
    queue.ask("d", key("short"))
    assert queue.order() == "dc"


@pytest.mark.parametrize(
    ("keys", "bounds", "told"),
    [
        ("abcd", Bounds(model=2, key=9, all=9), "model"),
        ("aaaa", Bounds(model=9, key=2, all=9), "key"),
        ("abcd", Bounds(model=9, key=9, all=2), "all"),
        # Three places for each one that is left: two of three, and not all of two.
        ("aaaa", Bounds(model=3, key=9, all=9), "model_share"),
        ("aaaa", Bounds(model=9, key=9, all=3), "all_share"),
    ],
    ids=["model", "key", "all", "share of a model's", "share of all"],
)
def test_bounds_are_exact(queue: Queue, keys: str, bounds: Bounds, told: str) -> None:
    asked = [queue.ask(terms=key(each), bounds=bounds).outcome for each in keys]
    assert asked == ["admitted", "admitted", told, told]
    queue.take()
    *_, third, fourth = keys
    assert queue.ask(terms=key(third), bounds=bounds).outcome == "admitted"
    assert queue.ask(terms=key(fourth), bounds=bounds) == Admitted(told, 2, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heavy", "places"),
    [("a", [12]), ("ab", [7, 7]), ("abc", [5, 5, 4]), ("abcdefgh", [2, 2, 2, 2, 2, 2, 2, 1])],
    ids=["one", "two", "three", "eight"],
)
@pytest.mark.parametrize("bounds", [Bounds(16, 99, 99), Bounds(99, 99, 16)], ids=["for a model", "in all"])
def test_however_many_fill_a_queue_one_who_has_nothing_there_finds_a_place(
    queue: Queue, bounds: Bounds, heavy: str, places: list[int]
) -> None:
    let_in = Counter[str]()
    for name in heavy * 16:
        let_in[name] += queue.ask(terms=key(name), bounds=bounds).outcome == "admitted"
    assert list(let_in.values()) == places
    assert queue.ask(terms=key("light"), bounds=bounds).outcome == "admitted"


def test_a_keys_share_is_of_each_models_places(queue: Queue) -> None:
    bounds, other = Bounds(model=3, key=99, all=99), Queue(queue.herd)
    assert [each.ask(terms=key("a"), bounds=bounds).outcome for each in (queue, other) * 2] == ["admitted"] * 4
    assert {each.ask(terms=key("a"), bounds=bounds).outcome for each in (queue, other)} == {"model_share"}
    assert {each.ask(terms=key("b"), bounds=bounds).outcome for each in (queue, other)} == {"admitted"}
    other.order()


def test_who_names_no_key_may_have_every_place(queue: Queue) -> None:
    assert [queue.ask(bounds=Bounds(4, 4, 4)).outcome for _ in range(5)] == ["admitted"] * 4 + ["model"]


def test_a_bound_of_keys_is_not_for_those_who_have_none(queue: Queue) -> None:
    assert {queue.ask(bounds=Bounds(model=9, key=1, all=9)).outcome for _ in range(3)} == {"admitted"}


def test_a_request_is_one_workers_alone(queue: Queue) -> None:
    asked = queue.ask()
    first, second = queue.take("a"), queue.take("b")
    assert (first.outcome, first.request_id, first.attempt) == ("claimed", asked.request_id, 1)
    assert codec.decode_request(first.payload).id == asked.request_id
    assert second.outcome == "empty"
    assert 4 < (queue.bus.held_for(asked.request_id) or 0) <= 5


def lose(queue: Queue) -> str:
    """A worker takes the next one and dies."""
    taken = queue.take(lease_seconds=0.02)
    assert taken.outcome in ("claimed", "suspect")
    if taken.outcome == "suspect":
        queue.room.begin(taken.request_id, taken.attempt)
    queue.until_lapsed(taken.request_id)
    return taken.request_id


def test_what_a_worker_was_lost_over_waits_again_at_its_place_once(queue: Queue) -> None:
    for name in "ab":
        queue.ask(name)
    lost = lose(queue)
    queue.bus.append(
        [Entry(lost, 1, 0, "", b"e0", tokens=1), Entry(lost, 1, 1, "", b"e1", tokens=1)], journal_seconds=60
    )
    assert (queue.room.put_back(lost), queue.room.put_back(lost)) == ([queue.lane], [])
    again = queue.take("b")
    assert (again.request_id, again.outcome, again.attempt, again.next_index) == (lost, "claimed", 2, 2)
    assert queue.bus.append([Entry(lost, 1, 2, "", b"e2")], journal_seconds=60).refused == {(lost, 1)}


def test_what_is_said_by_one_who_was_thought_lost_is_kept(queue: Queue) -> None:
    """A starved worker: its lease has run out, its request waits again, nobody has taken it, and it goes on."""
    asked = queue.ask().request_id
    lost = lose(queue)
    assert (lost, queue.room.put_back(lost)) == (asked, [queue.lane])
    queue.bus.append([Entry(lost, 1, 0, "", b"e0", tokens=1)], journal_seconds=60)
    queue.bus.append([Entry(lost, 1, 1, "", b"e1", tokens=1)], journal_seconds=60)
    assert [said.payload for said in queue.bus.read_journal(lost)] == [b"e0", b"e1"]
    taken = queue.take("b")
    assert (taken.request_id, taken.outcome, taken.next_index) == (lost, "claimed", 2)


def test_a_request_ends_also_behind_an_event_that_redis_has_lost(queue: Queue) -> None:
    asked = queue.ask().request_id
    queue.take()
    queue.bus.append([Entry(asked, 1, n, "", b"e") for n in range(3)], journal_seconds=60)
    queue.herd.redis.xdel(names.journal_key(asked), "2-0")
    assert queue.bus.conclude(asked, b"end", outcome="failed:internal", attempt=1, journal_seconds=60) == 3
    assert [said.index for said in queue.bus.read_journal(asked)] == [0, 2, 3]


def test_any_worker_of_the_pin_finds_what_another_was_lost_over(queue: Queue) -> None:
    for name in "abc":
        queue.ask(name)
    lost, held = lose(queue), queue.take()
    assert queue.room.put_back_lost(queue.lane.pin) == [queue.lane]
    assert queue.room.put_back_lost(queue.lane.pin) == []
    assert queue.take().request_id == lost
    assert held.request_id != lost


def test_what_a_worker_held_that_was_seen_to_end_waits_again_at_once(queue: Queue) -> None:
    for name in "abc":
        queue.ask(name)
    worker = queue.lane.pin
    mine, other, nearly = queue.take(worker), queue.take("b"), queue.take(f"{worker}2")
    assert queue.room.bury(worker, killed=True) == [queue.lane]
    assert queue.room.bury(worker, killed=True) == []
    assert queue.take("b").request_id == mine.request_id
    for taken in (other, nearly):
        assert queue.bus.held_for(taken.request_id)


#: What became of one worker after the other that took a request -> what the next one is told.
BLAME = {
    "": "claimed",
    "lost": "suspect",
    "lost lost": "crashed",
    "lost in-line": "suspect",
    "lost in-line in-line lost": "crashed",
    "lost returned": "suspect",
    "prompted": "suspect",
    "further": "claimed",
    "further lost": "suspect",
    "lost further": "claimed",
    "lost further lost": "suspect",
    "lost further lost lost": "crashed",
    "killed killed killed": "claimed",
    "crashed": "suspect",
    "crashed killed crashed": "crashed",
    "further " * (MAX_LOST_IN_ALL - 1): "claimed",
    "further " * MAX_LOST_IN_ALL: "crashed",
}


@pytest.mark.parametrize(("fates", "outcome"), BLAME.items(), ids=range(len(BLAME)))
def test_a_request_is_blamed_for_workers_that_are_lost_in_a_row_without_a_word(
    queue: Queue, fates: str, outcome: str
) -> None:
    request_id, said = queue.ask().request_id, 0
    for attempt, fate in enumerate(fates.split(), start=1):
        worker = queue.lane.pin
        taken = queue.take(worker, lease_seconds=5 if fate in {"returned", "killed", "crashed"} else 0.02)
        assert (taken.request_id, taken.attempt, taken.next_index) == (request_id, attempt, said)
        if taken.outcome == "suspect" and fate != "in-line":
            assert not queue.room.begin(request_id, attempt - 1), "somebody else's by now"
            assert queue.room.begin(request_id, attempt)
        if fate == "further":
            assert not queue.bus.append(
                [Entry(request_id, attempt, said, "", b"e", tokens=1)], journal_seconds=60
            ).refused
            said += 1
        if fate == "prompted":
            queue.bus.append([Entry(request_id, attempt, said, "", b"e")], journal_seconds=60)
            said += 1
        if fate == "returned":
            queue.room.hand_back([Lease(request_id, worker, attempt)])
        elif fate in {"killed", "crashed"}:
            assert queue.room.bury(worker, killed=fate == "killed") == [queue.lane]
        else:
            queue.until_lapsed(request_id)
            queue.room.put_back(request_id)
    last, attempts = queue.take(), len(fates.split())
    assert (last.outcome, last.attempt) == (outcome, attempts if outcome == "crashed" else attempts + 1)


def test_what_nobody_else_serves_waits_again_too(queue: Queue) -> None:
    """Somebody may load its model: the steward looks at everything that runs."""
    queue.ask()
    lost = lose(queue)
    assert queue.lane in queue.room.put_back_all_lost()
    assert queue.take().request_id == lost
    assert queue.lane not in queue.room.put_back_all_lost()


def test_a_request_that_was_given_back_has_cost_nobody(queue: Queue) -> None:
    request_id = queue.ask().request_id
    for attempt in range(1, 5):
        assert queue.take().outcome == "claimed"
        mine, stale = Lease(request_id, "a", attempt), Lease(request_id, "a", attempt - 1)
        assert queue.room.hand_back([stale, mine]) == [mine]
        assert queue.bus.held_for(request_id) is None
        assert queue.bus.renew([mine], lease_seconds=5) == [mine], "what was given back is not taken again"


def test_what_is_given_back_is_first_again_unless_it_has_to_make_room(queue: Queue) -> None:
    first = queue.ask("a")
    queue.take()
    queue.ask("b", key("other"))
    lease = Lease(first.request_id, "a", 1)
    queue.room.hand_back([lease], behind=True)
    assert queue.names[queue.take("b").request_id] == "b"
    assert queue.take("c").request_id == first.request_id
    queue.ask("d")
    queue.room.hand_back([replace(lease, worker="c", attempt=2)])
    assert queue.order() == "ad"


def test_one_may_be_taken_before_his_turn_and_nobody_comes_later_for_that(queue: Queue) -> None:
    ids = [queue.ask(name, tokens=100).request_id for name in "abc"]
    take = queue.room.take
    only = take(queue.lane.name, worker="w", lease_seconds=5, journal_seconds=60, only=ids[2])
    assert (only.outcome, only.request_id, only.attempt) == ("claimed", ids[2], 1)
    assert take(queue.lane.name, worker="v", lease_seconds=5, journal_seconds=60, only=ids[2]).outcome == "empty"
    assert queue.counts == {f"pin:{queue.lane.pin}": 2}
    queue.ask("d", key("other"))
    assert set(queue.order()[:2]) == {"a", "d"}, "both begin at the present time"


def test_workers_hear_of_everybody_who_begins_to_wait(queue: Queue) -> None:
    heard = queue.bus.listen_as_worker()
    request_id = queue.ask("a", key("k", "interactive")).request_id
    newcomer = Newcomer(request_id, queue.lane.name, "k", "interactive")
    assert notices(heard, queue, 1) == [newcomer]
    assert queue.room.first([queue.lane.name], 5) == [newcomer]
    queue.take()
    assert queue.room.first([queue.lane.name, "nothing.cpu"], 5) == []
    queue.room.hand_back([Lease(request_id, "a", 1)])
    assert notices(heard, queue, 1) == [newcomer]
    later = [queue.ask(priority, Terms(priority=priority)).request_id for priority in reversed(PRIORITIES)]
    in_turn = [later[2], request_id, later[1], later[0]]
    assert {one.request_id for one in queue.room.first([queue.lane.name], 2)} == {later[2], request_id}
    assert [one.request_id for one in queue.room.first([queue.lane.name], 9)][2:] == in_turn[2:]
    heard.close()


def notices(heard: Listener, queue: Queue, count: int) -> list[Newcomer]:
    """The next arrivals in the queue's lane: the herd is not ours alone."""
    found: list[Newcomer] = []
    while len(found) < count:
        message = heard.hear(5)
        assert message is not None, "nothing was heard"
        if message[0] == names.ARRIVALS_CHANNEL and arrival(message[1]).lane == queue.lane.name:
            found.append(arrival(message[1]))
    return found


def test_what_is_given_back_may_wait_elsewhere(queue: Queue) -> None:
    request_id, other = queue.ask().request_id, Lane(queue.lane.pin, "gpu")
    queue.take()
    queue.room.hand_back([Lease(request_id, "a", 1)], lane=other)
    assert queue.take().outcome == "empty"
    assert queue.room.waiting([queue.lane.name, other.name]) == {queue.lane.name: 0, other.name: 1}
    assert queue.room.move(request_id, queue.lane)
    assert queue.take().request_id == request_id
    assert not queue.room.move(request_id, other)


def test_a_lease_that_has_run_out_is_its_holders_again_until_somebody_takes_the_request(queue: Queue) -> None:
    queue.ask()
    lost = lose(queue)
    mine = Lease(lost, "a", 1)
    queue.room.put_back(lost)
    # It is back before anybody came: nobody need come.
    assert queue.bus.renew([mine], lease_seconds=0.02) == []
    assert queue.take("b").outcome == "empty"
    queue.until_lapsed(lost)
    queue.room.put_back(lost)
    assert queue.take("b").outcome == "suspect"
    assert queue.bus.renew([mine], lease_seconds=5) == [mine]


def test_a_lease_of_a_request_that_has_ended_is_not_renewed(queue: Queue) -> None:
    queue.ask()
    lost = lose(queue)
    queue.bus.conclude(lost, b"x", outcome="failed:x", attempt=None, journal_seconds=60)
    mine = Lease(lost, "a", 1)
    assert queue.bus.renew([mine], lease_seconds=5) == [mine]
    assert queue.room.put_back(lost) == []


def last(queue: Queue, request_id: str) -> object:
    (said,) = queue.bus.read_journal(request_id)
    return codec.decode_event(said.index, said.payload)


def test_a_request_that_waits_is_cancelled_at_once(queue: Queue) -> None:
    asked = [queue.ask(name).request_id for name in "abc"]
    assert queue.room.cancel(asked[1], seconds=60, journal_seconds=60)
    finished = last(queue, asked[1])
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"
    assert queue.order() == "ac"


def test_whoever_runs_a_cancelled_request_is_told(queue: Queue) -> None:
    request_id = queue.ask().request_id
    queue.take()
    cancels = queue.bus.listen_as_worker()
    assert not queue.room.cancel(request_id, seconds=60, journal_seconds=60)
    assert cancels.read(5) == request_id.encode()
    cancels.close()
    assert queue.bus.cancelled([new_request_id(), request_id]) == [request_id]


@pytest.mark.parametrize("how", ["take", "sweep"])
def test_a_request_whose_time_is_over_is_not_run(queue: Queue, how: str) -> None:
    request_id = queue.ask(seconds=0).request_id
    queue.ask("b")
    look: dict[str, Callable[[], object]] = {
        "take": queue.order,
        "sweep": lambda: queue.room.sweep(queue.lane.name, journal_seconds=60),
    }
    look[how]()
    failed = last(queue, request_id)
    assert isinstance(failed, Failed)
    assert failed.code == "expired"


def test_tickets_of_a_lane_where_nobody_waits_are_torn_up(queue: Queue) -> None:
    queue.herd.redis.rpush(queue.lane.name, b"a ticket")
    queue.ask()
    assert queue.room.sweep(queue.lane.name, journal_seconds=60) == 0
    assert queue.room.tickets(queue.lane.name) == 1
    queue.order()
    assert queue.room.sweep(queue.lane.name, journal_seconds=60) == 0
    assert queue.room.tickets(queue.lane.name) == 0


def test_positions_and_pace_are_told(queue: Queue) -> None:
    asked = [queue.ask(name).request_id for name in "abcd"]
    assert queue.room.position(asked[2]) == Position(2, 4, None, queue.lane, 0, 0)
    queue.take()
    queue.take()
    found = queue.room.position(asked[2])
    assert found is not None
    assert (found.before, found.waiting) == (0, 2)
    assert found.pace is not None
    assert found.pace < 1
    assert queue.room.position(asked[0]) is None


def paced(queue: Queue, gaps: list[int]) -> None:
    """Takes one after each of so many ms, without the waiting: what is put back is when the one before was taken."""
    times = names.room_key(queue.lane.name) + ":times"
    for gap in gaps:
        if queue.herd.redis.hexists(times, "taken"):
            queue.herd.redis.hincrby(times, "taken", -gap)
        queue.take()


@pytest.mark.parametrize("together", [1, 2, 4, 8], ids=lambda together: f"{together} slots")
def test_a_wait_is_told_to_a_quarter_whether_slots_end_alone_or_together(queue: Queue, together: int) -> None:
    """A second each: of several slots that end together, several seconds and then all at once."""
    gaps = [*[0] * (together - 1), 1000 * together] * (48 // together)
    asked = [queue.ask().request_id for _ in range(len(gaps) + 40)]
    paced(queue, gaps)
    for _ in range(together):
        position = queue.room.position(asked[-1])
        assert position is not None
        assert position.wait == pytest.approx(position.before, rel=0.25)
        paced(queue, [gaps[0] if together > 1 else 1000])


def test_a_silence_longer_than_usual_is_one_more_gap(queue: Queue) -> None:
    asked = [queue.ask().request_id for _ in range(12)]
    paced(queue, [0] * 8)
    queue.herd.redis.hincrby(names.room_key(queue.lane.name) + ":times", "taken", -8000)
    position = queue.room.position(asked[-1])
    assert position is not None
    # Seven gaps of nothing, and one of eight seconds so far.
    assert position.pace == pytest.approx(1.0, rel=0.1)


def test_what_cannot_be_met_is_not_let_in(queue: Queue) -> None:
    for _ in range(4):
        queue.ask()
    paced(queue, [0, 2000])
    late = queue.ask(seconds=3)
    assert (late.outcome, late.number, late.request_id) == ("late", 2, "")
    assert late.wait == pytest.approx(4, rel=0.05)
    assert queue.ask(seconds=5).outcome == "admitted"
    assert queue.ask(terms=key("k", "interactive"), seconds=3).outcome == "admitted"
    full = queue.ask(bounds=Bounds(model=4, key=9, all=9))
    assert (full.outcome, full.number) == ("model", 4)
    assert full.wait == pytest.approx(8, rel=0.05)


WORD = Terms(key="k", idempotency="one", digest="x")


def test_a_request_that_was_asked_for_before_is_joined(queue: Queue) -> None:
    first = queue.ask(terms=WORD)
    assert queue.ask(terms=WORD) == Admitted("joined", 0, first.request_id)
    assert queue.ask(terms=replace(WORD, digest="y")) == Admitted("conflict", 0, first.request_id)
    assert queue.ask(terms=replace(WORD, key="other")).outcome == "admitted"
    assert queue.ask(terms=replace(WORD, idempotency="two")).outcome == "admitted"


def test_what_has_failed_or_was_cancelled_is_tried_again(queue: Queue) -> None:
    failed = queue.ask(terms=WORD).request_id
    queue.bus.conclude(failed, b"x", outcome="failed:x", attempt=None, journal_seconds=60)
    cancelled = queue.ask(terms=WORD)
    assert cancelled.outcome == "admitted"
    queue.room.cancel(cancelled.request_id, seconds=60, journal_seconds=60)
    assert queue.ask(terms=WORD).outcome == "admitted"


def test_whoever_listens_is_known(queue: Queue) -> None:
    request_id = queue.ask().request_id
    here, there = queue.bus.listen_inbox("here"), queue.bus.listen_inbox("there")
    assert queue.room.join(request_id, inbox="there", listener="2") is not None
    assert queue.room.leave(request_id, inbox="here", listener="1")
    queue.take()
    queue.bus.append([Entry(request_id, 1, 0, "", b"e0")], journal_seconds=60)
    assert there.read(5) == f"{request_id} 0 e0".encode()
    assert here.read(0.05) is None
    there.close()
    here.close()
    assert not queue.room.leave(request_id, inbox="there", listener="2")
    assert queue.room.join("unknown", inbox="here", listener="3") is None


def test_several_may_listen_at_one_process(queue: Queue) -> None:
    request_id = queue.ask().request_id
    here = queue.bus.listen_inbox("here")
    assert queue.room.join(request_id, inbox="here", listener="2") is not None
    assert queue.room.leave(request_id, inbox="here", listener="1")
    queue.take()
    assert queue.bus.append([Entry(request_id, 1, 0, "", b"e0")], journal_seconds=60).unheard == frozenset()
    assert here.read(5) == f"{request_id} 0 e0".encode()
    assert here.read(0.05) is None
    assert not queue.room.leave(request_id, inbox="here", listener="2")
    assert queue.bus.append([Entry(request_id, 1, 1, "", b"e1")], journal_seconds=60).unheard == {request_id}
    here.close()


def test_whoever_has_a_word_for_his_request_may_come_back_to_it(queue: Queue) -> None:
    request_id = queue.ask(terms=replace(WORD, idempotency="back")).request_id
    here = queue.bus.listen_inbox("here")
    assert queue.room.leave(request_id, inbox="here", listener="1")
    assert queue.room.position(request_id) is not None
    queue.take()
    assert queue.bus.append([Entry(request_id, 1, 0, "", b"e0")], journal_seconds=60).unheard == {request_id}
    assert queue.room.join(request_id, inbox="here", listener="2") is not None
    assert queue.bus.append([Entry(request_id, 1, 1, "", b"e1")], journal_seconds=60).unheard == frozenset()
    here.close()


def test_what_a_worker_gives_up_is_nobodys_to_come_back_to(queue: Queue) -> None:
    word = replace(WORD, idempotency="given up")
    request_id = queue.ask(terms=word).request_id
    here = queue.bus.listen_inbox("here")
    assert not queue.bus.give_up(request_id, seconds=60)
    assert queue.ask(terms=word).outcome == "joined"
    queue.room.leave(request_id, inbox="here", listener="1")
    assert queue.bus.give_up(request_id, seconds=60)
    assert queue.room.join(request_id, inbox="here", listener="2") is None
    assert queue.ask(terms=word).outcome == "admitted"
    here.close()


def test_what_a_request_was_asked_with_is_kept_once_it_is_admitted(queue: Queue) -> None:
    word = replace(WORD, idempotency="kept")
    assert queue.ask(terms=word, call=b"first").outcome == "admitted"
    assert queue.ask(terms=word, call=b"second").outcome == "joined"
    assert queue.ask(bounds=Bounds(0, 0, 0), call=b"third").outcome == "model"
    assert [queue.bus.kept_call(request_id) for request_id in queue.names] == [b"first", None, None]
    first = next(iter(queue.names))
    assert queue.herd.redis.pttl(names.call_key(first)) > 60_000


def test_whoever_was_killed_does_not_listen_any_more(queue: Queue) -> None:
    request_id = queue.ask().request_id
    queue.room.join(request_id, inbox="killed", listener="2")
    assert not queue.room.leave(request_id, inbox="here", listener="1")


def rows(bus: Bus) -> list[dict[str, str]]:
    found = bus.connection.xrevrange(names.LEDGER_KEY, count=5)
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in found]  # type: ignore[union-attr]


def test_however_a_request_ends_there_is_one_row_of_it(queue: Queue) -> None:
    done, failed, cancelled, expired = (
        queue.ask(terms=key("k")).request_id,
        queue.ask(terms=key("k")).request_id,
        queue.ask(terms=key("k")).request_id,
        queue.ask(terms=key("k"), seconds=0).request_id,
    )
    queue.take()
    said = [Entry(done, 1, n, "", b"e", tokens=1, prompt=7) for n in range(3)]
    queue.bus.append([*said, Entry(done, 1, 3, "completed", b"e", cached=5, prompt=7)], journal_seconds=60)
    queue.bus.conclude(failed, b"x", outcome="failed:internal", attempt=None, journal_seconds=60)
    queue.room.cancel(cancelled, seconds=60, journal_seconds=60)
    queue.order()
    found = {row["request"]: row for row in rows(queue.bus)[:4]}
    told = {request_id: row["outcome"] for request_id, row in found.items()}
    assert told == {done: "completed", failed: "failed:internal", cancelled: "cancelled", expired: "expired"}
    row = found[done]
    assert (row["prompt"], row["cached"], row["generated"], row["attempts"]) == ("7", "5", "3", "1")
    assert (row["key"], row["class"], row["model"], row["kind"]) == ("k", "normal", "m", "generation")


def test_what_only_newer_workers_can_read_is_left_to_them(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "VERSION", codec.VERSION + 1)
    newer = queue.ask("n").request_id
    monkeypatch.undo()
    queue.ask("o")
    assert queue.names[queue.take().request_id] == "o"
    assert queue.take().outcome == "newer"
    monkeypatch.setattr(codec, "VERSION", codec.VERSION + 1)
    assert queue.take().request_id == newer


# -- what is asked again, because its answer was lost ------------------------------------------------------------------


def admit_again(queue: Queue, request_id: str, terms: Terms = NO_TERMS) -> Admitted:
    asked = request(request_id, prompts=(TextPrompt(""),), max_tokens=10)
    return queue.room.admit(
        asked, queue.lane, terms, inbox="here", bounds=WIDE, deadline_seconds=60, kept_seconds=60, listener="1"
    )


def test_a_request_is_admitted_once_however_often_that_is_asked(queue: Queue) -> None:
    word = replace(WORD, idempotency="again")
    request_id = queue.ask(terms=word).request_id
    assert admit_again(queue, request_id, word) == Admitted("admitted", 0, request_id)
    assert queue.take("a").attempt == 1
    assert admit_again(queue, request_id, word).outcome == "admitted"
    assert queue.take("b").outcome == "empty"
    assert queue.bus.append([Entry(request_id, 1, 0, "completed", b"e0")], journal_seconds=60).refused == frozenset()


def test_who_joins_or_leaves_twice_is_one(queue: Queue) -> None:
    request_id = queue.ask().request_id
    here = queue.bus.listen_inbox("here")
    for _ in range(2):
        left = queue.room.join(request_id, inbox="here", listener="2")
        assert left is not None
        assert 59 < left <= 60
    for _ in range(2):
        assert queue.room.leave(request_id, inbox="here", listener="1")
    queue.take()
    assert queue.bus.append([Entry(request_id, 1, 0, "", b"e0")], journal_seconds=60).unheard == frozenset()
    assert here.read(5) == f"{request_id} 0 e0".encode()
    assert not queue.room.leave(request_id, inbox="here", listener="2")
    here.close()


def test_what_was_given_back_is_said_to_be_until_somebody_takes_it(queue: Queue) -> None:
    queue.ask()
    taken = queue.take("a")
    mine = Lease(taken.request_id, "a", taken.attempt)
    assert [queue.room.hand_back([mine]) for _ in range(2)] == [[mine], [mine]]
    assert queue.counts == {f"pin:{queue.lane.pin}": 1}
    queue.take("b")
    assert queue.room.hand_back([mine]) == []


# -- what nobody watches -----------------------------------------------------------------------------------------------


def test_what_is_computed_beyond_its_time_ends_and_is_written_down(queue: Queue) -> None:
    """Nobody listens to it who would have ended it."""
    ids = [queue.ask(seconds=seconds).request_id for seconds in (0.05, 60)]
    mine = [Lease(queue.take("a", lease_seconds=30).request_id, "a", 1) for _ in ids]
    assert [lease.request_id for lease in mine] == ids
    while queue.bus.renew(mine, lease_seconds=0.05) == []:
        pass
    assert queue.bus.renew(mine, lease_seconds=5) == mine[:1]
    failed = last(queue, ids[0])
    assert isinstance(failed, Failed)
    assert failed.code == "expired"
    (row,) = (row for row in rows(queue.bus) if row["request"] == ids[0])
    assert (row["outcome"], row["attempts"]) == ("expired", "1")


def test_whose_turn_it_was_is_forgotten_in_the_end(queue: Queue) -> None:
    for name in ("late", "other", "other"):
        queue.ask(terms=key(name), tokens=10)
    taken = [queue.take() for _ in range(3)]
    # The others take nothing and are not remembered; the last one takes more than it was thought to.
    for one in sorted(taken, key=lambda one: one.key == "late"):
        count = 21 if one.key == "late" else 0
        said = [
            Entry(one.request_id, 1, n, "completed" if n == count else "", b"e", tokens=1) for n in range(count + 1)
        ]
        queue.bus.append(said, journal_seconds=60)
    turns = f"{names.room_key(queue.lane.name)}:turns:normal"
    assert queue.herd.redis.zrange(turns, 0, -1) == [b"late"]
    assert queue.herd.redis.pttl(turns) > 0


# -- who waits, since when ------------------------------------------------------------------------------------------------


def standing(queue: Queue) -> dict[str, tuple[int, float]]:
    """Class -> how many wait, and for how long the first has, of this file's model."""
    found = Gauges(queue.bus).queued()
    return {each.priority: (each.count, each.oldest_seconds) for each in found if each.model == "m"}


def test_the_first_of_each_class_is_told_by_when_it_was_admitted_not_by_its_turn(queue: Queue) -> None:
    queue.ask("a", key("heavy"), tokens=100)
    queue.ask("b", key("heavy"))
    first = standing(queue)["normal"][1]
    while standing(queue)["normal"][1] <= first + 0.02:
        pass
    # Came last, and has his turn first.
    queue.ask("c", key("light", "interactive"))
    queue.ask("d", key("light", "batch"))
    assert {each: number for each, (number, _) in standing(queue).items()} == {
        "interactive": 1,
        "normal": 2,
        "batch": 1,
    }
    assert standing(queue)["normal"][1] > standing(queue)["interactive"][1]
    assert queue.names[queue.take().request_id] == "c"
    assert {each: number for each, (number, _) in standing(queue).items()} == {"normal": 2, "batch": 1}
    assert queue.order() == "abd"
    assert standing(queue) == {}


def test_who_is_put_back_has_waited_since_it_was_admitted(queue: Queue) -> None:
    queue.ask("a")
    while standing(queue)["normal"][1] < 0.02:
        pass
    taken = queue.take(lease_seconds=0.01)
    assert standing(queue) == {}
    queue.until_lapsed(taken.request_id)
    queue.room.put_back(taken.request_id)
    assert standing(queue)["normal"][0] == 1
    assert standing(queue)["normal"][1] >= 0.02


def test_who_has_left_without_a_word_is_not_told_of(queue: Queue) -> None:
    ghost = f"{names.QUEUE_PREFIX}cpu\tnormal\tm"
    queue.herd.redis.zadd(ghost, {"nobody": 1})
    queue.herd.redis.sadd(names.QUEUES_KEY, "cpu\tnormal\tm")
    assert standing(queue) == {}
    assert not queue.herd.redis.exists(ghost, names.QUEUES_KEY)
    queue.herd.redis.zadd(ghost, {"nobody": 1})
    queue.ask("a")
    assert standing(queue)["normal"][1] < 60

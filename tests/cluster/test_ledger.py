"""The ledger is exact: one row for each request however it ended, and its tokens are those of journals and counters."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from cluster.books import CACHED, PROMPT, Rush
from cluster.herd import Herd
from fakes import request
from tropilla.common import codec, names
from tropilla.common.bus import Bus, Entry, Lease
from tropilla.common.catalogue import Lane
from tropilla.common.dead import DeadLetters
from tropilla.common.generation import (
    EmbeddingRequest,
    Failed,
    Finished,
    LoadRequest,
    Request,
    TextPrompt,
    Token,
    TokenizeRequest,
    new_request_id,
)
from tropilla.common.ledger import Ledger, Row, sums
from tropilla.common.metrics import Key
from tropilla.common.room import Room, Taken
from tropilla.common.settings import Settings
from tropilla.common.terms import Bounds, Terms, kind

#: By hand: `LEDGER_REQUESTS=10000 pytest tests/cluster/test_ledger.py -k thousands`.
REQUESTS = int(os.environ.get("LEDGER_REQUESTS", "2000"))
BOUNDS = Bounds(100, 100, 100)
_numbers = count()


@pytest.fixture(scope="module")
def redis_alone(make_redis: Callable[[], Herd]) -> Herd:
    return make_redis()


@pytest.fixture(scope="module")
def make_redis(tmp_path_factory: pytest.TempPathFactory) -> object:
    made: list[Herd] = []

    def make() -> Herd:
        made.append(Herd(tmp_path_factory.mktemp("books")))
        return made[-1]

    yield make
    for herd in made:
        herd.stop()


def test_thousands_of_requests_of_which_many_are_left_or_lose_their_workers_are_booked_exactly(
    redis_alone: Herd,
) -> None:
    bus, lane = redis_alone.bus, Lane("rush", "cpu")
    books = Rush(redis_alone.redis_url, lane, count=REQUESTS, leaving=0.2, seed=8).run()
    rows = {row.request: row for row in Ledger(bus).rows()}
    booked = {request_id for request_id, asked in books.accepted.items() if kind(asked)}
    assert len(books.accepted) == REQUESTS
    assert Counter(row.request for row in Ledger(bus).rows()) == Counter(dict.fromkeys(booked, 1))

    counts = bus.counts()
    by_model = sums(rows.values(), "model")
    assert set(by_model) == {"m", "n"}
    for model, total in by_model.items():
        assert counts[Key("generated_tokens", model)] == total.generated
        assert counts[Key("prompt_tokens", model)] == total.prompt
        assert counts[Key("cached_tokens", model)] == total.cached
    outcomes = Counter((row.model, row.outcome) for row in rows.values())
    assert {key[1:3]: number for key, number in counts.items() if key.name == "requests"} == outcomes

    for request_id, row in rows.items():
        events = [codec.decode_event(item.index, item.payload) for item in bus.read_journal(request_id)]
        told = [event for event in events if isinstance(event, Token)]
        assert row.generated == len(told), row
        assert [event.index for event in events] == list(range(len(events))), row
        last = events[-1]
        assert isinstance(last, Finished | Failed)
        if row.outcome == "completed":
            # What a client who stays is told of its usage.
            assert isinstance(last, Finished)
            assert (last.usage.generated, last.usage.prompt, last.usage.cached) == (
                row.generated,
                row.prompt,
                row.cached,
            )
            assert (row.prompt, row.cached) == (PROMPT, CACHED)
        assert row.outcome != "cancelled" or request_id in books.left

    ends = Counter(row.outcome for row in rows.values())
    # All of them came up, or the rest says little.
    assert set(ends) == {"completed", "cancelled", "expired", "failed:internal", "failed:worker_crashed"}, ends
    # Those of a busy machine, which held a lease for too long, are lost as well.
    assert sum(row.lost for row in rows.values()) > REQUESTS / 10
    crashed = {request_id for request_id, row in rows.items() if row.outcome == "failed:worker_crashed"}
    assert crashed <= {letter.id for letter in DeadLetters(bus).all()}
    assert redis_alone.waiting(lane.name) == 0
    assert redis_alone.redis.hgetall(names.WAITING_KEY) == {}
    assert redis_alone.redis.smembers(names.running_key(lane.pin)) == set()


# -- one request at a time ---------------------------------------------------------------------------------------------


class Desk:
    """One request in a lane of its own, and what happens to it."""

    def __init__(self, herd: Herd) -> None:
        self.herd, self.bus, self.room = herd, herd.bus, herd.room
        self.lane = Lane(f"desk{next(_numbers)}", "cpu")
        self.said = 0

    def ask(self, asked: Request | None = None, *, seconds: float = 60) -> str:
        self.asked = asked or request(new_request_id())
        self.room.admit(
            self.asked,
            self.lane,
            Terms("k", "batch"),
            inbox="",
            bounds=BOUNDS,
            deadline_seconds=seconds,
            kept_seconds=60,
        )
        return self.asked.id

    def take(self, worker: str = "a") -> Taken:
        taken = self.room.take(self.lane.name, worker=worker, lease_seconds=5, journal_seconds=60)
        if taken.outcome == "suspect":
            self.room.begin(taken.request_id, taken.attempt)
        return taken

    def say(self, tokens: int, *, attempt: int = 1, ends: str = "") -> None:
        events = [
            Entry(self.asked.id, attempt, self.said + i, "", b"t", tokens=1, prompt=5, cached=0) for i in range(tokens)
        ]
        self.said += tokens
        if ends:
            events.append(Entry(self.asked.id, attempt, self.said, ends, b"f", cached=2, prompt=5))
        assert not self.bus.append(events, journal_seconds=60).refused

    def lose(self) -> None:
        """The worker dies, and somebody notices."""
        self.herd.redis.delete(names.lease_key(self.asked.id))
        self.room.put_back(self.asked.id)

    def cancel(self) -> None:
        self.room.cancel(self.asked.id, seconds=60, journal_seconds=60)

    def fail(self) -> None:
        self.bus.conclude(self.asked.id, b"f", outcome="failed:context_length", attempt=None, journal_seconds=60)

    @property
    def row(self) -> Row | None:
        found = [row for row in Ledger(self.bus).rows() if row.request == self.asked.id]
        assert len(found) <= 1
        return found[0] if found else None


@pytest.fixture
def desk(redis_alone: Herd) -> Desk:
    return Desk(redis_alone)


def _completed(desk: Desk) -> None:
    desk.take()
    desk.say(3, ends="completed")


def _goes_on_elsewhere(desk: Desk) -> None:
    desk.take("a")
    desk.say(3)
    desk.lose()
    desk.take("b")
    desk.say(2, attempt=2, ends="completed")


def _given_back(desk: Desk) -> None:
    desk.take("a")
    desk.say(3)
    desk.room.hand_back([Lease(desk.asked.id, "a", 1)])
    desk.take("b")
    desk.say(1, attempt=2, ends="completed")


def _cancelled_in_the_queue(desk: Desk) -> None:
    desk.cancel()


def _cancelled_running(desk: Desk) -> None:
    desk.take()
    desk.cancel()
    desk.say(1, ends="cancelled")


def _cancelled_after_its_worker_was_lost(desk: Desk) -> None:
    """Nobody may ever come for it: it is over at once."""
    desk.take()
    desk.say(2)
    desk.herd.redis.delete(names.lease_key(desk.asked.id))
    desk.cancel()


def _cancelled_and_then_its_worker_was_lost(desk: Desk) -> None:
    desk.take()
    desk.say(2)
    desk.cancel()
    desk.herd.redis.delete(names.lease_key(desk.asked.id))
    assert desk.room.put_back_all_lost() == []


def _refused_by_its_worker(desk: Desk) -> None:
    desk.take()
    desk.fail()


def _crashed(desk: Desk) -> None:
    for worker in ("a", "b"):
        desk.take(worker)
        desk.lose()
    desk.take("c")


def _crashed_in_mid_answer(desk: Desk) -> None:
    desk.take("a")
    # It has got further with the first one: three are lost before it is given up.
    desk.say(3)
    desk.lose()
    for worker in ("b", "c"):
        desk.take(worker)
        desk.lose()
    desk.take("d")


#: How it goes -> outcome, prompt, cached, generated, attempts, lost, worker.
WAYS: dict[Callable[[Desk], None], tuple[object, ...]] = {
    _completed: ("completed", 5, 2, 3, 1, 0, "a"),
    _goes_on_elsewhere: ("completed", 5, 2, 5, 2, 1, "b"),
    _given_back: ("completed", 5, 2, 4, 2, 0, "b"),
    _cancelled_in_the_queue: ("cancelled", 0, 0, 0, 0, 0, ""),
    _cancelled_running: ("cancelled", 5, 2, 1, 1, 0, "a"),
    _cancelled_after_its_worker_was_lost: ("cancelled", 5, 0, 2, 1, 0, "a"),
    _cancelled_and_then_its_worker_was_lost: ("cancelled", 5, 0, 2, 1, 0, "a"),
    _refused_by_its_worker: ("failed:context_length", 0, 0, 0, 1, 0, "a"),
    _crashed: ("failed:worker_crashed", 0, 0, 0, 2, 2, "b"),
    _crashed_in_mid_answer: ("failed:worker_crashed", 5, 0, 3, 3, 3, "c"),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_row_says_how_a_request_went(desk: Desk, way: Callable[[Desk], None]) -> None:
    desk.ask()
    way(desk)
    row = desk.row
    assert row is not None
    assert (row.kind, row.model, row.key, row.priority) == ("generation", "m", "k", "batch")
    told = (row.outcome, row.prompt, row.cached, row.generated, row.attempts, row.lost, row.worker)
    assert told == WAYS[way]
    assert timedelta() <= datetime.now(UTC) - row.time < timedelta(seconds=20)
    assert 0 <= row.ms < 20_000


def test_what_is_too_late_when_its_worker_is_lost_has_a_row(desk: Desk) -> None:
    desk.ask()
    desk.take()
    desk.say(2)
    desk.herd.redis.hset(names.state_key(desk.asked.id), "expires", 0)
    desk.lose()
    row = desk.row
    assert row is not None
    assert (row.outcome, row.generated) == ("expired", 2)


def test_what_was_too_late_has_a_row_and_never_ran(desk: Desk) -> None:
    desk.ask(seconds=0)
    assert desk.take().outcome == "empty"
    row = desk.row
    assert row is not None
    assert (row.outcome, row.attempts) == ("expired", 0)


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (lambda name: EmbeddingRequest(name, "e", (TextPrompt("x"),)), 1),
        (lambda name: TokenizeRequest(name, "e", (TextPrompt("x"),)), 0),
        (lambda name: LoadRequest(name, "e"), 0),
    ],
    ids=["embedding", "tokenize", "load"],
)
def test_only_what_takes_tokens_has_a_row(desk: Desk, make: Callable[[str], Request], rows: int) -> None:
    desk.ask(make(new_request_id()))
    desk.take()
    desk.say(0, ends="completed")
    assert (desk.row is not None) == bool(rows)
    if desk.row is not None:
        assert (desk.row.kind, desk.row.prompt, desk.row.generated) == ("embedding", 5, 0)


def test_rows_are_found_by_time_key_and_model(desk: Desk) -> None:
    ledger = Ledger(desk.bus)
    for model in ("x1", "x2"):
        desk.ask(request(new_request_id(), model=model))
        desk.cancel()
    (first,), (second,) = list(ledger.rows(model="x1")), list(ledger.rows(model="x2"))
    assert first in ledger.rows(since=first.time)
    assert first not in ledger.rows(since=first.time + timedelta(milliseconds=1))
    assert first not in ledger.rows(until=first.time)
    assert second in ledger.rows(since=first.time, until=second.time + timedelta(milliseconds=1), key="k")
    assert list(ledger.rows(key="nobody's")) == []


# -- kept aside --------------------------------------------------------------------------------------------------------


def test_what_has_cost_its_workers_is_kept_with_all_that_was_known_of_it(desk: Desk) -> None:
    asked = request(new_request_id(), prompts=(TextPrompt("deadly"),))
    desk.ask(asked, seconds=40)
    _crashed_in_mid_answer(desk)
    letters = DeadLetters(desk.bus)
    letter = letters.find(asked.id)
    assert letter is not None
    assert letter in letters.all()
    assert (letter.workers, letter.attempts, letter.prompt, letter.generated) == (("a", "b", "c"), 3, 5, 3)
    assert letter.terms == Terms("k", "batch", 40.0)
    assert letters.request(asked.id) == asked
    assert [item.payload for item in letters.journal(asked.id)] == [b"t"] * 3
    assert 0 < desk.herd.redis.ttl(names.dead_key(asked.id)) <= Settings().dead_seconds
    # Its caller hears why, and what ended elsewhere does not keep what was asked.
    last = desk.bus.read_journal(asked.id)[-1]
    failed = codec.decode_event(last.index, last.payload)
    assert isinstance(failed, Failed)
    assert failed.code == "worker_crashed"
    assert not desk.herd.redis.hexists(names.state_key(asked.id), "request")


def test_what_is_kept_aside_can_be_dropped(desk: Desk) -> None:
    desk.ask()
    _crashed(desk)
    letters = DeadLetters(desk.bus)
    letters.mark_retried(desk.asked.id, "again")
    letter = letters.find(desk.asked.id)
    assert letter is not None
    assert letter.retried == "again"
    assert letters.drop([desk.asked.id, "never there"]) == 1
    assert letters.find(desk.asked.id) is None
    letters.mark_retried(desk.asked.id, "again")
    assert desk.herd.redis.keys(names.dead_key(desk.asked.id) + "*") == []


def test_only_the_last_few_are_kept(desk: Desk) -> None:
    bus = Bus.connect(desk.herd.redis_url, Settings(max_dead=2))
    desk.room = Room(bus)
    for _ in range(3):
        desk.ask()
        _crashed(desk)
    kept = [letter.id for letter in DeadLetters(bus).all()]
    assert len(kept) == 2
    assert kept[-1] == desk.asked.id
    assert len(desk.herd.redis.keys(names.dead_key("*"))) == len(kept)
    bus.close()

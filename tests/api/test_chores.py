"""Routes about which models there are, over a dialect of a few lines and a book that says what it was given to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fakes import (
    MODEL,
    WORKER,
    Clock,
    FakeAlbum,
    FakeAnnouncements,
    FakeBatches,
    FakeBook,
    FakeInbox,
    FakeStore,
    streams,
)
from flask.testing import FlaskClient
from tropilla.api.app import Collaborators, create_app
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.api.surface import Chore, Dialect, Dismissal, ErrandCall, Frame, Reply, Surroundings
from tropilla.common.catalogue import Worker
from tropilla.common.errands import Delete, Done, Errand, Progress, Pull, Refused, Word
from tropilla.common.errors import InvalidField, StoreUnavailable, TropillaError
from tropilla.common.orders import Order
from tropilla.common.settings import Settings

HALF, DONE, REFUSED = Progress("pulling", total=2, completed=1), Done("m"), Refused("unknown", "there is none")


def parse(body: Any, surroundings: Surroundings) -> ErrandCall | Dismissal | Reply:
    match body:
        case None:
            return Reply({"nothing": "to do"})
        case {"unload": pin}:
            return Dismissal(pin, Reply({"unloaded": pin}))
        case {"pull": source, **more}:
            return ErrandCall(Pull("e1", source), surroundings.now, **more)
        case _:
            raise InvalidField("pull is missing", param="pull", problem="missing")


def whole(call: ErrandCall, words: tuple[Word, ...]) -> Reply:
    return Reply({"said": [type(word).__name__ for word in words]}, 200 if words else 202)


def frames(call: ErrandCall) -> Callable[[Word], Iterable[Frame]]:
    def feed(word: Word) -> Iterable[Frame]:
        match word:
            case Progress():
                yield Frame({"completed": word.completed})
            case Done():
                yield Frame({"done": word.name})
            case Refused():
                yield Frame({"refused": word.message})

    return feed


def fault(error: TropillaError) -> Reply:
    return Reply({"oops": error.message}, error.status)


BUSY = Dialect(
    "busy",
    (
        Chore("/chore", parse, whole, frames),
        Chore("/bare", parse, whole, bodiless=True),
        Chore("/gone", parse, whole, method="DELETE"),
    ),
    ("",),
    fault,
)


class World:
    def __init__(self, *words: Word, workers: tuple[Worker, ...] = (WORKER,)) -> None:
        clock, settings = Clock(), Settings()
        self.book = FakeBook(*words)
        self.submitted: list[tuple[Errand, str]] = []
        store, inbox, cluster = (
            FakeStore(clock),
            FakeInbox(clock),
            Cluster(announcements := FakeAnnouncements(*workers), announcements, clock),
        )
        relay = Relay(store, store, inbox, lambda *_: None, cluster.look_again, settings, clock)
        self.closing = False
        errands = Errands(
            self.book, lambda errand, flight: self.submitted.append((errand, flight)), closing=lambda: self.closing
        )
        collaborators = Collaborators(
            settings, cluster, relay, inbox, self.book, errands, streams(), FakeBatches(), FakeAlbum()
        )  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(collaborators, (BUSY,)).test_client()

    def ask(self, **body: Any) -> Any:
        return self.client.post("/chore", json={"pull": "hf.co/o/r", **body})


PULL = Pull("e1", "hf.co/o/r")


def test_an_errand_is_registered_and_submitted_and_its_words_make_the_answer() -> None:
    world = World(HALF, DONE)
    answer = world.ask(flight="hf.co/o/r")
    assert (answer.status_code, answer.json) == (200, {"said": ["Progress", "Done"]})
    assert world.book.begun == world.submitted == [(PULL, "hf.co/o/r")]
    assert world.book.stopped == []


def test_an_errand_without_a_flight_is_like_no_other() -> None:
    world = World(DONE)
    world.ask()
    assert world.submitted == [(PULL, "e1")]


def test_who_comes_second_listens_to_the_first_and_submits_nothing() -> None:
    world = World(DONE)
    world.book.flights["hf.co/o/r"] = "another"
    assert world.ask(flight="hf.co/o/r").json == {"said": ["Done"]}
    assert world.submitted == []


def test_who_joins_a_download_that_is_just_being_stopped_goes_on_with_it() -> None:
    world = World(DONE)
    book = world.book
    book.flights["hf.co/o/r"] = "another"
    book.said["another"] = [HALF, Refused("cancelled", "the download was stopped")]

    def paused(errand_id: str) -> bool:
        # A flight is over with its last word.
        book.flights.clear()
        return errand_id == "another"

    book.paused = paused  # type: ignore[method-assign]
    assert world.ask(flight="hf.co/o/r", stops=True).json == {"said": ["Progress", "Done"]}
    assert world.submitted == [(PULL, "hf.co/o/r")]
    assert (book.stopped, book.listeners) == ([], 0)


def test_who_does_not_wait_hears_that_it_has_begun() -> None:
    world = World(HALF)
    assert (world.ask(wait=False).status_code, world.ask(wait=False).json) == (202, {"said": []})


@pytest.mark.parametrize(("last", "said"), [(DONE, b'{"done":"m"}\n'), (REFUSED, b'{"refused":"there is none"}\n')])
def test_a_stream_has_a_frame_for_each_word_and_ends_with_the_last(last: Word, said: bytes) -> None:
    answer = World(HALF, HALF, last).ask(stream=True)
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.data == b'{"completed":1}\n' * 2 + said


def test_nothing_that_is_said_after_the_last_word_is_told() -> None:
    assert World(DONE, HALF).ask().json == {"said": ["Done"]}


@pytest.mark.parametrize(("stops", "another", "stopped"), [(True, "", ["e1"]), (False, "", []), (True, "another", [])])
def test_a_caller_who_leaves_stops_an_errand_of_his_own_that_asks_for_it(
    stops: bool, another: str, stopped: list[str]
) -> None:
    world = World(HALF, HALF, DONE)
    if another:
        world.book.flights["e1"] = another
    answer = world.client.post("/chore", json={"pull": "hf.co/o/r", "stream": True, "stops": stops}, buffered=False)
    next(iter(answer.response))
    answer.close()
    assert world.book.stopped == stopped


def test_a_server_that_shuts_down_says_so_and_stops_no_errand() -> None:
    world = World(HALF)
    answer = world.client.post("/chore", json={"pull": "hf.co/o/r", "stream": True, "stops": True}, buffered=False)
    frames = iter(answer.response)
    next(frames)
    world.closing = True
    assert list(frames) == [b'{"refused":"the server is shutting down"}\n']
    answer.close()
    assert world.book.stopped == []
    assert world.ask().status_code == 500


def test_a_caller_who_hears_the_end_stops_nothing() -> None:
    world = World(HALF, DONE)
    world.ask(stream=True, stops=True).get_data()
    world.ask(stops=True)
    assert world.book.stopped == []


def test_a_stream_whose_queue_is_gone_ends_with_the_dialects_last_words() -> None:
    world = World(HALF)
    said = [[("1", HALF)]]

    def fail(*_: Any, **__: Any) -> Any:
        if said:
            return said.pop()
        raise StoreUnavailable("Redis cannot serve")

    world.book.hear = fail  # type: ignore[method-assign]
    assert world.ask(stream=True).data.splitlines()[1:] == [b'{"refused":"Redis cannot serve"}']
    # Nothing was said yet: the status can still tell.
    for stream in (True, False):
        answer = world.ask(stream=stream)
        assert (answer.status_code, answer.json) == (503, {"oops": "Redis cannot serve"})


def test_what_is_refused_before_anything_else_was_said_has_a_real_status() -> None:
    streamed, whole_answer = (World(Refused("invalid", "no")).ask(stream=stream) for stream in (True, False))
    assert (streamed.status_code, streamed.data) == (whole_answer.status_code, whole_answer.data)
    late = World(HALF, Refused("invalid", "no")).ask(stream=True)
    assert (late.status_code, len(late.data.splitlines())) == (200, 2)


def test_bad_input_costs_nothing() -> None:
    world = World()
    answer = world.client.post("/chore", json={})
    assert (answer.status_code, answer.json) == (400, {"oops": "pull is missing"})
    assert world.client.delete("/gone", data=b"{").status_code == 400
    assert (world.book.begun, world.submitted) == ([], [])


@pytest.mark.parametrize(("path", "status"), [("/bare", 200), ("/chore", 400)])
def test_only_a_route_that_says_so_needs_no_body(path: str, status: int) -> None:
    assert World().client.post(path, data=b" ").status_code == status


def test_every_worker_that_has_the_pin_or_loads_it_lets_go_of_it() -> None:
    other = Worker("other", "cpu", "ready", 4, None)
    states = [
        WORKER,
        Worker("l", "cpu", "loading", 4, MODEL),
        Worker("d", "cpu", "draining", 4, MODEL),
        other,
    ]
    world = World(workers=tuple(states))
    assert world.ask(pull=1, unload="m").json == {"unloaded": "m"}
    assert world.book.orders == [("l", Order(None)), (WORKER.name, Order(None))]


def test_errands_of_other_kinds_travel_the_same_way() -> None:
    book = FakeBook(DONE)
    submitted: list[tuple[Errand, str]] = []
    errands = Errands(book, lambda errand, flight: submitted.append((errand, flight)))
    begun = errands.begin(ErrandCall(Delete("e2", "m"), 0.0, flight="m"))
    assert (begun, submitted) == ("e2", [(Delete("e2", "m"), "m")])
    assert list(errands.words(begun, lambda: False)) == [DONE]
    assert list(errands.words(begun, lambda: True)) == []
    errands.stop(begun)
    assert book.stopped == ["e2"]


def test_silence_is_told_as_such_until_the_caller_has_gone() -> None:
    book, heard = FakeBook(HALF), [False, False, False, True]
    words = Errands(book, lambda errand, flight: None).words("e1", lambda: heard.pop(0))
    assert list(words) == [HALF, None, None]

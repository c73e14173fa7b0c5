"""Who runs batches, which ones, and how many lines at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from fakes import WORKER, Clock
from tropilla.api.batches.book import Held
from tropilla.api.batches.foreman import (
    LEAST_LINES,
    MOST_RUNS,
    PAUSE_SECONDS,
    RENEW_SECONDS,
    REST_SECONDS,
    STUCK_SECONDS,
    SWEEP_SECONDS,
    Foreman,
)
from tropilla.api.batches.lines import MOST_LINES
from tropilla.api.batches.records import Asked, Batch
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import StoreUnavailable


class FakeRun:
    """Runs until it is told to leave, or ends as it is told to."""

    def __init__(self, held: Held, window: Callable[[], int]) -> None:
        self.held, self.window = held, window
        self.ended, self.left = threading.Event(), False
        self.breaks: Exception | None = None
        self.stuck = False

    def run(self) -> None:
        assert self.ended.wait(10)
        if self.breaks is not None:
            raise self.breaks

    def leave(self) -> None:
        self.left = True
        self.ended.set()


class World:
    def __init__(self, *todo: str) -> None:
        self.clock = Clock()
        self.todo = set(todo)
        self.over: set[str] = set()
        self.leads = True
        self.resigned: list[str] = []
        self.taken: list[str] = []
        self.runs: dict[str, FakeRun] = {}
        self.swept: list[frozenset[str]] = []
        self.slots: tuple[int, ...] = (4,)
        self.foreman = Foreman(self, self, "me", self._begin, self._catalogue, self._sweep, self.clock)

    def lead(self, office: str, who: str, *, seconds: float) -> bool:
        return self.leads

    def resign(self, office: str, who: str) -> None:
        self.resigned.append(who)

    def open(self) -> frozenset[str]:
        return frozenset(self.todo)

    def take(self, batch_id: str) -> Held | None:
        self.taken.append(batch_id)
        if batch_id in self.over:
            return None
        return Held(Batch(Asked(batch_id, "", "", "", 0, 0, 0)), 1, {})

    def _begin(self, held: Held, window: Callable[[], int]) -> FakeRun:
        self.runs[held.batch.asked.id] = run = FakeRun(held, window)
        return run

    def _catalogue(self) -> Catalogue:
        return Catalogue(tuple(replace(WORKER, name=str(at), slots=each) for at, each in enumerate(self.slots)))

    def _sweep(self, todo: Collection[str]) -> None:
        self.swept.append(frozenset(todo))

    def end_all(self) -> None:
        for batch_id in self.runs:
            self.end(batch_id)

    def end(self, batch_id: str, breaks: Exception | None = None) -> None:
        """Its thread is gone afterwards."""
        self.runs[batch_id].breaks = breaks
        self.runs[batch_id].ended.set()
        for thread in threading.enumerate():
            if thread.name == f"run {batch_id}":
                thread.join(10)


def test_the_oldest_batches_are_run_and_each_once() -> None:
    world = World(*(f"b{number}" for number in range(MOST_RUNS + 2)))
    for _ in range(3):
        world.foreman.turn()
    assert world.taken == [f"b{number}" for number in range(MOST_RUNS)]
    world.todo.discard("b1")
    world.end("b1")
    world.foreman.turn()
    assert world.taken[-1] == f"b{MOST_RUNS}"
    world.leads = False
    world.clock.advance(RENEW_SECONDS)
    world.foreman.turn()


def test_a_batch_that_does_not_get_on_gives_its_run_to_another_and_comes_back() -> None:
    """As one does whose key is at its limit of tokens a day, until midnight."""
    names = [f"b{number}" for number in range(MOST_RUNS + 1)]
    world = World(*names)
    world.foreman.turn()
    world.runs["b1"].stuck = True
    for _ in range(2):
        world.foreman.turn()
        assert world.taken == names[:-1]
        world.clock.advance(STUCK_SECONDS)
    world.foreman.turn()
    world.end("b1")
    world.foreman.turn()
    assert (world.runs["b1"].left, world.taken) == (True, names)
    # Its turn comes again, when there is room for it.
    world.todo.discard("b4")
    world.end("b4")
    world.foreman.turn()
    assert world.taken == names
    world.clock.advance(REST_SECONDS)
    world.foreman.turn()
    assert world.taken == [*names, "b1"]
    world.end_all()


def test_a_batch_that_got_on_meanwhile_or_that_nobody_waits_behind_keeps_its_run() -> None:
    world = World(*(f"b{number}" for number in range(MOST_RUNS)))
    world.foreman.turn()
    for run in world.runs.values():
        run.stuck = True
    for _ in range(2):
        world.foreman.turn()
        world.clock.advance(STUCK_SECONDS)
    assert not any(run.left for run in world.runs.values())
    world.todo.add("c")
    world.runs["b0"].stuck = False
    world.foreman.turn()
    world.runs["b0"].stuck = True
    assert [run.left for run in world.runs.values()] == [False, True, False, False]
    world.end_all()


def test_who_does_not_hold_the_office_runs_nothing_and_leaves_what_it_ran() -> None:
    world = World("b")
    world.leads = False
    world.foreman.turn()
    assert world.taken == []
    world.leads = True
    world.clock.advance(RENEW_SECONDS)
    world.foreman.turn()
    assert world.taken == ["b"]
    world.leads = False
    world.clock.advance(RENEW_SECONDS)
    world.foreman.turn()
    assert world.runs["b"].left


def test_a_batch_that_is_over_is_not_begun() -> None:
    world = World("b")
    world.over = {"b"}
    world.foreman.turn()
    assert (world.taken, world.runs) == (["b"], {})


def test_a_batch_that_breaks_is_taken_once_more_after_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    world = World("b")
    world.foreman.turn()
    world.end("b", RuntimeError("a bug"))
    assert "batch b broke" in caplog.text
    world.foreman.turn()
    assert world.taken == ["b"]
    world.clock.advance(PAUSE_SECONDS)
    world.foreman.turn()
    assert world.taken == ["b", "b"]
    world.end("b")


def test_a_batch_that_stops_since_redis_is_away_is_taken_again_at_once() -> None:
    world = World("b")
    world.foreman.turn()
    world.end("b", StoreUnavailable("Redis cannot serve"))
    world.foreman.turn()
    assert world.taken == ["b", "b"]
    world.end("b")


def test_lines_under_way_follow_the_slots_of_those_who_serve_and_are_shared_among_batches() -> None:
    world = World("a", "b")
    world.foreman.turn()
    window = world.runs["a"].window
    for slots, lines in (((), LEAST_LINES), ((1,), LEAST_LINES), ((4, 4), 8), ((256, 256), MOST_LINES)):
        world.slots = slots
        assert window() == lines
    world.todo.discard("b")
    world.end("b")
    world.slots = (4, 4)
    assert window() == 16
    world.end("a")


def test_files_are_swept_now_and_then_but_for_those_of_batches_that_are_not_over() -> None:
    world = World("b")
    world.foreman.turn()
    world.foreman.turn()
    assert world.swept == [frozenset({"b"})]
    world.clock.advance(SWEEP_SECONDS)
    world.foreman.turn()
    assert len(world.swept) == 2
    world.end("b")


def test_who_is_told_to_stop_leaves_and_gives_the_office_up() -> None:
    world = World("b")
    world.foreman.turn()
    world.foreman.start()
    world.foreman.stop()
    assert world.runs["b"].left
    assert world.resigned == ["me"]

"""The usher between a room and a loop that say what they are told to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest
from fakes import job
from tropilla.common.room import Room
from tropilla.common.terms import Newcomer
from tropilla.workers.fairness import Held, Shares
from tropilla.workers.loop import Job, Loop
from tropilla.workers.usher import Usher

LANES = ("m.gpu", "m.cpu")


class Hall:
    """`holders` ticket holders mind requests of one key: two have slots, the others wait."""

    def __init__(self, holders: int = 4) -> None:
        self.jobs = [job(str(number)) for number in range(holders)]
        self.held = tuple(Held(one.request_id, "heavy", 1, waits=number > 1) for number, one in enumerate(self.jobs))
        self.shares = Shares()
        self.there: list[Newcomer] = []
        self.asked = 0
        self.usher = Usher(cast(Room, self), cast(Loop, self), lanes=LANES, holders=holders)
        for one in self.jobs:
            self.usher.enter(one)

    def first(self, lanes: Iterable[str], count: int) -> list[Newcomer]:
        assert tuple(lanes) == LANES
        self.asked += 1
        return self.there[:count]

    def hear(self, *names: str, key: str = "light", lane: str = "m.cpu", priority: str = "normal") -> None:
        for name in names:
            self.usher.hear("\t".join((name, lane, key, priority)).encode())

    @property
    def rivals(self) -> list[str]:
        """Who is to have the place of each."""
        return [one.rival.request_id if one.rival else "" for one in self.jobs]


def test_the_holder_of_one_that_waits_is_called_for_a_newcomer() -> None:
    hall = Hall()
    hall.hear("n")
    assert hall.rivals == ["", "", "", "n"]
    assert [one.bell.is_set() for one in hall.jobs] == [False, False, False, True]


def test_each_newcomer_has_a_holder_called_and_none_is_called_twice() -> None:
    hall = Hall()
    hall.hear("n", "n")
    hall.hear("o", "p", key="other")
    assert hall.rivals == ["", "", "o", "n"]


def test_newcomers_count_before_they_are_here() -> None:
    hall = Hall(holders=6)
    hall.hear("n", "o", "p", "q")
    assert hall.rivals == ["", "", "", "p", "o", "n"], "three of each key"


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param({"key": "heavy"}, id="of the same key"),
        pytest.param({"lane": "other.cpu"}, id="in another lane"),
        pytest.param({"priority": "batch"}, id="less urgent"),
    ],
)
def test_nobody_is_called_for_a_newcomer(heard: dict[str, str]) -> None:
    hall = Hall()
    hall.hear("n", **heard)
    assert hall.rivals == [""] * 4
    assert hall.asked == 0


def test_where_a_holder_is_free_tickets_bring_newcomers() -> None:
    hall = Hall()
    hall.usher.leave(hall.jobs[0])
    hall.hear("n")
    hall.usher.look()
    assert (hall.rivals, hall.asked) == ([""] * 4, 0)


def test_who_has_ended_is_not_called_and_a_later_attempt_is_not_forgotten() -> None:
    hall = Hall()
    hall.jobs[3].end()
    again = Job("0", 2, 1)
    hall.usher.enter(again)
    hall.usher.leave(hall.jobs[0])
    hall.hear("n")
    assert hall.rivals == ["", "", "n", ""]


def test_a_look_finds_who_was_not_heard() -> None:
    hall = Hall()
    hall.there = [Newcomer("h", "m.cpu", "heavy"), Newcomer("n", "m.cpu", "light")]
    hall.usher.look()
    assert (hall.rivals, hall.asked) == (["", "", "", "n"], 1)


def test_after_it_is_closed_nobody_is_called() -> None:
    hall = Hall()
    hall.usher.close()
    hall.hear("n", priority="interactive")
    assert hall.rivals == [""] * 4

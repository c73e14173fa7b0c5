"""When a consumer is taken for deaf, and how many innocent ones are not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tropilla.workers.deafness import MOST_COUNTED_SECONDS, Deafness

SECONDS = 10.0


@dataclass(frozen=True)
class Look:
    """What there is to see; the default is that of a deaf one."""

    waiting: int = 1
    holds: int = 0
    could_hold: int = 4
    taken: int = 0
    #: Seconds since the look before.
    after: float = 1.0


def found_at(looks: list[Look]) -> int | None:
    """The number of the look at which it was taken for deaf."""
    now = 100.0
    deafness = Deafness(SECONDS, now)
    for number, look in enumerate(looks, 1):
        now += look.after
        seen = {"waiting": look.waiting, "holds": look.holds, "could_hold": look.could_hold, "taken": look.taken}
        if deafness.look(now, **seen):
            return number
    return None


def test_a_consumer_that_leaves_tickets_lying_is_deaf_when_the_time_is_over() -> None:
    # The first look counts the second before it, in which nothing is known of the lane: that is the watcher's beat.
    assert found_at([Look()] * 30) == 10


def test_it_is_deaf_with_running_requests_too() -> None:
    assert found_at([Look(holds=3, taken=3), *[Look(holds=3, taken=3)] * 20]) == 11


@pytest.mark.parametrize(
    "looks",
    [
        [Look(waiting=0)] * 100,
        [Look(holds=4)] * 100,
        [Look(holds=5)] * 100,
        [Look(taken=number) for number in range(100)],
        [Look(taken=number // 9) for number in range(100)],
        [Look(waiting=number % 9) for number in range(100)],
        [Look(holds=4 if number % 9 == 0 else 0) for number in range(100)],
        [Look(waiting=0), Look(after=3600.0), Look(after=3600.0)],
    ],
    ids=[
        "nobody waits",
        "it is full",
        "it holds more than it can",
        "it takes them one by one",
        "it is slow and takes them",
        "the lane is emptied by others",
        "its slots are taken now and then",
        "the process was stopped",
    ],
)
def test_one_that_does_what_it_can_is_not(looks: list[Look]) -> None:
    assert found_at(looks) is None


def test_a_machine_that_seldom_looks_needs_as_many_looks_as_a_short_gap_does() -> None:
    assert found_at([Look(after=60.0)] * 30) == SECONDS / MOST_COUNTED_SECONDS


def test_an_excuse_begins_the_time_anew() -> None:
    deafness = Deafness(SECONDS, 0.0)
    seen = {"waiting": 1, "holds": 0, "could_hold": 4, "taken": 0}
    assert not any(deafness.look(now, **seen) for now in range(1, 10))
    deafness.excuse(10.0)
    assert not any(deafness.look(now, **seen) for now in range(11, 20))
    assert deafness.look(20.0, **seen)

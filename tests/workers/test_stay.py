"""How long a model stays, on a clock that is moved by hand."""

from __future__ import annotations

import pytest
from fakes import Clock
from tropilla.workers.stay import FOR_EVER, Stay


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_stays_for_its_time_when_nobody_asks(clock: Clock) -> None:
    stay = Stay(5.0, clock())
    clock.advance(4.0)
    assert (stay.idle_seconds(clock()), stay.expires_in(clock()), stay.is_over(clock())) == (4.0, 1.0, False)
    clock.advance(2.0)
    assert (stay.expires_in(clock()), stay.is_over(clock())) == (0.0, True)


def test_time_does_not_run_while_a_request_does(clock: Clock) -> None:
    stay = Stay(5.0, clock())
    stay.began(None)
    clock.advance(100.0)
    assert (stay.idle_seconds(clock()), stay.expires_in(clock()), stay.is_over(clock())) == (0.0, 5.0, False)
    stay.ended(clock())
    clock.advance(4.0)
    assert (stay.idle_seconds(clock()), stay.expires_in(clock())) == (4.0, 1.0)


def test_time_runs_from_the_end_of_the_last_request(clock: Clock) -> None:
    stay = Stay(5.0, clock())
    stay.began(None)
    stay.began(None)
    clock.advance(10.0)
    stay.ended(clock())
    clock.advance(10.0)
    assert (stay.running, stay.is_over(clock())) == (1, False)
    stay.ended(clock())
    assert (stay.running, stay.expires_in(clock())) == (0, 5.0)


def test_what_a_request_brings_sticks_until_another_brings_something_else(clock: Clock) -> None:
    stay = Stay(FOR_EVER, clock())
    seen = []
    for keep_alive in (-2.0, 60.0, None, 60.0, 2.5, None, -1.0, None, 0.0):
        changed = stay.began(keep_alive)
        stay.ended(clock())
        seen.append((stay.expires_in(clock()), changed))
    times, changes = zip(*seen, strict=True)
    assert times == (None, 60.0, 60.0, 60.0, 2.5, 2.5, None, None, 0.0)
    assert changes == (False, True, False, False, True, False, True, False, True)


def test_no_time_at_all_ends_with_the_last_request(clock: Clock) -> None:
    stay = Stay(300.0, clock())
    stay.began(None)
    stay.began(0.0)
    assert not stay.is_over(clock())
    stay.ended(clock())
    assert not stay.is_over(clock())
    stay.ended(clock())
    assert stay.is_over(clock())


@pytest.mark.parametrize("keep_alive", [-1.0, -0.001, -1e9])
def test_a_negative_time_is_for_ever(clock: Clock, keep_alive: float) -> None:
    stay = Stay(keep_alive, clock())
    clock.advance(1e9)
    assert (stay.expires_in(clock()), stay.is_over(clock())) == (None, False)

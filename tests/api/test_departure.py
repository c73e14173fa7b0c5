"""How an API process leaves, with a clock that goes on only while somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tropilla.api.departure import LAST_WORDS_SECONDS, Departure


class Leaving:
    """A process with requests, and `happens`: at some seconds, what happens then."""

    def __init__(self, happens: Mapping[float, Callable[[Departure], None]] = {}) -> None:
        self.now = 0.0
        self.said: list[float] = []
        self._happens = dict(happens)
        self.departure = Departure(lambda: self.said.append(self.now), lambda: self.now, self._pause)

    def _pause(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)
        for at in [at for at in self._happens if at <= self.now]:
            self._happens.pop(at)(self.departure)


def answered(departure: Departure) -> None:
    departure.open -= 1


def test_who_drains_answers_whoever_comes_until_the_time_is_over() -> None:
    leaving = Leaving()
    leaving.departure.drain(60)
    assert leaving.departure.begun
    assert leaving.said == [60]


def test_it_is_foreseen_from_the_moment_that_the_process_is_told() -> None:
    leaving = Leaving()
    assert not leaving.departure.foreseen
    leaving.departure.told = lambda: True
    assert (leaving.departure.foreseen, leaving.departure.begun) == (True, False)


def test_who_leaves_does_so_as_soon_as_nothing_is_open() -> None:
    leaving = Leaving({2.0: answered})
    leaving.departure.open = 1
    leaving.departure.leave(5)
    assert (leaving.said, leaving.now) == ([2.0], 2.0)


@pytest.mark.parametrize(("ends", "left"), [(5.5, 5.5), (99, 5 + LAST_WORDS_SECONDS)])
def test_what_is_open_at_the_end_has_time_for_its_last_words(ends: float, left: float) -> None:
    leaving = Leaving({ends: answered})
    leaving.departure.open = 1
    leaving.departure.leave(5)
    assert (leaving.said, leaving.now) == ([5.0], left)


def test_who_is_told_again_while_he_drains_says_good_bye_sooner_and_once() -> None:
    leaving = Leaving({1.0: lambda departure: departure.leave(0)})
    leaving.departure.drain(60)
    assert leaving.said == [1.0]


def test_nobody_gets_more_time_by_being_told_again() -> None:
    leaving = Leaving()
    leaving.departure.open = 1
    leaving.departure.drain(3)
    leaving.departure.leave(60)
    assert leaving.said == [3]
    assert leaving.now == 3 + LAST_WORDS_SECONDS

from __future__ import annotations

import pytest
from tropilla.compose.restarts import DECISIONS, exit_words, failures_in_a_row, pause_seconds


def test_pauses_double_from_one_second_to_thirty() -> None:
    assert [pause_seconds(failures) for failures in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_pause_after_very_many_failures_is_still_a_number() -> None:
    assert pause_seconds(100_000) == 30


def test_a_long_life_forgives_earlier_failures() -> None:
    assert failures_in_a_row(5, lived_seconds=3600) == 0
    assert failures_in_a_row(5, lived_seconds=0.1) == 5


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-99, "killed by signal 99"),
    ],
)
def test_a_status_is_said_in_words(status: int, words: str) -> None:
    assert exit_words(status) == words


def test_a_worker_that_cannot_start_stops_everything_and_one_that_crashes_later_is_started_again() -> None:
    assert DECISIONS["worker"] == {"starting": "stop", "running": "restart"}


def test_nothing_goes_on_without_redis_and_everything_without_flower() -> None:
    assert set(DECISIONS["redis"].values()) == {"stop"}
    assert set(DECISIONS["flower"].values()) == {"restart"}

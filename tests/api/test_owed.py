"""What is owed to a Redis that was away is told when it is back, once, in order."""

from __future__ import annotations

import threading

from tropilla.api.owed import Owed
from tropilla.common.errors import StoreUnavailable


class Redis:
    """Refuses so often."""

    def __init__(self, refusals: int, expected: int) -> None:
        self.refusals, self._expected = refusals, expected
        self.told: list[str] = []
        self.all_told = threading.Event()

    def tell(self, request_id: str) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StoreUnavailable("Redis cannot serve")
        self.told.append(request_id)
        if len(self.told) == self._expected:
            self.all_told.set()


def test_what_can_be_told_is_told_at_once() -> None:
    redis = Redis(0, 1)
    Owed(redis.tell).tell("a")
    assert redis.told == ["a"]


def test_what_cannot_be_told_now_is_told_later() -> None:
    redis = Redis(refusals=7, expected=3)
    owed = Owed(redis.tell, retry_seconds=0.001)
    for request_id in "abc":
        owed.tell(request_id)
    assert redis.all_told.wait(5)
    assert sorted(redis.told) == ["a", "b", "c"]


def test_a_second_absence_is_told_of_like_the_first() -> None:
    redis = Redis(refusals=1, expected=1)
    owed = Owed(redis.tell, retry_seconds=0.001)
    owed.tell("a")
    assert redis.all_told.wait(5)
    redis.refusals, redis.all_told = 2, threading.Event()
    redis._expected = 2
    owed.tell("b")
    assert redis.all_told.wait(5)
    assert redis.told == ["a", "b"]

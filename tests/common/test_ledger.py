from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tropilla.common.ledger import By, Row, Sum, sums

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROW = Row(NOON, "r", "generation", "m", "k", "normal", "completed", 10, 4, 3, 1, 0, 250, "w")
ROWS = [
    ROW,
    replace(ROW, key="", outcome="cancelled", generated=1),
    replace(ROW, model="n", outcome="failed:worker_crashed", cached=0),
    replace(ROW, time=NOON + timedelta(hours=12), outcome="expired", prompt=0, cached=0, generated=0),
]


@pytest.mark.parametrize(
    ("by", "requests"),
    [
        ("key", {"": 1, "k": 3}),
        ("model", {"m": 3, "n": 1}),
        ("day", {"2026-05-01": 3, "2026-05-02": 1}),
        ("outcome", {"cancelled": 1, "completed": 1, "expired": 1, "failed:worker_crashed": 1}),
    ],
)
def test_rows_are_added_up_by_what_is_wanted(by: By, requests: dict[str, int]) -> None:
    found = sums(ROWS, by)
    assert {name: each.requests for name, each in found.items()} == requests
    assert list(found) == sorted(found)


def test_a_sum_says_how_requests_ended_and_what_they_took() -> None:
    assert sums(ROWS, "model")["m"] == Sum(3, completed=1, cancelled=1, expired=1, prompt=20, cached=8, generated=4)
    assert sums(ROWS, "model")["n"] == Sum(1, failed=1, prompt=10, generated=3)
    assert sums([], "model") == {}

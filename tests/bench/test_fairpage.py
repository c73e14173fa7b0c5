"""From what a heavy key did to light ones to the table that says so."""

from __future__ import annotations

from typing import Any

import pytest

from bench import fairpage, page
from bench.fairness import KEPT, PAGE


def result(ratio: float) -> dict[str, Any]:
    phase = {"requests": 60, "light_requests": 10, "refused": 7, "ttft_p50_ms": 20.4, "ttft_p95_ms": 40.6}
    return {
        "date": "2026-01-01",
        "setup": {"model": "abacus", "seconds": 60.0, "slots": 8, "threads": 1, "tokens": 32},
        "load_average": [0.25, 0.0, 0.0],
        "capacity": 1234.5,
        "phases": {"alone": phase, "together": {**phase, "ttft_p50_ms": 30.0, "ttft_p95_ms": 40.6 * ratio}},
        "ttft_p95_ratio": ratio,
        "jain": 0.99951,
        "throughput_of_capacity": 0.876,
    }


@pytest.mark.parametrize(("ratio", "told"), [(1.2, "1.20"), (1.25, "**1.25**")], ids=["met", "missed"])
def test_a_row_says_what_the_light_keys_noticed(ratio: float, told: str) -> None:
    *_, row = (line for line in fairpage.section([result(ratio)]).splitlines() if line.startswith("|"))
    together = f"30 / {40.6 * ratio:.0f}"
    assert row == f"| abacus, 1234 | 20 / 41 | {together} | {told} | 7 of 50 | 1.000 | 88% |"


def test_a_table_is_as_wide_as_its_head() -> None:
    rows = [line for line in fairpage.section([result(1.0)]).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {8}


def test_the_page_has_what_was_measured_last() -> None:
    text = PAGE.read_text()
    assert fairpage.section(fairpage.latest(KEPT)) == text.partition(page.BEGIN)[2].partition(page.END)[0].strip()

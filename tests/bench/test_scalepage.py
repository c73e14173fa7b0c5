"""From what was measured of a token and a request to what a core carries, and the tables that say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import page, scalepage
from bench.places import RESULTS, ROOT, BenchError
from bench.scalepage import beginnings, carries, costs, fullest, knees, section


def stream(count: int, busy: float, **token: float) -> dict[str, Any]:
    return {
        "streams": count,
        "workers": 1,
        "wanted_per_second": 10.0 * count,
        "tokens_per_second": 9.0 * count,
        "gap_p50_ms": 100.0,
        "gap_p99_ms": 120.0,
        "memory_kb_each": 90.0,
        "cores": {"worker": 0.1, "redis": 0.1, "api": busy, "load": 1.0},
        "cpu_us_each": {"load": 1.0, **token},
    }


def result(*streams: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": "2026-01-01",
        "processor": "abacus",
        "cores": 2,
        "python": "3.11",
        "load_average": [0.0, 0.0, 0.0],
        "redis": {
            "steps": [{"streams": 8, "cpu_us_per_call": 160.0, "cpu_us_each": 20.0, "memory_bytes_each": 100.0}],
            "requests": {"cpu_us_each": 400.0},
        },
        "worker": [{"streams": 8, "cpu_us_per_step": 240.0, "cpu_us_each": 30.0, "tokens_per_second": 7000.0}],
        "streams": list(streams),
        "requests": {
            "requests": 100,
            "tokens": 400,
            "requests_per_second": 80.0,
            "lanes": 48,
            "alone": {"ttft_p50_ms": 17.0, "ttft_p99_ms": 29.0},
            "cpu_us_each": {"worker": 3000.0, "redis": 1000.0, "api": 4000.0, "load": 400.0},
            "cores": dict.fromkeys(("worker", "redis", "api", "load"), 0.5),
        },
    }


WHOLE = result(
    stream(64, 0.2, worker=50, redis=25, api=200),
    stream(256, 0.7, worker=40, redis=20, api=100),
    stream(512, 0.9, worker=1, redis=1, api=1),
)


def test_costs_are_taken_where_nobody_of_ours_was_late() -> None:
    assert fullest(WHOLE)["streams"] == 256
    assert costs(WHOLE) == {"worker": 40, "redis": 20, "api": 100}


def test_who_never_fullest_has_no_costs() -> None:
    with pytest.raises(BenchError, match="measure fewer"):
        costs(result(stream(64, 0.8, worker=1, redis=1, api=1)))


def test_a_request_costs_what_its_tokens_do_not() -> None:
    assert beginnings(WHOLE) == {"worker": 3000 - 160, "redis": 1000 - 80, "api": 4000 - 400}


@pytest.mark.parametrize(
    ("token", "begin", "answer", "tokens"),
    [(100, 0, 50, 7000), (100, 5000, 50, 3500), (100, 5000, 1e12, 7000), (70, 0, 1, 10_000)],
)
def test_a_core_carries_what_fits_into_seventy_percent_of_it(
    token: float, begin: float, answer: float, tokens: float
) -> None:
    assert carries(token, begin, answer) == pytest.approx(tokens)


def test_the_first_to_be_full_stands_first() -> None:
    rows = [line.split("|")[1].strip() for line in knees(WHOLE) if line.startswith("| ")][2:]
    assert rows == [
        "API process",
        "worker process, its own part",
        "Redis",
    ]


def test_a_cell_has_as_many_processes_as_its_redis_feeds() -> None:
    table = list(scalepage.cell(WHOLE))
    # 700,000 / (20 + 920 / 250) tokens/s of Redis; an API process has 700,000 / (100 + 3600 / 250).
    assert "| 250 tokens | 30,000 tokens/s | 120 | 5 | 2.2 |" in table


def test_a_fleet_has_as_many_cells_as_its_tokens_fill() -> None:
    table = list(scalepage.fleet(WHOLE))
    # 150,000 tokens/s; Redis has 29,561, an API process 6,119, a worker's core 13,631; a cell keeps 25,000 * 100 * 600.
    assert "| 5,000 | 150,000 | 6 | 25 | 11 | 42 | 1.5 |" in table


def test_the_page_shows_the_newest_result() -> None:
    newest = scalepage.latest(RESULTS / "scale")
    text = (ROOT / "docs" / "scale.md").read_text()
    assert page.replaced(text, section(newest)) == text


def test_nothing_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing was kept"):
        scalepage.latest(tmp_path)
    (tmp_path / "2026-01-01.json").write_text(json.dumps({"date": "a"}))
    (tmp_path / "2026-01-02.json").write_text(json.dumps({"date": "b"}))
    assert scalepage.latest(tmp_path)["date"] == "b"

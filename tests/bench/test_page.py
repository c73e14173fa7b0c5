"""Bars, verdicts, and the section of docs/benchmarks.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.bars import Bar, Verdict, spread
from bench.cells import CELLS
from bench.measure import order
from bench.page import BEGIN, END, latest, replaced, section, table

CELL = next(cell for cell in CELLS if cell.name == "decode-8")


def result(
    ours: list[float], theirs: list[float], *, model: str = "135m-q8_0", date: str = "2026-01-01"
) -> dict[str, Any]:
    def one(value: float) -> dict[str, Any]:
        return {"cells": {CELL.name: {CELL.headline: value}}}

    rounds = [
        {"servers": {"tropilla": one(own), "llama-server": one(other)}} for own, other in zip(ours, theirs, strict=True)
    ]
    return {
        "model": model,
        "date": date,
        "rounds": rounds,
        "llama_server_flags": [],
        "setup": {"threads": 2, "slots": 16, "context": 4096},
        "sizes": dict.fromkeys(("decode_1", "decode_8", "decode_16", "interrupted", "text_8", "first_tokens"), 7),
        "machine": {
            "processor": "abacus",
            "cores": 2,
            "load_average_before": [0.0, 0.5, 1.0],
            "versions": {"llama-cpp-python": "0.3.36"},
        },
    }


@pytest.mark.parametrize(
    ("bar", "ours", "theirs", "met"),
    [
        (Bar("ratio", "at least", 1.05), 105.0, 100.0, True),
        (Bar("ratio", "at least", 1.05), 104.0, 100.0, False),
        (Bar("ratio", "at most", 1 / 3), 1.0, 3.0, True),
        (Bar("difference", "at most", 8.0), 20.0, 12.0, True),
        (Bar("difference", "at most", 8.0), 20.5, 12.0, False),
    ],
)
def test_a_bar_is_met_at_its_limit(bar: Bar, ours: float, theirs: float, *, met: bool) -> None:
    assert Verdict(bar, (ours,), (theirs,)).met is met


def test_a_verdict_compares_medians() -> None:
    verdict = Verdict(Bar("ratio", "at least", 1.0), (1.0, 20.0, 30.0), (10.0, 10.0, 90.0))
    assert verdict.value == 2.0
    assert verdict.by_round == (0.1, 2.0, 1 / 3)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([3.14], "3.1"), ([1.0, 2.0, 3.0], "2.0 (1.0..3.0)"), ([2345.6, 99.0, 3000.0], "2,346 (99..3,000)")],
)
def test_spreads_show_median_and_range(values: list[float], shown: str) -> None:
    assert spread(values) == shown


def test_a_losing_cell_is_shown_as_one() -> None:
    *_, row = table(result([90.0, 80.0, 100.0], [100.0, 100.0, 100.0]))
    assert row == (
        "| decode, 8 streams, tokens/s | 90.0 (80.0..100.0) | 100 (100..100) | 0.90 (0.80..1.00) | ≥ 1.00 | **no** |"
    )


def test_the_hardest_peer_counts() -> None:
    measured = result([90.0], [80.0])
    measured["rounds"][0]["servers"]["llama-server-unified"] = {"cells": {CELL.name: {CELL.headline: 100.0}}}
    *_, row = table(measured)
    assert "(--kv-unified)" in row
    assert "| 0.90 (0.90..0.90) | ≥ 1.00 | **no** |" in row


def test_cells_that_were_not_measured_are_left_out() -> None:
    assert len(list(table(result([1.0], [1.0])))) == 3


def test_a_section_replaces_itself_and_nothing_else() -> None:
    page = "# Page\n\ntext\n"
    once = replaced(page, section([]))
    twice = replaced(once + "after\n", section([result([2.0], [1.0])]))
    assert twice.startswith(page + "\n" + BEGIN)
    assert twice.endswith(END + "\nafter\n")
    assert twice.count(BEGIN) == twice.count(END) == 1
    assert "abacus" in twice
    assert "Nothing was measured" not in twice


def test_the_newest_result_of_each_model_is_shown(tmp_path: Path) -> None:
    for date, value in (("2026-01-01", 1.0), ("2026-02-01", 2.0)):
        (tmp_path / f"{date}-135m-q8_0.json").write_text(json.dumps(result([value], [1.0], date=date)))
    (tmp_path / "2026-01-15-0.5b-q4_0.json").write_text(json.dumps(result([1.0], [1.0], model="0.5b-q4_0")))
    assert [(each["model"], each["date"]) for each in latest(tmp_path)] == [
        ("0.5b-q4_0", "2026-01-01"),
        ("135m-q8_0", "2026-02-01"),
    ]


def test_servers_take_turns_in_turned_order() -> None:
    names = ("tropilla", "llama-server")
    assert [order(names, number) for number in range(3)] == [[*names], [*reversed(names)], [*names]]

"""The section of docs/faults.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faults.__main__ import RUNS
from faults.account import bar
from faults.facts import ROOT
from faults.matrix import MATRIX, REDIS, TITLES
from faults.page import BEGIN, END, PAGE, RESULTS, keep, kept, replaced, section, shown

#: Files of neighbouring pieces, which come with them.
ELSEWHERE = {REDIS, "tests/cluster/test_batches.py"}


def result(**more: Any) -> dict[str, Any]:
    known = {
        "date": "2026-01-01",
        "seed": 3,
        "commit": "abcdef0",
        "took_seconds": 90.0,
        "machine": {"processor": "abacus", "cores": 2, "system": "beads", "load_average_before": [0.0, 0.5, 1.0]},
        "setup": {"workers": 4, "step_ms": 10.0},
        "bars": [bar("requests not answered exactly", 0, 0), bar("added pause, p99", 3.1, 2.5, unit="s")],
        "losses": 1000,
    }
    return {**known, **more}


def test_a_bar_that_is_not_met_is_shown_as_one() -> None:
    shown = section({"killed": result()}).splitlines()
    assert "| requests not answered exactly | 0 | ≤ 0 | yes |" in shown
    assert "| added pause, p99 | 3.100 s | ≤ 2.500 s | **no** |" in shown
    assert "1 of 2 bars are met. abacus, 2 cores, beads." in shown
    assert any("commit abcdef0, seed 3, 1.5 minutes; workers 4" in line for line in shown)
    assert "1,000 processes taken away." in shown


def test_what_was_wrong_is_told() -> None:
    told = section({"killed": result(wrong={"lost 7": 2}, added_pause_seconds={"count": 0})})
    assert "- 2 × lost 7" in told


@pytest.mark.parametrize(
    ("value", "limit", "least", "met"),
    [(1, 1, False, True), (2, 1, False, False), (1.0, 1.0, True, True), (0.9, 1, True, False)],
)
def test_a_bar_is_met_at_its_limit(value: float, limit: float, least: bool, met: bool) -> None:
    assert bar("it", value, limit, least=least)["met"] is met


@pytest.mark.parametrize(("value", "said"), [(0, "0"), (12345, "12,345"), (1.0, "1.0"), (2.25, "2.250")])
def test_numbers_are_shown_as_people_read_them(value: float, said: str) -> None:
    assert shown(value) == said


def test_a_section_replaces_itself_and_nothing_else() -> None:
    page = "# Page\n\ntext\n"
    once = replaced(page, section({}))
    twice = replaced(once + "after\n", section({"killed": result()}))
    assert twice.startswith(page + "\n" + BEGIN)
    assert twice.endswith(END + "\nafter\n")
    assert twice.count(BEGIN) == twice.count(END) == 1
    assert "Nothing was run" not in twice


def test_results_are_kept_by_their_name(tmp_path: Path) -> None:
    keep(tmp_path / "results", "killed", result(seed=9))
    assert kept(tmp_path / "results")["killed"]["seed"] == 9


def test_every_run_has_a_title_and_every_fault_a_proof() -> None:
    assert set(RUNS) == set(TITLES)
    assert [row.number for row in MATRIX] == [f"F{n}" for n in range(1, 25)]
    assert {name for row in MATRIX for name in row.runs} <= set(TITLES)
    named = {path for row in MATRIX for path in row.tests} - ELSEWHERE
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    assert all(row.tests for row in MATRIX)


def test_the_page_is_what_the_results_say() -> None:
    text = PAGE.read_text()
    assert replaced(text, section(kept(RESULTS))) == text

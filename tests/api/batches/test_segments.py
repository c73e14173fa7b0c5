"""Answers on the disk: what counts is read by whoever comes next, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tropilla.api.batches.records import Tally, Tokens
from tropilla.api.batches.segments import Row, Segments


def row(line: int, *, good: bool = True) -> Row:
    return Row(line, good, Tokens(line, 1, 2, 0), b'{"line": %d}' % line)


def test_rows_are_found_where_they_were_put(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "b", 1, {})
    for line in (5, 2, 9):
        segments.add(row(line, good=line != 2))
    assert list(segments.texts([2, 5, 9])) == [row(2).text, row(5).text, row(9).text]
    assert segments.tally(10) == Tally(10, 2, 1, Tokens(16, 3, 6, 0))
    assert segments.tally(10, closed=True) == Tally(10, 2, 8, Tokens(16, 3, 6, 0))
    segments.close()


def test_whoever_takes_over_reads_what_counts_and_writes_beside_it(tmp_path: Path) -> None:
    first = Segments(tmp_path / "b", 1, {})
    first.add(row(1))
    counted = first.length
    # Written by somebody who was not the batch's any more when he told Redis of it.
    first.add(row(2, good=False))
    first.close()
    second = Segments(tmp_path / "b", 2, {1: counted})
    assert list(second.places) == [1]
    second.add(row(2))
    second.sync()
    assert second.places[2].good
    third = Segments(tmp_path / "b", 3, {1: counted, 2: second.length})
    assert list(third.texts([1, 2])) == [row(1).text, row(2).text]
    assert third.tally(2) == second.tally(2)
    second.close()
    third.close()
    third.remove()
    assert not (tmp_path / "b").exists()


def test_a_length_within_a_row_counts_only_the_rows_before(tmp_path: Path) -> None:
    first = Segments(tmp_path / "b", 1, {})
    ends = []
    for line in (1, 2):
        first.add(row(line))
        ends.append(first.length)
    first.close()
    for length, lines in ((0, []), (ends[0] - 1, []), (ends[0], [1]), (ends[1] - 1, [1]), (ends[1], [1, 2])):
        segments = Segments(tmp_path / "b", 100 + length, {1: length})
        assert list(segments.places) == lines
        segments.close()


@pytest.mark.parametrize("damage", [b"\0" * 40 + b"\n", b"1 1 0 0\n", b"x 1 0 0 0 0 {}\n", b'1 1 0 0 0 0 {"cut\n'])
def test_rows_that_a_failing_machine_has_spoilt_are_asked_again(tmp_path: Path, damage: bytes) -> None:
    first = Segments(tmp_path / "b", 1, {})
    first.add(row(1))
    first.close()
    path = tmp_path / "b" / "1.rows"
    path.write_bytes(damage + path.read_bytes())
    segments = Segments(tmp_path / "b", 2, {1: path.stat().st_size})
    assert list(segments.places) == [1]
    assert list(segments.texts([1])) == [row(1).text]
    segments.close()


def test_a_segment_that_is_gone_has_no_rows(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "b", 2, {1: 500})
    assert segments.places == {}
    segments.close()


def test_a_second_row_of_a_line_is_a_bug(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "b", 1, {})
    segments.add(row(1))
    with pytest.raises(AssertionError, match="line 1 has an answer"):
        segments.add(row(1))
    segments.close()

"""`keep_alive`: the table of section 6.4."""

from __future__ import annotations

from typing import Any

import pytest
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.ollama.keep_alive import FOREVER, seconds


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0),
        (0.0, 0),
        (42, 42),
        (42.5, 42.5),
        (-1, FOREVER),
        (-0.5, FOREVER),
        ("0", 0),
        ("0s", 0),
        ("+5m", 300),
        ("5m", 300),
        ("300ms", 0.3),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("2μs", 2e-6),
        ("7ns", 7e-9),
        ("-1m", FOREVER),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_go_text(given: Any, expected: float) -> None:
    assert seconds(given) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("60", 'time: missing unit in duration "60"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("1m30", 'time: missing unit in duration "1m30"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1h 2m", 'time: unknown unit "h " in duration "1h 2m"'),
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        (".", 'time: invalid duration "."'),
        ("-", 'time: invalid duration "-"'),
        (True, "Unsupported type: 'bool'"),
        ([], "Unsupported type: '[]interface {}'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(given: Any, text: str) -> None:
    with pytest.raises(Wrong) as caught:
        seconds(given)
    assert caught.value.messages == [text]

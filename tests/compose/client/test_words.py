from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tropilla.compose.client import words

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1340, "1.3 KB"),
        (9_949, "9.9 KB"),
        (9_950, "10 KB"),
        (22_400_000, "22 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (4_661_224_676, "4.7 GB"),
        (3.2e12, "3.2 TB"),
        (5e18, "5000 PB"),
    ],
)
def test_sizes_are_powers_of_a_thousand_with_two_or_three_digits(count: float, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(minutes=4, seconds=59), "4 minutes from now"),
        (timedelta(seconds=1), "1 second from now"),
        (timedelta(milliseconds=500), "a moment from now"),
        (timedelta(0), "stopping"),
        (timedelta(hours=-1), "stopping"),
        (timedelta(hours=25), "1 day from now"),
        (timedelta(days=365 * 292), "for ever"),
    ],
)
def test_a_time_to_come_says_how_far_away_it_is(ahead: timedelta, text: str) -> None:
    assert words.from_now(NOW + ahead, NOW) == text


@pytest.mark.parametrize(
    ("back", "text"),
    [
        (timedelta(0), "a moment ago"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=13), "1 week ago"),
        (timedelta(days=45), "1 month ago"),
        (timedelta(days=900), "2 years ago"),
        (timedelta(seconds=-90), "1 minute from now"),
    ],
)
def test_a_time_gone_by_says_how_long_ago(back: timedelta, text: str) -> None:
    assert words.ago(NOW - back, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (59.6, "1:00"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_a_rest_of_time_is_counted_down(seconds: float, text: str) -> None:
    assert words.clock(seconds) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"), [(0, "0 ms"), (812_400_000, "812 ms"), (999_600_000, "1.00 s"), (3_210_000_000, "3.21 s")]
)
def test_measured_times_have_three_digits(nanoseconds: float, text: str) -> None:
    assert words.spent(nanoseconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b2J", "�2J"),
        ("back\rward\x08", "back�ward�"),
        ("fünf 🦊", "fünf 🦊"),
    ],
)
def test_a_terminal_is_given_no_control_characters(text: str, shown: str) -> None:
    assert words.harmless(text) == shown

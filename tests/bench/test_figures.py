"""Figures from records small enough to do by hand."""

from __future__ import annotations

import pytest

from bench.figures import decode, first_token, interruption, overall, percentile, throughput
from bench.jobs import Job, Record, Seen
from bench.words import words_in


def seen(*arrivals: float, sent: float = 0.0, tokens: tuple[int, ...] = ()) -> Seen:
    return Seen(sent, arrivals, tokens or (1,) * len(arrivals), None, None, None)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0), (0.0, 1.0)])
def test_percentiles_are_values_that_were_seen(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_decode_counts_while_all_streams_run() -> None:
    record = Record((seen(1.0, 2.0, 3.0), seen(2.0, 3.0, 4.0)))
    # From 2 to 3: one token of either.
    assert decode(record) == {"decode": 2.0, "overall": 6 / 4}


def test_an_arrival_counts_as_many_tokens_as_it_brought() -> None:
    assert decode(Record((seen(1.0, 3.0, tokens=(1, 4)),)))["decode"] == 2.0


def test_streams_that_never_ran_together_have_only_an_overall_rate() -> None:
    record = Record((seen(1.0, 2.0), seen(3.0, 4.0)))
    assert decode(record)["decode"] == overall(record) == 1.0


def test_first_tokens_are_milliseconds_after_sending() -> None:
    figures = first_token(Record((seen(1.5, sent=1.0), seen(2.25, sent=2.0), seen(3.125, sent=3.0))))
    assert figures["ttft_p50_ms"] == 250.0
    assert figures["ttft_p99_ms"] == 500.0


def test_only_intervals_that_touch_the_interruption_count() -> None:
    stream = seen(1.0, 2.0, 4.0, 5.0, 5.5)
    figures = interruption(Record((stream,), intruder=seen(4.5, sent=3.0)))
    # 2..4 and 4..5 touch 3..4.5; the others do not.
    assert figures["intervals"] == 2
    assert figures["interval_p99_ms"] == 2000.0
    assert figures["intruder_ttft_ms"] == 1500.0
    assert figures["streams_that_ended_before"] == 0


def test_throughput_knows_requests_and_time() -> None:
    figures = throughput(Record((seen(1.0), seen(2.0))))
    assert (figures["requests_per_second"], figures["wall_seconds"]) == (1.0, 2.0)


@pytest.mark.parametrize(("text", "count"), [("", 0), (" w1 w22", 2), (" w", 0), ("w3", 0), (" w1\u00e9 w2", 2)])
def test_words_are_tokens(text: str, count: int) -> None:
    assert words_in(text) == count


def test_jobs_and_records_cross_the_border() -> None:
    job = Job(1, "/x", 2, [{"prompt": [1]}], {"prompt": [2]}, 3)
    record = Record((seen(1.0),), intruder=seen(2.0))
    assert Job.decode(job.encode()) == job
    assert Record.decode(record.encode()) == record
    assert Record.decode(Record((seen(1.0),)).encode()).intruder is None

"""What is written down of an attempt, and of one whose worker cannot do so any more."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fakes import Clock
from tropilla.common.generation import Finished, Timings, Usage
from tropilla.common.room import Taken
from tropilla.common.spans import Place, Span, attempt_place
from tropilla.workers.diary import Diary
from tropilla.workers.loop import Job

PLACE = Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
NOW = 1_000_000_000_000
SECOND = 1_000_000_000


class Told:
    """A collector that keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def begin(self, parent: Place | None) -> Place:
        raise AssertionError("a worker begins no trace")

    def tell(self, spans: Any) -> None:
        self.spans += spans

    def close(self) -> None:
        pass


def taken(attempt: int = 1, **fields: Any) -> Taken:
    return Taken("claimed", "r", attempt, 0, trace=fields.pop("trace", PLACE.traceparent), **fields)


def ended(choice: int, prefill: float, decode: float) -> Finished:
    return Finished(
        choice, choice, "length", Usage(5, 2, 10), seed=0, timings=Timings(queue=0.1, prefill=prefill, decode=decode)
    )


def written(job: Job, taken: Taken, seconds: float = 4.0) -> list[Span]:
    told, clock = Told(), Clock()
    diary = Diary("w@host", told, clock, lambda: NOW)
    began = clock.now
    clock.advance(seconds)
    diary.over(job, taken, "pocket", began)
    return told.spans


def finished_job(*ends: Finished) -> Job:
    job = Job("r", 1, 0, prompt_tokens=5)
    job.finished += ends
    job.outcome = "length, 5 + 10 tokens"
    return job


def test_an_attempt_has_its_queue_before_it_and_its_longest_choice_in_it() -> None:
    queue, attempt, prefill, decode = written(finished_job(ended(0, 1, 1), ended(1, 1, 2)), taken(waited=3.0))
    start = NOW - 4 * SECOND
    assert (queue.name, queue.parent, queue.start, queue.end) == ("queue", PLACE, start - 3 * SECOND, start)
    assert (attempt.place, attempt.parent, attempt.start, attempt.end) == (attempt_place(PLACE, 1), PLACE, start, NOW)
    assert (attempt.error, attempt.links) == ("", ())
    assert attempt.attributes["tropilla.worker"] == "w@host"
    assert {prefill.parent, decode.parent} == {attempt.place}
    assert (prefill.start, prefill.end, decode.end) == (NOW - 3 * SECOND, NOW - 2 * SECOND, NOW)
    assert decode.attributes == {"gen_ai.usage.output_tokens": 10}
    assert len({span.place.span for span in (queue, attempt, prefill, decode)}) == 4


def test_whoever_comes_after_a_lost_worker_writes_its_attempt_down_too() -> None:
    lost, attempt = written(Job("r", 2, 1), taken(2, lost_worker="x@host", lost_after=7.0))
    assert (lost.place, lost.parent, lost.error) == (attempt_place(PLACE, 1), PLACE, "worker_lost")
    assert (lost.start, lost.end) == (NOW - 11 * SECOND, NOW - 4 * SECOND)
    assert lost.attributes == {"tropilla.attempt": 1, "tropilla.worker": "x@host"}
    assert attempt.links == (lost.place,)


def test_one_that_was_taken_away_leaves_that_to_who_has_it_now() -> None:
    job = Job("r", 1, 1)
    job.be_taken_away()
    assert [span.name for span in written(job, taken())] == ["queue"]


def test_a_request_that_is_given_up_has_its_last_attempt() -> None:
    told = Told()
    crashed = Taken("crashed", "r", 2, 5, trace=PLACE.traceparent, lost_worker="x@host", lost_after=1.0)
    Diary("w@host", told, Clock(), lambda: NOW).crashed(crashed)
    (lost,) = told.spans
    assert (lost.place, lost.error, lost.links) == (attempt_place(PLACE, 2), "worker_lost", (attempt_place(PLACE, 1),))


@pytest.mark.parametrize("trace", ["", "nonsense"])
def test_what_is_in_no_trace_makes_no_span(trace: str) -> None:
    assert written(finished_job(ended(0, 1, 1)), taken(trace=trace)) == []


def test_a_failure_is_one_in_the_trace() -> None:
    job = Job("r", 1, 1)
    job.outcome = "failed: context_length"
    _, attempt = written(job, taken())
    assert attempt.error == "context_length"


def test_each_attempt_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tropilla"):
        written(finished_job(ended(0, 1, 2)), taken(waited=3.0))
    (record,) = caplog.records
    assert record.getMessage() == "request r, attempt 1 at pocket: length, 5 + 10 tokens, 4.000 s"
    assert record.facts == {  # type: ignore[attr-defined]
        "request_id": "req_r",
        "model": "pocket",
        "attempt": {
            "number": 1,
            "outcome": "length, 5 + 10 tokens",
            "prompt_tokens": 5,
            "generated_tokens": 10,
            "waited_seconds": 3.0,
            "seconds": 4.0,
            "slot_seconds": 0.1,
            "prefill_seconds": 1,
            "decode_seconds": 2,
        },
    }

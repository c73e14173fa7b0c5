"""What is written down of each attempt at a request when it is over here: a line in the log, and spans where somebody
collects them.

    the API's span of the HTTP request
      |-- queue      from admission to the first taking
      |-- attempt    one for each worker that took it, linked to the one before
            |-- prefill, decode    of the choice that took longest

A worker that is killed says nothing any more. So whoever takes its request next writes its attempt down, too: under the
same id, which follows from the request's place in its trace and the attempt's number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from tropilla.common import logs, tracing
from tropilla.common.generation import Finished
from tropilla.common.room import Taken
from tropilla.common.spans import PROVIDER, Place, Span, Value, attempt_place, parse
from tropilla.common.tracing import Collector
from tropilla.workers.loop import Job

log = logging.getLogger(__name__)

LOST = "worker_lost"


class Diary:
    """Of one worker. collector: None where nobody wants spans."""

    def __init__(
        self,
        worker: str,
        collector: Collector | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = tracing.now,
    ) -> None:
        self.clock = clock
        self._worker, self._collector, self._now = worker, collector, now

    def over(self, job: Job, taken: Taken, model: str, began: float) -> None:
        """An attempt has ended here. began: when it was taken, on the diary's clock."""
        seconds = self.clock() - began
        if log.isEnabledFor(logging.INFO):
            _say(job, taken, model, seconds)
        place = parse(taken.trace) if self._collector is not None else None
        if self._collector is not None and place is not None:
            end = self._now()
            self._collector.tell(self._spans(job, taken, model, place, end - _nanoseconds(seconds), end))

    def crashed(self, taken: Taken) -> None:
        """It was given up when its last worker was lost."""
        place = parse(taken.trace) if self._collector is not None else None
        if self._collector is not None and place is not None:
            self._collector.tell(_lost(taken, place, self._now(), taken.attempt))

    def close(self) -> None:
        """Sends what has not gone out."""
        if self._collector is not None:
            self._collector.close()

    def _spans(self, job: Job, taken: Taken, model: str, place: Place, start: int, end: int) -> Iterator[Span]:
        if taken.attempt == 1:
            waited = start - _nanoseconds(taken.waited)
            yield Span("queue", place.derived("queue"), place, waited, start, {"gen_ai.request.model": model})
        yield from _lost(taken, place, start, taken.attempt - 1)
        if job.taken_away:
            # By somebody who has written this attempt down as lost.
            return
        here = attempt_place(place, taken.attempt)
        about: dict[str, Value] = {
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": model,
            "tropilla.attempt": taken.attempt,
            "tropilla.worker": self._worker,
            "tropilla.outcome": job.outcome,
        }
        before = (attempt_place(place, taken.attempt - 1),) if taken.attempt > 1 else ()
        failed = job.outcome.partition("failed: ")[2]
        yield Span("attempt", here, place, start, end, about, kind="consumer", error=failed, links=before)
        if job.finished:
            yield from _computed(max(job.finished, key=_computing), here, end)


def _lost(taken: Taken, place: Place, end: int, attempt: int) -> Iterator[Span]:
    """The attempt of a worker that cannot speak for itself any more."""
    if taken.lost_worker:
        about: dict[str, Value] = {"tropilla.attempt": attempt, "tropilla.worker": taken.lost_worker}
        start = end - _nanoseconds(taken.lost_after)
        before = (attempt_place(place, attempt - 1),) if attempt > 1 else ()
        here = attempt_place(place, attempt)
        yield Span("attempt", here, place, start, end, about, kind="consumer", error=LOST, links=before)


def _computed(one: Finished, attempt: Place, end: int) -> Iterator[Span]:
    first = end - _nanoseconds(one.timings.decode)
    begun = first - _nanoseconds(one.timings.prefill)
    tokens: dict[str, Value] = {
        "gen_ai.usage.input_tokens": one.usage.prompt,
        "gen_ai.usage.cache_read.input_tokens": one.usage.cached,
    }
    yield Span("prefill", attempt.derived("prefill"), attempt, begun, first, tokens)
    tokens = {"gen_ai.usage.output_tokens": one.usage.generated}
    yield Span("decode", attempt.derived("decode"), attempt, first, end, tokens)


def _say(job: Job, taken: Taken, model: str, seconds: float) -> None:
    longest = max(job.finished, key=_computing, default=None)
    timings = {} if longest is None else {
        "slot_seconds": round(longest.timings.queue, 6),
        "prefill_seconds": round(longest.timings.prefill, 6),
        "decode_seconds": round(longest.timings.decode, 6),
    }  # fmt: skip
    facts = {
        "number": taken.attempt,
        "outcome": job.outcome,
        "prompt_tokens": job.prompt_tokens,
        "generated_tokens": sum(one.usage.generated for one in job.finished),
        "waited_seconds": taken.waited,
        "seconds": round(seconds, 6),
        **timings,
    }
    line = {"request_id": logs.named(job.request_id), "model": model, "attempt": facts}
    text = "request %s, attempt %d at %s: %s, %.3f s"
    log.info(text, job.request_id, taken.attempt, model, job.outcome, seconds, extra={"facts": line})


def _computing(one: Finished) -> float:
    return one.timings.prefill + one.timings.decode


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)

"""Whether the pinned model still computes: a token for nobody, where nobody has asked for one for a while.

A process that lives, and says so to Redis, may have a model that no longer decodes: a kernel that never returns, a GPU that
has fallen off its bus, a loop that waits for something that does not come. So the canary takes the way of every request
from the loop's inbox on, through the scheduler and llama.cpp, and ends at its outbox: it stands in no queue, in no ledger,
in no statistics, and no prefix stays behind. Any step that was computed for somebody is as good as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from tropilla.common.catalogue import Sign, Trouble
from tropilla.common.generation import Failed
from tropilla.workers.loop import Job, Outgoing
from tropilla.workers.trouble import CannotLoad

#: What it calls itself among the loop's requests, whose ids are hexadecimal; and whose share it is charged to.
NAME = "canary"
#: A canary that has not come back after so many times the pause between two is missed.
PATIENCE = 3
#: A step that takes longer than this part of what makes the watchdog end the process is told of.
LONG_STEP = 1 / 3
#: One token of a prompt, and one that is drawn: the loop needs one turn for it. Of so many, none was it.
PROVING_TURNS = 16

Outbox = Callable[[list[Outgoing]], None]


class Loop(Protocol):
    """What is needed of `loop.Loop`."""

    @property
    def idle(self) -> bool: ...
    @property
    def busy_since(self) -> float | None: ...
    @property
    def computed_at(self) -> float: ...
    def turn(self) -> None: ...


class Canary:
    """Sent at the latest `seconds` after the last step; step_seconds: what a step may take before it hangs. `outbox` is
    where the events of everybody else go; `put` stands in its place. To be told with `mind` whom it watches.
    """

    def __init__(
        self, outbox: Outbox, *, seconds: float, step_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbox, self._clock = outbox, clock
        self._seconds, self._long = seconds, step_seconds * LONG_STEP
        #: The one under way.
        self._job: Job | None = None
        self._sent_at = 0.0
        #: What the last one took, and why and when one failed.
        self._took, self._failure, self._failed_at = 0.0, "", float("-inf")

    def mind(self, loop: Loop, send: Callable[[Job], None]) -> None:
        """send: has the loop compute something as small as can be for a job."""
        self._loop, self._send = loop, send

    def put(self, events: list[Outgoing]) -> None:
        """In place of the outbox, in the loop's thread."""
        job = self._job
        if job is None:
            self._outbox(events)
            return
        for outgoing in events:
            if outgoing.job is job and outgoing.ends:
                self._end(outgoing)
        if others := [outgoing for outgoing in events if outgoing.job is not job]:
            self._outbox(others)

    def prove(self) -> None:
        """Before the loop has a thread of its own, in this one. Raises `CannotLoad` where nothing comes of it."""
        self._release()
        for _ in range(PROVING_TURNS):
            if self._job is None:
                break
            self._loop.turn()
        if self._job is not None or self._failure:
            why = self._failure or "nothing came of it"
            raise CannotLoad(Trouble("load_failed", f"its first token could not be computed: {why}"))

    def look(self) -> None:
        """Sends one where it is time to; from one thread, while the loop takes requests."""
        if self._job is not None and self._job.ended.is_set():
            # Dropped with all the others by a loop that hands back what it has.
            self._job = None
        last = max(self._loop.computed_at, self._failed_at)
        if self._job is None and self._loop.idle and self._clock() - last >= self._seconds:
            self._release()

    @property
    def sign(self) -> Sign:
        """To be read from any thread."""
        return Sign(max(self._clock() - self._loop.computed_at, 0.0), self._took, self._trouble())

    def _trouble(self) -> str:
        now, computed_at, busy_since = self._clock(), self._loop.computed_at, self._loop.busy_since
        if self._failed_at >= computed_at:
            return f"the last step failed: {self._failure}"
        if busy_since is not None:
            return f"a step has been running for {now - busy_since:.0f} s" if now - busy_since > self._long else ""
        awaited = self._job is not None or not self._loop.idle
        waited = now - max(computed_at, self._sent_at)
        return f"no step has begun for {waited:.0f} s" if awaited and waited > PATIENCE * self._seconds else ""

    def _release(self) -> None:
        self._sent_at = self._clock()
        self._job = Job(NAME, 1, 1, key=NAME)
        self._send(self._job)

    def _end(self, outgoing: Outgoing) -> None:
        now = self._clock()
        if isinstance(outgoing.event, Failed):
            self._failure, self._failed_at = outgoing.event.message, now
        else:
            self._failure, self._took = "", now - self._sent_at
        self._job = None
        outgoing.job.end()

"""Events on their way out of the loop: into the journal, and onto the inboxes of those who wait for them.

A thread of its own, so that Redis never stalls decoding; what waits for it is bounded, so that decoding does not run away
from a Redis that is down: too much of it blocks the loop, and everything goes on when Redis is back.

Every call costs this machine's cores, which decode, a millisecond in all: here, in Redis, in the API process and in the
client. So where steps are short, some go out together: a stream's first event here and its last at once, tokens between
them at most every `HOLD_SECONDS`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Set
from typing import Protocol

from tropilla.common import codec
from tropilla.common.bus import Appended, Entry
from tropilla.common.errors import StoreUnavailable
from tropilla.common.generation import Event, Finished, Prompted, Token
from tropilla.common.terms import ending
from tropilla.workers.loop import Job, Outgoing

log = logging.getLogger(__name__)

#: Steps that may wait for Redis before the loop is made to wait: some seconds of decoding.
MAX_WAITING_STEPS = 256
#: Steps that go out in one call when Redis is behind.
MAX_STEPS_PER_CALL = 32
RETRY_SECONDS = 0.2
#: How long a token may wait for company.
HOLD_SECONDS = 0.03


class Journal(Protocol):
    """What the publisher needs of `bus.Bus`."""

    def append(self, entries: list[Entry], *, journal_seconds: float) -> Appended: ...
    def give_up(self, request_id: str, *, seconds: float) -> bool: ...


class Publisher:
    """`cancel` and `fence` are the loop's: for requests that nobody hears, and for those that are somebody else's now."""

    def __init__(
        self,
        journal: Journal,
        *,
        cancel: Callable[[str], None],
        fence: Callable[[str, int], None],
        journal_seconds: float,
        orphan_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._cancel = cancel
        self._fence = fence
        self._journal_seconds = journal_seconds
        self._orphan_seconds = orphan_seconds
        self._clock = clock
        lock = threading.Lock()
        self._put, self._taken = threading.Condition(lock), threading.Condition(lock)
        #: Of these the rest is guarded by the lock.
        self._steps: deque[list[Outgoing]] = deque()
        self._urgent = False
        self._ended = False
        self._sent_at = float("-inf")
        self._stopping = threading.Event()
        #: request -> since when nobody listens to it
        self._unheard: dict[str, float] = {}

    def put(self, events: list[Outgoing]) -> None:
        """The events of one step, in order. Blocks while too many steps wait."""
        urgent = any(_is_urgent(outgoing) for outgoing in events)
        with self._put:
            while len(self._steps) >= MAX_WAITING_STEPS:
                self._taken.wait()
            self._steps.append(events)
            if urgent or len(self._steps) == 1:
                self._urgent = self._urgent or urgent
                self._put.notify()

    def stop(self) -> None:
        """Ends `run` once everything put so far has gone out, or was given up."""
        self.stop_waiting()
        with self._put:
            self._ended = True
            self._put.notify()

    def stop_waiting(self) -> None:
        """From here on events that Redis does not take at once are given up, and their requests with them."""
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`."""
        while (events := self._next()) is not None:
            self.publish(events)

    def _next(self) -> list[Outgoing] | None:
        """The events of the next steps, as soon as they are due. None once there will be no more."""
        with self._put:
            while not self._steps and not self._ended:
                self._put.wait()
            while not self._urgent and not self._ended and (early := self._sent_at + HOLD_SECONDS - self._clock()) > 0:
                self._put.wait(early)
            if not self._steps:
                return None
            steps = [self._steps.popleft() for _ in range(min(len(self._steps), MAX_STEPS_PER_CALL))]
            self._urgent = bool(self._steps)
            self._sent_at = self._clock()
            self._taken.notify()
        return [outgoing for step in steps for outgoing in step]

    def publish(self, events: list[Outgoing]) -> None:
        """Journals and publishes, however often it takes, and draws the consequences."""
        entries = [_entry(outgoing) for outgoing in events]
        while True:
            try:
                appended = self._append(entries)
                break
            except StoreUnavailable as error:
                log.warning("%d events wait: %s", len(entries), error.message)
                if self._stopping.wait(RETRY_SECONDS):
                    for outgoing in events:
                        outgoing.job.be_taken_away()
                    return
        jobs = {(outgoing.job.request_id, outgoing.job.attempt): outgoing.job for outgoing in events}
        for request_id, attempt in appended.refused:
            log.warning("request %s was taken away", request_id)
            self._fence(request_id, attempt)
            jobs[request_id, attempt].be_taken_away()
        for outgoing in events:
            if not isinstance(outgoing.event, Prompted):
                # Which is said before anything is computed.
                outgoing.job.begun.set()
            outgoing.job.be_safe(outgoing.event.index)
            if outgoing.ends:
                outgoing.job.end()
        ended = {outgoing.job.request_id for outgoing in events if outgoing.ends}
        self._watch_orphans(appended, ended, {request_id for request_id, _ in jobs})

    def _append(self, entries: list[Entry]) -> Appended:
        return self._journal.append(entries, journal_seconds=self._journal_seconds)

    def _watch_orphans(self, appended: Appended, ended: Set[str], told: Set[str]) -> None:
        now = self._clock()
        for request_id in told:
            if request_id not in appended.unheard or request_id in ended:
                self._unheard.pop(request_id, None)
                continue
            since = self._unheard.setdefault(request_id, now)
            if now - since >= self._orphan_seconds:
                # Cancelled, it leaves; should it stay, the grace begins anew.
                del self._unheard[request_id]
                if self._given_up(request_id):
                    log.warning("request %s is cancelled: nobody has listened for %.0f s", request_id, now - since)
                    self._cancel(request_id)

    def _given_up(self, request_id: str) -> bool:
        """Unless somebody has come to listen since its events went out."""
        try:
            return self._journal.give_up(request_id, seconds=self._journal_seconds)
        except StoreUnavailable as error:
            log.warning("request %s: who listens is not known: %s", request_id, error.message)
            return False


def _is_urgent(outgoing: Outgoing) -> bool:
    """Somebody waits for it: for a first sign of the answer, also of its going on here, or for its end."""
    return outgoing.ends or not outgoing.job.begun.is_set() or not isinstance(outgoing.event, Token)


def _entry(outgoing: Outgoing) -> Entry:
    job, event = outgoing.job, outgoing.event
    return Entry(
        job.request_id,
        job.attempt,
        event.index,
        ending(event) if outgoing.ends else "",
        codec.encode_event(event),
        tokens=int(isinstance(event, Token)),
        cached=_cached(job, event),
        prompt=job.prompt_tokens,
    )


def _cached(job: Job, event: Event) -> int:
    """How much of a prompt had not to be computed: what its first answer says. The others find what that one computes."""
    return event.usage.cached if isinstance(event, Finished) and event.choice % job.answers == 0 else 0

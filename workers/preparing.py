"""Requests that are prepared and are not the loop's yet: whoever ends requests is heard of them, too.

With images that takes many seconds, of which a hung-up caller, and a worker that is told to leave, wait for one piece of
one image at the most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from tropilla.workers.gallery import GoOn
from tropilla.workers.loop import Job

Why = Literal["cancelled", "fenced", "handed back"]


class Stopped(Exception):
    """What is prepared is not wanted here any more."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


class Preparations:
    """Of one pinned model. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: What is to become of each; guarded by the lock, as is the other.
        self._jobs: dict[Job, Why | None] = {}
        self._handing_back = False

    @contextmanager
    def of(self, job: Job) -> Iterator[GoOn]:
        """While the job is prepared; what is to be asked now and then raises `Stopped`."""

        def go_on() -> None:
            why = self._jobs[job]
            if why is not None:
                raise Stopped(why)

        with self._lock:
            self._jobs[job] = "handed back" if self._handing_back else None
        try:
            yield go_on
        finally:
            with self._lock:
                del self._jobs[job]

    def cancel(self, request_id: str) -> None:
        """Nobody wants the request."""
        self._stop("cancelled", lambda job: job.request_id == request_id)

    def fence(self, request_id: str, attempt: int) -> None:
        """The request is somebody else's now; a later attempt is left alone."""
        self._stop("fenced", lambda job: job.request_id == request_id and job.attempt <= attempt)

    def hand_back(self) -> None:
        """Others are to go on with all that is here, and with all that comes."""
        with self._lock:
            self._handing_back = True
        self._stop("handed back", lambda job: True)

    def _stop(self, why: Why, whom: Callable[[Job], bool]) -> None:
        with self._lock:
            for job in filter(whom, self._jobs):
                self._jobs[job] = self._jobs[job] or why

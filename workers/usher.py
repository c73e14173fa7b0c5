"""Makes room for those who deserve a place here more than somebody who has one, when every ticket holder is taken.

A ticket holder minds a request from its ticket to its last event. There are a few more of them than slots, so that some
requests wait here for a slot; when all are taken, whoever comes into the room cannot be heard of through a ticket. So
workers hear of every arrival. Where fairness.py says that one who waits here is to be handed back for the newcomer, the
holder of that one tries to take the newcomer, and no other worker can have him then; only if he has him he lets go of the
first. What that one was taken with and the newcomer's own ticket change their parts, so no ticket is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from tropilla.common.room import Room, arrival
from tropilla.common.terms import Newcomer
from tropilla.workers import fairness
from tropilla.workers.fairness import Held
from tropilla.workers.loop import Job, Loop

#: So many of those that wait in a lane are looked at.
LOOKED_AT = 32


class Usher:
    """Of one pinned model: `lanes` is what it pulls, `holders` how many requests it minds at once."""

    def __init__(self, room: Room, loop: Loop, *, lanes: tuple[str, ...], holders: int) -> None:
        self._room, self._loop = room, loop
        self._lanes, self._holders = lanes, holders
        self._lock = threading.Lock()
        #: All that is minded here, by request; guarded by the lock.
        self._jobs: dict[str, Job] = {}
        self._closed = False

    def enter(self, job: Job) -> None:
        """From here on somebody minds the job."""
        with self._lock:
            self._jobs[job.request_id] = job

    def leave(self, job: Job) -> None:
        with self._lock:
            if self._jobs.get(job.request_id) is job:
                del self._jobs[job.request_id]

    def close(self) -> None:
        """From here on nobody new is wanted."""
        self._closed = True

    def hear(self, notice: bytes) -> None:
        """Somebody has come into some room."""
        newcomer = arrival(notice)
        if newcomer.lane in self._lanes and self._crowded:
            self._usher([newcomer])

    def look(self) -> None:
        """Whether somebody waits who deserves a place more now, or whose arrival was not heard. Raises
        `StoreUnavailable`.
        """
        if self._crowded:
            self._usher(self._room.first(self._lanes, LOOKED_AT))

    @property
    def _crowded(self) -> bool:
        return not self._closed and len(self._jobs) >= self._holders and bool(self._loop.held)

    def _usher(self, newcomers: Iterable[Newcomer]) -> None:
        with self._lock:
            called = {job.rival.request_id for job in self._jobs.values() if job.rival is not None}
            wanted = [each for each in newcomers if each.request_id not in called]
            for swap in fairness.swaps(list(self._present()), wanted, self._loop.shares):
                self._jobs[swap.request_id].call(swap.newcomer)

    def _present(self) -> Iterator[Held]:
        """Who is here, with those who are just coming in the place of those who are just leaving."""
        for held in self._loop.held:
            job = self._jobs.get(held.request_id)
            if job is None or job.ended.is_set():
                continue
            rival = job.rival
            if rival is None:
                yield held
            else:
                yield Held(rival.request_id, rival.key, fairness.rank(rival.priority))

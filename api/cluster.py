"""The catalogue as this process last saw it: asked for at every request, read from Redis a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from tropilla.api import placement
from tropilla.common.catalogue import Catalogue, Lane, Trouble

#: A worker that comes or goes is noticed within this time.
FRESH_SECONDS = 0.3


class Announcements(Protocol):
    """What is needed of `registry.Registry`."""

    def catalogue(self) -> Catalogue: ...


class Queues(Protocol):
    """What is needed of `room.Room`."""

    def waiting(self, lanes: Iterable[str]) -> dict[str, int]: ...


class Cluster:
    def __init__(self, bus: Announcements, room: Queues, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._room = bus, room
        self._clock = clock
        self._seen = Catalogue()
        self._seen_at = float("-inf")
        #: Lane -> how many waited in it, and when that was.
        self._backlogs: dict[Lane, tuple[int, float]] = {}

    def catalogue(self, *, fresh: bool = False) -> Catalogue:
        """fresh: what somebody has changed at another process a moment ago is in it. Raises `StoreUnavailable`."""
        # Nothing seen is not worth remembering: the first worker of a cluster is known at once.
        if fresh or not self._seen.models or self._clock() - self._seen_at > FRESH_SECONDS:
            self._seen = self._bus.catalogue()
            self._seen_at = self._clock()
        return self._seen

    def forget(self) -> None:
        """What was seen is known to be out of date: whoever has just made a model finds it at once."""
        self._seen_at = float("-inf")

    def pulled(self, lane: Lane) -> bool:
        """Whether any worker that lives pulls from the lane."""
        return self.catalogue().pulled(lane)

    def backlog(self, lane: Lane) -> int:
        """How many waited in the lane a moment ago. Raises `StoreUnavailable`."""
        count, counted_at = self._backlogs.get(lane, (0, float("-inf")))
        if self._clock() - counted_at > FRESH_SECONDS:
            count = self._room.waiting([lane.name])[lane.name]
            self._backlogs[lane] = (count, self._clock())
        return count

    def look_again(self, model: str, waits: Lane) -> Lane | Trouble:
        """Where a request should go on waiting, or why it should not. Raises `StoreUnavailable`."""
        return placement.look_again(self.catalogue(), model, waits)

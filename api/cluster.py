"""The catalogue as this process last saw it: asked for at every request, read from Redis a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from tropilla.common.catalogue import Catalogue, Lane

#: A worker that comes or goes is noticed within this time.
FRESH_SECONDS = 0.3


class Announcements(Protocol):
    def catalogue(self) -> Catalogue: ...


class Cluster:
    def __init__(self, bus: Announcements, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._seen = Catalogue()
        self._seen_at = float("-inf")

    def catalogue(self) -> Catalogue:
        """Raises `StoreUnavailable`."""
        # Nothing seen is not worth remembering: the first worker of a cluster is known at once.
        if not self._seen.models or self._clock() - self._seen_at > FRESH_SECONDS:
            self._seen = self._bus.catalogue()
            self._seen_at = self._clock()
        return self._seen

    def forget(self) -> None:
        """What is asked next is read anew: somebody has changed it."""
        self._seen_at = float("-inf")

    def pulled(self, lane: Lane) -> bool:
        """Whether any worker that lives pulls from the lane."""
        return self.catalogue().pulled(lane)

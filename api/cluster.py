"""The catalogue as this process last saw it: asked for at every request, read from Redis a few times a second.

And by one request at a time: while Redis answers it, others come by, in a process that waits for hundreds of streams. Were
each of them to ask, too, answers would take longer, more would come by meanwhile, and nothing else would be done any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

from tropilla.api import placement
from tropilla.common.catalogue import Catalogue, Lane, Trouble
from tropilla.common.errors import Overloaded

log = logging.getLogger(__name__)

#: A worker that comes or goes is noticed within this time.
FRESH_SECONDS = 0.3
#: While somebody asks, others are told what was seen before; but nothing that is older than this.
STALE_SECONDS = 1.0
#: When to come again to a Redis that is full: journals of ended requests expire all the time.
FULL_RETRY_SECONDS = 10


Seen = TypeVar("Seen")


class Glance(Generic[Seen]):
    """What Redis is asked for by many, who all may have the answer that one of them gets."""

    def __init__(self, ask: Callable[[], Seen], clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        #: When it was asked for, as it is no newer than that.
        self._seen_at = float("-inf")
        #: What the one who is just asking will hear. Two that meet here at once only ask twice.
        self._asked: Future[Seen] | None = None

    def seen(self, *, fresh: bool = False) -> Seen:
        """fresh: as it is now. Raises what asking raises."""
        asked, age = self._asked, self._clock() - self._seen_at
        if fresh or (age > FRESH_SECONDS and asked is None):
            return self._look()
        if asked is None or age <= STALE_SECONDS:
            return self._seen
        return asked.result()

    def forget(self) -> None:
        """What was seen, or is just being asked for, is known to be out of date."""
        self._seen_at, self._asked = float("-inf"), None

    def _look(self) -> Seen:
        began, asked = self._clock(), Future[Seen]()
        self._asked = asked
        try:
            found = self._ask()
        except BaseException as error:
            asked.set_exception(error)
            raise
        else:
            asked.set_result(found)
            if self._asked is asked:
                self._seen, self._seen_at = found, began
            return found
        finally:
            if self._asked is asked:
                self._asked = None


class Announcements(Protocol):
    """What is needed of `registry.Registry`."""

    def catalogue(self) -> Catalogue: ...
    def full_percent(self) -> float: ...


class Queues(Protocol):
    """What is needed of `room.Room`."""

    def waiting(self, lanes: Iterable[str]) -> dict[str, int]: ...


class Cluster:
    def __init__(self, bus: Announcements, room: Queues, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._clock = clock
        self._catalogue = Glance(bus.catalogue, clock)
        self._full_percent = Glance(bus.full_percent, clock)
        #: How many wait in each lane.
        self._backlogs: dict[Lane, Glance[int]] = {}

    def catalogue(self, *, fresh: bool = False) -> Catalogue:
        """fresh: what somebody has changed at another process a moment ago is in it. Raises `StoreUnavailable`."""
        seen = self._catalogue.seen(fresh=fresh)
        if not seen.models:
            # Nothing seen is not worth remembering: the first worker of a cluster is known at once.
            self._catalogue.forget()
        return seen

    def forget(self) -> None:
        """What was seen is known to be out of date: whoever has just made a model finds it at once."""
        self._catalogue.forget()

    def pulled(self, lane: Lane) -> bool:
        """Whether any worker that lives pulls from the lane."""
        return self.catalogue().pulled(lane)

    def backlog(self, lane: Lane) -> int:
        """How many waited in the lane a moment ago. Raises `StoreUnavailable`."""
        glance = self._backlogs.get(lane)
        if glance is None:
            glance = self._backlogs[lane] = Glance(lambda: self._room.waiting([lane.name])[lane.name], self._clock)
        return glance.seen()

    def weigh(self, most_percent: float) -> None:
        """Refuses what would fill Redis further: what was admitted before has still to be written down. Raises
        `Overloaded` or `StoreUnavailable`.
        """
        percent = self._full_percent.seen()
        if percent > most_percent:
            log.warning("Redis uses %.1f %% of its maxmemory: no new requests", percent)
            raise Overloaded("the request queue has no memory left", retry_after_seconds=FULL_RETRY_SECONDS)

    def look_again(self, model: str, waits: Lane) -> Lane | Trouble:
        """Where a request should go on waiting, or why it should not. Raises `StoreUnavailable`."""
        return placement.look_again(self.catalogue(), model, waits)

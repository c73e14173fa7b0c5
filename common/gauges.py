"""How things stand in Redis, for whoever measures: who waits since when, which processes live, what room there is.

Counts of what has happened are elsewhere (metrics.py); what is read here is true at this moment and was written for
another purpose, but for the store's disk.
"""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any, cast

from tropilla.common import names
from tropilla.common.bus import Bus, redis_errors_translated
from tropilla.common.metrics import Queued, Standing

#: A store that has not said for so long how its disk stands is not believed any more, ms.
DISK_MS = 60_000


class Gauges:
    """One process's way to them. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._redis = bus.connection
        self._queues = bus.script("queues")

    @redis_errors_translated
    def queued(self) -> tuple[Queued, ...]:
        """Each model, flavour and class of which anybody waits, in that order."""
        found = cast("list[Any]", self._queues(keys=[], args=[]))
        rows = zip(found[::3], found[1::3], found[2::3], strict=True)
        return tuple(sorted((_queued(queue, count, age) for queue, count, age in rows), key=_place))

    @redis_errors_translated
    def standing(self) -> Standing:
        began = time.monotonic()
        self._redis.ping()
        round_trip = time.monotonic() - began
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.info("memory")
        pipeline.pubsub_channels(names.EVERY_INBOX)
        pipeline.exists(names.office_key(names.STORE_OFFICE))
        pipeline.zcard(names.DEAD_KEY)
        pipeline.get(names.STORE_DISK_KEY)
        memory, inboxes, stores, dead, disk = pipeline.execute()
        return Standing(
            round_trip_seconds=round_trip,
            redis_used=int(memory["used_memory"]),
            redis_limit=int(memory["maxmemory"]),
            api_processes=len(inboxes),
            stores=stores,
            dead=dead,
            disk=_disk(disk),
            version=importlib.metadata.version("tropilla"),
        )

    @redis_errors_translated
    def report_disk(self, *, free: int, total: int) -> None:
        """What the store sees of the disk it keeps models on, in bytes. To be repeated more often than `DISK_MS`."""
        self._redis.set(names.STORE_DISK_KEY, f"{free} {total}", px=DISK_MS)


def _queued(queue: bytes, count: int, age_ms: int) -> Queued:
    flavour, priority, model = queue.decode().split("\t", 2)
    return Queued(model, flavour, priority, count, max(age_ms, 0) / 1000)


def _place(queued: Queued) -> tuple[str, str, str]:
    return queued.model, queued.flavour, queued.priority


def _disk(told: bytes | None) -> tuple[int, int] | None:
    if told is None:
        return None
    free, total = told.split()
    return int(free), int(total)

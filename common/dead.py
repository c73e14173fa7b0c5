"""Requests that were given up because of the workers they cost, kept aside for whoever looks into why.

take.lua puts them there, with what was asked and what had been said. They go after a while, and the oldest where there are
many; `tropilla dead` shows them, asks again, or lets go of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from tropilla.common import codec, names
from tropilla.common.bus import Bus, Delivered, delivered, redis_errors_translated
from tropilla.common.generation import Request
from tropilla.common.terms import PRIORITIES, Priority, Terms


@dataclass(frozen=True, slots=True)
class Dead:
    """One of them. `workers` were lost over it, in this order; tokens as in the ledger. `retried` is the id under which it
    was asked for again, "" where it was not.
    """

    id: str
    kind: str
    model: str
    key: str
    priority: Priority
    admitted: datetime
    died: datetime
    deadline_seconds: float
    attempts: int
    workers: tuple[str, ...]
    prompt: int
    cached: int
    generated: int
    retried: str

    @property
    def terms(self) -> Terms:
        """On which it waits if it is asked for again: once more as long, and on behalf of the same."""
        return Terms(self.key, self.priority, self.deadline_seconds)


#: Everything but the request, which may be large.
_FACTS = ("id", "kind", "model", "key", "class", "admitted", "died", "expires", "attempt", "lost_workers", "prompt",
          "cached", "generated", "retried")  # fmt: skip


class DeadLetters:
    """Over a process's bus. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._redis = bus.connection

    @redis_errors_translated
    def all(self) -> list[Dead]:
        """The oldest first."""
        ids = [member.decode() for member in cast("list[bytes]", self._redis.zrange(names.DEAD_KEY, 0, -1))]
        pipeline = self._redis.pipeline(transaction=False)
        for request_id in ids:
            pipeline.hmget(names.dead_key(request_id), _FACTS)
        found = pipeline.execute() if ids else []
        # One whose time is over stays a number until the next one comes.
        return [_dead(values) for values in found if values[0] is not None]

    @redis_errors_translated
    def find(self, request_id: str) -> Dead | None:
        values: Any = self._redis.hmget(names.dead_key(request_id), _FACTS)
        return _dead(values) if values[0] is not None else None

    @redis_errors_translated
    def request(self, request_id: str) -> Request:
        """What was asked. Raises `DecodeError`, also where nothing is kept any more."""
        return codec.decode_request(
            cast("bytes | None", self._redis.hget(names.dead_key(request_id), "request")) or b""
        )

    @redis_errors_translated
    def journal(self, request_id: str) -> list[Delivered]:
        """What had been said of it."""
        return delivered(request_id, cast("list[Any]", self._redis.xrange(names.dead_journal_key(request_id))))

    @redis_errors_translated
    def mark_retried(self, request_id: str, new_id: str) -> None:
        """Notes under which id it was asked for again, if it is still kept."""
        if self._redis.exists(names.dead_key(request_id)):
            self._redis.hset(names.dead_key(request_id), "retried", new_id)

    @redis_errors_translated
    def drop(self, request_ids: Iterable[str]) -> int:
        """Lets go of them; answers how many of them there were."""
        pipeline = self._redis.pipeline(transaction=True)
        asked = list(request_ids)
        for request_id in asked:
            pipeline.delete(names.dead_key(request_id))
            pipeline.delete(names.dead_journal_key(request_id))
            pipeline.zrem(names.DEAD_KEY, request_id)
        return sum(pipeline.execute()[::3]) if asked else 0


def _dead(values: list[bytes | None]) -> Dead:
    told: Mapping[str, str] = {name: (value or b"").decode() for name, value in zip(_FACTS, values, strict=True)}
    priority: Priority = next((each for each in PRIORITIES if each == told["class"]), "normal")
    return Dead(
        id=told["id"],
        kind=told["kind"],
        model=told["model"],
        key=told["key"],
        priority=priority,
        admitted=_moment(told["admitted"]),
        died=_moment(told["died"]),
        deadline_seconds=(int(told["expires"]) - int(told["admitted"])) / 1000,
        attempts=int(told["attempt"]),
        workers=tuple(told["lost_workers"].split("\n")),
        prompt=int(told["prompt"] or 0),
        cached=int(told["cached"] or 0),
        generated=int(told["generated"] or 0),
        retried=told["retried"],
    )


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)

"""Batches in Redis, where every API process finds them: what was asked, how far it is, and who may say so.

A batch is run by one process at a time: the one that took it last. Taking it raises its term, and `write` refuses everybody
else's: a process that was frozen and comes back changes nothing any more.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import orjson
from tropilla.api.batches.records import ENDED, Asked, Batch, Ending, Objection, Status, Tally, Tokens
from tropilla.common import names
from tropilla.common.bus import Bus, redis_errors_translated
from tropilla.common.records import record

#: How long what came of a batch is told after its end, in milliseconds; its files go by their own times.
KEPT_MS = 30 * 24 * 3600 * 1000
_TERM_PREFIX = "bytes:"
#: Ids that are asked for at once.
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Held:
    """A batch as the process found it that has just taken it. `counted`: term -> so many bytes of its answers count."""

    batch: Batch
    term: int
    counted: Mapping[int, int]


class Book:
    """Over a process's bus. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._redis = bus.connection
        self._write = self._script("write")
        self._cancel = self._script("cancel")

    def _script(self, name: str) -> Any:
        source = importlib.resources.files("tropilla.api.batches").joinpath(f"{name}.lua").read_text()
        return self._redis.register_script(source)

    # -- what callers do ----------------------------------------------------------------------------------------------

    @redis_errors_translated
    def begin(self, asked: Asked) -> Batch:
        pipeline = self._redis.pipeline(transaction=True)
        fields = {"asked": orjson.dumps(asked), "status": "validating", "term": 0}
        pipeline.hset(names.batch_key(asked.id), mapping=cast(Any, fields))
        pipeline.zadd(names.BATCHES_KEY, {asked.id: 0})
        pipeline.sadd(names.OPEN_BATCHES_KEY, asked.id)
        pipeline.execute()
        return Batch(asked)

    @redis_errors_translated
    def find(self, batch_id: str) -> Batch | None:
        found = cast("dict[bytes, bytes]", self._redis.hgetall(names.batch_key(batch_id)))
        return _batch(_texts(found)) if b"asked" in found else None

    def listing(self, after: str) -> Iterator[Batch]:
        """The newest first, those behind an id; "" is from the newest on. Those whose time is over leave the list."""
        while ids := self._behind(after):
            for after in ids:
                if (batch := self.find(after)) is not None:
                    yield batch
                else:
                    self._unlist(after)

    @redis_errors_translated
    def _behind(self, after: str) -> list[str]:
        most = f"({after}" if after else "+"
        ids = self._redis.zrevrangebylex(names.BATCHES_KEY, most, "-", start=0, num=_PAGE)
        return [each.decode() for each in cast("list[bytes]", ids)]

    @redis_errors_translated
    def _unlist(self, batch_id: str) -> None:
        self._redis.zrem(names.BATCHES_KEY, batch_id)

    @redis_errors_translated
    def cancel(self, batch_id: str, *, now: int) -> Status | None:
        """Answers the status it had: of one that is about to end nothing changes."""
        status = self._cancel(keys=[names.batch_key(batch_id)], args=[now]).decode()
        return _status(status) if status else None

    # -- what the process does that runs them --------------------------------------------------------------------------

    @redis_errors_translated
    def open(self) -> frozenset[str]:
        """Ids of those that are not over."""
        return frozenset(each.decode() for each in cast("set[bytes]", self._redis.smembers(names.OPEN_BATCHES_KEY)))

    @redis_errors_translated
    def take(self, batch_id: str) -> Held | None:
        """Nobody else writes to it from now on, until it is taken again. None: it is over, or gone."""
        key = names.batch_key(batch_id)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hincrby(key, "term", 1)
        pipeline.hgetall(key)
        term, found = pipeline.execute()
        fields = _texts(found)
        batch = _batch(fields) if "asked" in fields else None
        if batch is None or batch.ended:
            self._redis.srem(names.OPEN_BATCHES_KEY, batch_id)
            if batch is None:
                self._redis.delete(key)
            return None
        counted = {
            int(name.removeprefix(_TERM_PREFIX)): int(value)
            for name, value in fields.items()
            if name.startswith(_TERM_PREFIX)
        }
        return Held(batch, int(term), counted)

    @redis_errors_translated
    def write(self, held: Held, fields: Mapping[str, Any], *, during: Collection[Status]) -> Status | None:
        """Answers the status that the batch has now; what was to be written is, if it was in one of these. None: somebody
        else has taken the batch.
        """
        batch_id = held.batch.asked.id
        over = batch_id if fields.get("status") in ENDED else ""
        pairs = [each for pair in fields.items() for each in pair]
        status = self._write(
            keys=[names.batch_key(batch_id), names.OPEN_BATCHES_KEY],
            args=[held.term, f" {' '.join(during)} ", over, KEPT_MS, *pairs],
        ).decode()
        return _status(status) if status else None


def progress(term: int, length: int, tally: Tally) -> dict[str, Any]:
    """What is written down of answers: so many bytes of the term's segment count, and this is what they come to."""
    tokens = tally.tokens
    return {
        f"{_TERM_PREFIX}{term}": length,
        "total": tally.total,
        "completed": tally.completed,
        "failed": tally.failed,
        "tokens": orjson.dumps(tokens),
    }


def reached(status: Status, now: int) -> dict[str, Any]:
    return {"status": status, f"{status}_at": now}


def objected(objections: Collection[Objection]) -> dict[str, Any]:
    return {"objections": orjson.dumps(list(objections))}


def ending(how: Ending, output_file_id: str, error_file_id: str) -> dict[str, Any]:
    return {"ending": how, "output": output_file_id, "error": error_file_id}


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _batch(fields: Mapping[str, str]) -> Batch:
    tokens = record(Tokens, orjson.loads(fields.get("tokens", "{}")))
    total, completed, failed = (int(fields.get(name, 0)) for name in ("total", "completed", "failed"))
    return Batch(
        asked=record(Asked, orjson.loads(fields["asked"])),
        status=_status(fields["status"]),
        times={each: int(fields[f"{each}_at"]) for each in _STATUSES if f"{each}_at" in fields},
        tally=Tally(total, completed, failed, tokens),
        objections=tuple(record(Objection, each) for each in orjson.loads(fields.get("objections", "[]"))),
        ending=cast("Ending | None", fields.get("ending")),
        output_file_id=fields.get("output", ""),
        error_file_id=fields.get("error", ""),
    )


_STATUSES: tuple[Status, ...] = get_args(Status)


def _status(text: str) -> Status:
    return next(each for each in _STATUSES if each == text)

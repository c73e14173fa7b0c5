"""Redis, and nothing else imports it: journal, leases, inboxes, presence. Opaque bytes in, opaque bytes out.

Theory of operation. The journal is the truth and pub/sub is only speed: every event is appended to its request's stream
before it is published, in one script, so whoever misses a message reads the stream. The entry id is the event index, so
Redis itself refuses a second event at one index. A request has one writer at a time: the attempt number in its state.
Taking a request (`room.Room.take`) raises it, ending it from outside (`conclude`) raises it too, and `append` refuses all
others. Which request is next, and who may wait, is room.py's.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from tropilla.common import codec, names
from tropilla.common.catalogue import Catalogue, Worker, catalogue
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.generation import Failed
from tropilla.common.metrics import WAITS, Counts, Key, Load
from tropilla.common.redis_release import Release, complaint
from tropilla.common.settings import Settings

log = logging.getLogger(__name__)

#: A worker that has not announced itself for so long is gone, in milliseconds.
PRESENCE_MS = 5000
CONNECT_SECONDS = 3.0
#: Of one process; an API process has up to 2000 callers, each of which may wait for Redis on one of its own. redis-py's
#: limit is 100, and whoever comes after that would hear that Redis cannot serve.
MAX_CONNECTIONS = 4096
#: A script that has not answered by then will not. Callers have a sign of life to give to clients who wait 15 seconds for
#: one, and it is due every ten.
ANSWER_SECONDS = 4.0
#: A subscriber that has heard nothing for so long asks whether Redis is still there; one that has no answer by then has
#: lost it, though the connection may look as open as ever.
LISTEN_SECONDS, SILENT_SECONDS = 1.0, 3.0
#: Redis looks at its maxmemory at a script's first write, if that is of a kind that may grow; what follows a harmless one
#: goes through. (What Redis 7 has a flag for, in the words of 6.2.)
BEYOND_MAXMEMORY = "redis.call('HDEL', WAITING, '')\n"
#: Of a bus that nobody configures.
DEFAULTS = Settings()
#: The last event of a request that is computed beyond its time, while nobody listens who would end it.
_OVERDUE = codec.encode_event(Failed(0, "expired", "its time was over before it was finished"))
#: kombu's own sorted set of tickets that are popped and not acknowledged, by time of the last sign of life.
UNACKED_INDEX = "unacked_index"

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Silent(StoreUnavailable):
    """Redis has not answered a subscriber: it, or the way to it, is gone without a word."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis cannot serve: {error}") from error


def redis_errors_translated(method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """What goes wrong with Redis in there leaves as `StoreUnavailable`."""

    @functools.wraps(method)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with _translated():
            return method(*args, **kwargs)

    return call


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on its way into the journal. `ends` says how it ends the request; "" means that something follows.

    `tokens` were generated with it, `cached` tokens of its choice's prompt had not to be computed, and the request's
    prompts have `prompt` tokens in all: for the ledger.
    """

    request_id: str
    attempt: int
    index: int
    ends: str
    payload: bytes
    tokens: int = 0
    cached: int = 0
    prompt: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """`refused`: (request, attempt) of writers who no longer own it. `unheard`: requests that nobody listens to, though
    somebody should.
    """

    refused: frozenset[tuple[str, int]]
    unheard: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a request, held while it is renewed."""

    request_id: str
    worker: str
    attempt: int

    @property
    def value(self) -> str:
        return f"{self.worker}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """One event out of an inbox message."""

    request_id: str
    index: int
    payload: bytes


def delivered(request_id: str, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[Delivered]:
    """The events in entries of a journal."""
    return [Delivered(request_id, int(entry.split(b"-")[0]) - 1, fields[b"e"]) for entry, fields in entries]


class _Pool(redis.ConnectionPool):
    """With a door: while it is shut, whoever wants a connection is refused at once instead of waiting for Redis."""

    shut = False

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        if self.shut:
            raise redis.ConnectionError("it is away")
        return super().get_connection(*args, **kwargs)


def _connect(url: str, *, subscribes: bool = False) -> redis.Redis:
    try:
        pool = _Pool.from_url(
            url,
            # from_url retries nothing by default and redis.Redis(host=...) ten times: say it. Scripts here are either
            # idempotent or fenced, so one quick second try after a dropped connection is safe. None after silence: who has
            # waited for that long has no time left.
            retry=Retry(
                ExponentialBackoff(base=0.02, cap=0.2),
                0 if subscribes else 1,
                supported_errors=(redis.ConnectionError,),
            ),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_keepalive=True,
            # redis-py's own way to ask a subscription loses messages.
            health_check_interval=0 if subscribes else 10,
            max_connections=MAX_CONNECTIONS,
        )
    except ValueError as error:
        raise ConfigurationError(f"TROPILLA_REDIS_URL={_shown(url)} is not a Redis URL: {error}") from error
    return redis.Redis.from_pool(pool)


def _shown(url: str) -> str:
    """The URL without its password, which may stand behind a `?` as well."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def _is_private(url: str) -> bool:
    """Whether only this machine reaches that Redis, and of this machine only who has its password."""
    parts = urlsplit(url)
    return parts.password is not None and parts.hostname in ("127.0.0.1", "::1", "localhost")


class Bus:
    """One process's way to Redis. Safe to share between threads; every method may raise `StoreUnavailable`."""

    def __init__(self, url: str, settings: Settings = DEFAULTS) -> None:
        self.url = url
        self._settings = settings
        self._redis = _connect(url)
        self.connection = self._redis
        self._append = self.script("append", seldom=True)
        self._conclude = self.script("conclude")
        self._renew = self.script("renew")
        self._give_up = self.script("give_up")
        self._announce = self.script("announce")
        # Its own first write is harmless, and whoever runs it need not be one who may let requests wait.
        self._forget = self.script("forget", grows=True)

    @classmethod
    def connect(cls, url: str, settings: Settings = DEFAULTS) -> Bus:
        """A bus to the Redis at `url`. Raises `ConfigurationError` for a URL that is none; connects lazily. settings: how
        much of what has ended is kept, and for how long.
        """
        return cls(url, settings)

    @property
    def away(self) -> bool:
        """Whether this process knows that Redis is away: everything is refused at once then, but subscriptions."""
        return cast(_Pool, self._redis.connection_pool).shut

    @away.setter
    def away(self, known: bool) -> None:
        cast(_Pool, self._redis.connection_pool).shut = known

    def close(self) -> None:
        self._redis.close()

    def script(self, name: str, *, grows: bool = False, seldom: bool = False) -> Any:
        """One of the scripts of this folder, with what shared.lua and room.lua have for all of them. grows: a Redis at its
        maxmemory refuses it; the others finish what was admitted before, whatever that takes. seldom: it needs room.lua
        so seldom that it calls `room` for it.
        """
        folder = importlib.resources.files("tropilla.common")
        constants = "".join(f"local {name} = {value!r}\n" for name, value in names.SCRIPT_NAMES.items())
        kept = {
            "LEDGER_ROWS": self._settings.ledger_rows,
            "MAX_DEAD": self._settings.max_dead,
            "DEAD_MS": int(self._settings.dead_seconds * 1000),
            "JOURNAL_MS": int(self._settings.journal_seconds * 1000),
        }
        constants += "".join(f"local {name} = {number}\n" for name, number in kept.items())
        bounds = f"local WAIT_BOUNDS = {{{', '.join(repr(repr(bound)) for bound in WAITS)}}}\n"
        shared, room, own = (folder.joinpath(f"{part}.lua").read_text() for part in ("shared", "room", name))
        room = bounds + room
        if seldom:
            room = f"local function room()\n{room}\nreturn read, over\nend\n"
        return self._redis.register_script(constants + ("" if grows else BEYOND_MAXMEMORY) + shared + room + own)

    # -- start-up ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuses a Redis that would lose what it is trusted with. Raises one sentence for the operator."""
        place = f"Redis at {_shown(self.url)}"
        where = "TROPILLA_REDIS_URL says where it is"
        try:
            # Of all sections, and without CONFIG: hosted servers refuse that.
            found: dict[str, Any] = self._redis.info()
        except redis.AuthenticationError as error:
            raise ConfigurationError(f"{place} refuses the password, or wants one: {error} ({where})") from error
        except redis.exceptions.ResponseError as error:
            raise ConfigurationError(f"{place} refuses us: {error}") from error
        except redis.RedisError as error:
            raise ConfigurationError(f"{place} cannot be reached: {error} ({where})") from error
        if wrong := complaint(found):
            raise ConfigurationError(f"{place} {wrong}")
        release = Release.read(found)
        if release.holes and not _is_private(self.url):
            holes = ", ".join(release.holes)
            log.warning("%s is %s %s: unless it was mended, it has %s", place, release.name, release.text, holes)

    @redis_errors_translated
    def ping(self) -> None:
        self._redis.ping()

    @redis_errors_translated
    def full_percent(self) -> float:
        """How much of the memory that Redis may use is used; 0 where it may use all there is."""
        found = self._redis.info("memory")
        limit = int(found["maxmemory"])
        # Redis itself leaves its buffers for replicas and the log out of that account.
        used = int(found["used_memory"]) - int(found.get("mem_not_counted_for_evict", 0))
        return 100.0 * used / limit if limit else 0.0

    # -- the life of a request, in order ---------------------------------------------------------------------------

    @redis_errors_translated
    def append(self, entries: Sequence[Entry], *, journal_seconds: float) -> Appended:
        """Journals the events of one step, counts the tokens among them, and publishes what was accepted, one message per
        inbox.
        """
        # A worker that was cut off may get its own request back: what it still has to say as the one attempt comes here
        # beside what it says as the next, and only the one is refused.
        numbers: dict[tuple[str, int], int] = {}
        heads: list[Any] = []
        events: list[Any] = []
        for entry in entries:
            writer = entry.request_id, entry.attempt
            if writer not in numbers:
                numbers[writer] = len(numbers) + 1
                heads += (entry.attempt, entry.prompt)
            events += (numbers[writer], entry.index, entry.ends, entry.tokens, entry.cached, entry.payload)
        keys = [make(request_id) for request_id, _ in numbers for make in (names.state_key, names.journal_key)]
        refused, unheard = self._append(keys=keys, args=[int(journal_seconds * 1000), *heads, *events])
        writers = list(numbers)
        return Appended(
            refused=frozenset(writers[number - 1] for number in refused),
            unheard=frozenset(writers[number - 1][0] for number in unheard),
        )

    @redis_errors_translated
    def conclude(
        self, request_id: str, payload: bytes, *, outcome: str, attempt: int | None, journal_seconds: float
    ) -> int | None:
        """Ends a request from outside its loop, unless it has gone on since the caller saw that attempt (None: whatever
        it is). Answers the last event's index; None if it had ended or gone on.
        """
        seen = "" if attempt is None else attempt
        args = [payload, outcome, int(journal_seconds * 1000), seen]
        index = int(self._conclude(keys=[names.state_key(request_id)], args=args))
        return None if index < 0 else index

    @redis_errors_translated
    def give_up(self, request_id: str, *, seconds: float) -> bool:
        """Whether a request that nobody has listened to is to be given up: nobody listens still. Whoever has a word for it
        cannot come back to it then, for so many seconds.
        """
        keys = [names.state_key(request_id), names.cancel_key(request_id)]
        return bool(self._give_up(keys=keys, args=[int(seconds * 1000)]))

    @redis_errors_translated
    def read_journal(self, request_id: str, start: int = 0) -> list[Delivered]:
        """Every event from index `start` on."""
        entries = cast(list[Any], self._redis.xrange(names.journal_key(request_id), min=f"{start + 1}-0"))
        return delivered(request_id, entries)

    @redis_errors_translated
    def release(self, request_id: str) -> None:
        """Frees the journal of a request that has ended before its time is over."""
        self._redis.unlink(names.journal_key(request_id))

    @redis_errors_translated
    def kept_call(self, request_id: str) -> bytes | None:
        """What the request was asked with, for whoever tells its answer again (`room.Room.admit`)."""
        return cast("bytes | None", self._redis.get(names.call_key(request_id)))

    # -- leases -----------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def held_for(self, request_id: str) -> float | None:
        """For how many seconds somebody holds the request, unless he renews that; None: nobody does."""
        left = self._redis.pttl(names.lease_key(request_id))
        return left / 1000 if left >= 0 else None

    @redis_errors_translated
    def attempts(self, request_id: str) -> int | None:
        """How many times the request was taken; None once its state is gone."""
        value = cast("bytes | None", self._redis.hget(names.state_key(request_id), "attempt"))
        return int(value) if value is not None else None

    @redis_errors_translated
    def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> list[Lease]:
        """Extends the leases; answers those that are lost, also because the request's time is over."""
        if not leases:
            return []
        keys = [make(lease.request_id) for lease in leases for make in (names.lease_key, names.state_key)]
        args = [value for lease in leases for value in (lease.value, lease.attempt)]
        lost = self._renew(keys=keys, args=[int(lease_seconds * 1000), _OVERDUE, *args])
        return [leases[number - 1] for number in lost]

    @redis_errors_translated
    def renew_tickets(self, tags: Sequence[str], now: float) -> None:
        """Keeps Celery from handing out again the tickets this process still works on; `now` in Unix seconds."""
        if tags:
            self._redis.zadd(UNACKED_INDEX, dict.fromkeys(tags, now), xx=True)

    @redis_errors_translated
    def cancelled(self, request_ids: Sequence[str]) -> list[str]:
        """Which of the requests nobody wants any more: what `listen_as_worker` hears, for whoever missed it."""
        if not request_ids:
            return []
        marks = cast("list[bytes | None]", self._redis.mget([names.cancel_key(name) for name in request_ids]))
        return [request_id for request_id, mark in zip(request_ids, marks, strict=True) if mark]

    # -- presence ---------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def announce(self, worker: Worker, *, life: str = "", milliseconds: int = PRESENCE_MS) -> None:
        """Says who this worker is and what it pins, for a while. To be repeated every second. life: no other process's
        that bears its name, before or after; "" where this one ends, and the next is about to come.
        """
        keys = [names.presence_key(worker.name), names.WORKERS_KEY]
        self._announce(keys=keys, args=[codec.encode_worker(worker), milliseconds, worker.name, life])

    @redis_errors_translated
    def leave(self, worker: str) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(names.presence_key(worker))
        pipeline.srem(names.WORKERS_KEY, worker)
        pipeline.hdel(names.LIVES_KEY, worker)
        pipeline.execute()

    @redis_errors_translated
    def catalogue(self) -> Catalogue:
        """Every worker that lives."""
        known = [name.decode() for name in cast("set[bytes]", self._redis.smembers(names.WORKERS_KEY))]
        if not known:
            return Catalogue()
        cards = cast("list[bytes | None]", self._redis.mget([names.presence_key(name) for name in known]))
        gone = [name for name, card in zip(known, cards, strict=True) if card is None]
        self.forget_workers(gone)
        return catalogue(codec.decode_worker(card) for card in cards if card is not None)

    @redis_errors_translated
    def forget_workers(self, gone: Sequence[str]) -> None:
        """Those that have said nothing for so long that they are lost: each is counted, by whoever notices first."""
        if gone:
            self._forget(keys=[names.WORKERS_KEY, *map(names.presence_key, gone)], args=list(gone))

    @redis_errors_translated
    def check_writes(self) -> None:
        """Raises where Redis answers and takes nothing (any more): its disk is full, or it is another one's copy."""
        self._redis.srem(names.WORKERS_KEY, "")

    # -- counts -------------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def add_counts(self, counts: Counts) -> None:
        """All or none of them, unless the answer is lost."""
        pipeline = self._redis.pipeline(transaction=True)
        for key, amount in counts.items():
            pipeline.hincrbyfloat(names.COUNTS_KEY, "\t".join(key), amount)
        pipeline.execute()

    @redis_errors_translated
    def counts(self) -> Counts:
        found = cast("dict[bytes, bytes]", self._redis.hgetall(names.COUNTS_KEY))
        return {Key(*field.decode().split("\t")): float(number) for field, number in found.items()}

    @redis_errors_translated
    def report_load(self, worker: str, load: Load) -> None:
        """What a worker computes now; forgotten with its presence."""
        self._redis.set(names.load_key(worker), codec.encode_load(load), px=PRESENCE_MS)

    @redis_errors_translated
    def loads(self) -> tuple[Load, ...]:
        known = cast("set[bytes]", self._redis.smembers(names.WORKERS_KEY))
        found = self._redis.mget([names.load_key(name.decode()) for name in known]) if known else []
        told = zip(known, cast("list[bytes | None]", found), strict=True) if known else ()
        return tuple(replace(codec.decode_load(data), worker=name.decode()) for name, data in told if data)

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def listen_inbox(self, inbox: str) -> Listener:
        """A subscription to an inbox's messages."""
        return Listener(self.url, names.inbox_channel(inbox))

    def listen_as_worker(self) -> Listener:
        """A subscription to the ids of requests that nobody wants any more, and to those that begin to wait."""
        return Listener(self.url, names.CANCELS_CHANNEL, names.ARRIVALS_CHANNEL)


class Listener:
    """One subscription on a connection of its own. It never reconnects by itself: whoever listens must know of a gap."""

    def __init__(self, url: str, *channels: str) -> None:
        self._redis = _connect(url, subscribes=True)
        self._pubsub = self._redis.pubsub()  # type: ignore[no-untyped-call]
        try:
            with _translated():
                self._pubsub.subscribe(*channels)
                # What is published from the confirmations on arrives.
                for _ in channels:
                    if self._pubsub.get_message(timeout=CONNECT_SECONDS) is None:
                        raise Silent("Redis does not answer")
        except StoreUnavailable:
            self.close()
            raise
        self._heard_at = self._asked_at = time.monotonic()

    def read(self, timeout_seconds: float = LISTEN_SECONDS) -> bytes | None:
        """The next message, or None when none came in time. Raises `Silent` when Redis has not answered for a while."""
        heard = self.hear(timeout_seconds)
        return heard[1] if heard else None

    @redis_errors_translated
    def hear(self, timeout_seconds: float = LISTEN_SECONDS) -> tuple[str, bytes] | None:
        """As `read`, with the message's channel."""
        message = self._pubsub.get_message(timeout=timeout_seconds)
        now = time.monotonic()
        if message is not None:
            self._heard_at = now
            return (message["channel"].decode(), message["data"]) if message["type"] == "message" else None
        if now - self._heard_at >= SILENT_SECONDS:
            raise Silent(f"Redis has not answered for {now - self._heard_at:.0f} s")
        if now - max(self._heard_at, self._asked_at) >= LISTEN_SECONDS:
            self._asked_at = now
            self._pubsub.ping()
        return None

    def close(self) -> None:
        self._pubsub.close()
        self._redis.close()


def split_message(message: bytes) -> Iterator[Delivered]:
    """The events in one inbox message; see append.lua."""
    for line in message.split(b"\n"):
        request_id, index, payload = line.split(b" ", 2)
        yield Delivered(request_id.decode(), int(index), payload)

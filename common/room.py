"""Where requests wait, and who is next: admission, order, positions, and the ways back into the queue.

A ticket of Celery's is the right to take *the next* request of its lane, whichever that is by then (room.lua has the
order). So order, bounds and deadlines are decided in one place, at the moment they matter, and one ticket is as good as
another: a lost one is replaced by anybody's, one too many finds nobody waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from tropilla.common import codec, names
from tropilla.common.bus import Bus, Lease, redis_errors_translated
from tropilla.common.catalogue import Lane
from tropilla.common.generation import Failed, Finished, Request, Usage
from tropilla.common.terms import PRIORITIES, Bounds, Newcomer, Priority, Terms, Told, cost, kind

#: A request over which so many workers were lost in a row, without getting any further in between, is what kills them; and
#: so is one that has cost so many in all, however far it gets each time. It is not tried again.
MAX_LOST_WORKERS, MAX_LOST_IN_ALL = 2, 10
#: So many requests of a lane are looked at in one sweep.
SWEPT = 64
#: The last events of those that end before a worker computes them.
_EXPIRED = codec.encode_event(Failed(0, "expired", "its time was over before a worker could take it"))
_CRASHED = codec.encode_event(
    Failed(
        0,
        "worker_crashed",
        "its workers were lost while they ran this request, one after the other; it is not tried again",
    )
)
_CANCELLED = codec.encode_event(Finished(0, 0, "cancelled", Usage(0, 0, 0), seed=0))


@dataclass(frozen=True, slots=True)
class Admitted:
    """What came of asking for a place; see admit.lua. `number` goes before it, or is how many wait where too many do.
    `wait`: about how long those who go before it take, or in how many seconds a key's limit may be less in the way, where
    that is known.
    """

    outcome: Literal[
        "admitted",
        "joined",
        "conflict",
        "model",
        "model_share",
        "key",
        "all",
        "all_share",
        "late",
        "requests",
        "tokens",
    ]
    number: int
    request_id: str
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a ticket was good for; see take.lua. `next_index`: of the next event, or of the last one where it crashed."""

    outcome: Literal["claimed", "suspect", "crashed", "newer", "empty"]
    request_id: str
    attempt: int
    next_index: int
    #: The encoded request.
    payload: bytes = b""
    key: str = ""
    priority: Priority = "normal"
    #: The traceparent of whoever asked; "" where nobody collects spans.
    trace: str = ""
    #: For how many seconds it has been in the queue, or with workers.
    waited: float = 0.0
    #: The worker that was just lost over it, "" for none, and how many seconds ago that one had taken it.
    lost_worker: str = ""
    lost_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Position:
    """`before` go first, of `waiting` in the `lane`; one is taken every `pace` seconds, where that is known. Nobody has
    popped so many `tickets` of the lane, and the request was taken so many times (`attempts`) and waits again.
    """

    before: int
    waiting: int
    pace: float | None
    lane: Lane
    tickets: int
    attempts: int

    @property
    def wait(self) -> float | None:
        """About how long those before it take, in seconds."""
        return None if self.pace is None else self.before * self.pace


class Room:
    """One process's way to it. Safe to share between threads; every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._redis = bus.connection
        self._admit = bus.script("admit", grows=True)
        self._take, self._cancel = bus.script("take"), bus.script("cancel")
        self._begin = bus.script("begin")
        self._hand_back, self._put_back = bus.script("hand_back"), bus.script("put_back")
        self._move, self._position, self._sweep = bus.script("move"), bus.script("position"), bus.script("sweep")
        self._join, self._leave = bus.script("join"), bus.script("leave")

    # -- in ---------------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def admit(
        self,
        request: Request,
        lane: Lane,
        terms: Terms,
        *,
        inbox: str,
        bounds: Bounds,
        deadline_seconds: float,
        kept_seconds: float,
        call: bytes = b"",
        listener: str = "",
    ) -> Admitted:
        """Lets a request wait. inbox: "" where nobody listens; listener: as `join` has it. kept_seconds: how long it is
        remembered after its deadline, so that even the last second's events find it. call: what it was asked with, kept
        for as long for whoever tells its answer again; b"": nobody will. Asking twice is harmless.
        """
        record = names.idempotency_key(terms.key, terms.idempotency) if terms.digest else ""
        deadline = int(deadline_seconds * 1000)
        args: list[str | int | bytes] = [request.id, names.inbox_channel(inbox) if inbox else ""]
        args += [codec.encode_request(request), kind(request), request.model, lane.pin, lane.name]
        args += [terms.key, terms.priority, cost(request), deadline, deadline + int(kept_seconds * 1000)]
        args += [bounds.all, bounds.model, bounds.key or bounds.model, terms.digest, codec.VERSION, call, listener]
        args += [terms.limits.requests_per_minute, terms.limits.tokens_per_day, terms.trace]
        keys = [names.state_key(request.id), record, names.call_key(request.id)]
        outcome, number, request_id, wait = self._admit(keys=keys, args=args)
        return Admitted(outcome.decode(), number, request_id.decode(), wait / 1000 if wait >= 0 else None)

    @redis_errors_translated
    def put_back(self, request_id: str) -> list[Lane]:
        """A request whose worker was lost waits again, or ends if nobody wants it or its time is over. Answers the lanes
        that need a ticket now: one or none.
        """
        return _lanes(
            self._put_back(keys=[names.state_key(request_id)], args=["state", _EXPIRED, _CANCELLED, "", 0, ""])
        )

    @redis_errors_translated
    def put_back_lost(self, pin: str) -> list[Lane]:
        """As `put_back`, of everything that workers of a pin have taken."""
        return _lanes(self._put_back(keys=[names.running_key(pin)], args=["running", _EXPIRED, _CANCELLED, "", 0, ""]))

    @redis_errors_translated
    def put_back_all_lost(self) -> list[Lane]:
        """As `put_back`, of everything that anybody has taken, also where nobody else serves the pin."""
        return _lanes(self._put_back(keys=[names.RUNNING_PINS_KEY], args=["pins", _EXPIRED, _CANCELLED, "", 0, ""]))

    @redis_errors_translated
    def bury(self, worker: str, *, killed: bool, life: str = "") -> list[Lane]:
        """As `put_back`, at once, of what this worker holds, which was seen to end. killed: from outside, so that none of
        its requests is to blame. life: by which it is counted among the lost, once.
        """
        args = ["pins", _EXPIRED, _CANCELLED, worker, int(killed), life]
        return _lanes(self._put_back(keys=[names.RUNNING_PINS_KEY], args=args))

    @redis_errors_translated
    def hand_back(self, leases: Sequence[Lease], *, lane: Lane | None = None, behind: bool = False) -> list[Lease]:
        """Unfinished requests wait again, in that lane or where they did; answers which of them were still the caller's:
        each needs a ticket. behind: whoever waits now and is as urgent goes first.
        """
        if not leases:
            return []
        keys = [make(lease.request_id) for lease in leases for make in (names.state_key, names.lease_key)]
        where = [lane.name if lane else "", int(behind)]
        freed = self._hand_back(keys=keys, args=[*where, *(lease.value for lease in leases)])
        return [leases[number - 1] for number in freed]

    @redis_errors_translated
    def move(self, request_id: str, lane: Lane) -> bool:
        """To another lane, if it waits: it needs a ticket there."""
        return bool(self._move(keys=[names.state_key(request_id)], args=[lane.name]))

    # -- out --------------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def take(self, lane: str, *, worker: str, lease_seconds: float, journal_seconds: float, only: str = "") -> Taken:
        """For a ticket of the lane: whoever is next, or `only` that request. Holding the lease starts here."""
        args = [lane, worker, int(lease_seconds * 1000), f"{MAX_LOST_WORKERS} {MAX_LOST_IN_ALL}"]
        args += [_EXPIRED, int(journal_seconds * 1000), codec.VERSION, _CRASHED, only]
        outcome, request_id, attempt, next_index, payload, key, priority, *past = self._take(keys=[], args=args)
        trace, waited, lost_worker, lost_after = past
        return Taken(
            outcome.decode(),
            request_id.decode(),
            # Of one that is given up it is a field of its state, and comes as text.
            int(attempt),
            next_index,
            payload,
            key.decode(),
            priority.decode() or "normal",
            trace.decode(),
            waited / 1000,
            lost_worker.decode(),
            lost_after / 1000,
        )

    @redis_errors_translated
    def begin(self, request_id: str, attempt: int) -> bool:
        """A suspect that was taken is computed from here on; unless it is somebody else's by now (False)."""
        return bool(self._begin(keys=[names.state_key(request_id)], args=[attempt]))

    @redis_errors_translated
    def cancel(self, request_id: str, *, seconds: float, journal_seconds: float) -> bool:
        """Nobody wants the request: it is over at once if it waits, or if its worker was lost (True); else whoever runs it
        is told, or whoever has just taken it, within `seconds`.
        """
        args = [request_id, names.CANCELS_CHANNEL, int(seconds * 1000), _CANCELLED, int(journal_seconds * 1000)]
        return bool(self._cancel(keys=[names.state_key(request_id), names.cancel_key(request_id)], args=args))

    @redis_errors_translated
    def sweep(self, lane: str, *, journal_seconds: float) -> int:
        """Cleans up a lane from which nobody pulls, of requests whose time is over and of tickets for nobody: nothing is to
        be loaded for them. Answers how many have left.
        """
        return int(self._sweep(keys=[lane], args=[lane, SWEPT, _EXPIRED, int(journal_seconds * 1000)]))

    # -- who listens ------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def join(self, request_id: str, *, inbox: str, listener: str) -> float | None:
        """From now on what a request's worker says goes to this inbox, too. listener: a name that no other has there.
        Answers how many seconds the request has left, below 0 where its time is over; None: nothing is known of it any
        more, or nobody wanted it.
        """
        keys = [names.state_key(request_id), names.cancel_key(request_id)]
        left = cast("int | None", self._join(keys=keys, args=[names.inbox_channel(inbox), listener]))
        return None if left is None else left / 1000

    @redis_errors_translated
    def leave(self, request_id: str, *, inbox: str, listener: str) -> bool:
        """One who listened has gone. Answers whether anybody still does, or may come back."""
        return bool(self._leave(keys=[names.state_key(request_id)], args=[names.inbox_channel(inbox), listener]))

    # -- to be asked ------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def position(self, request_id: str) -> Position | None:
        """Where a request stands; None when it does not wait."""
        before, waiting, pace, lane, tickets, attempts = self._position(keys=[names.state_key(request_id)])
        if before < 0:
            return None
        seconds = pace / 1000 if pace >= 0 else None
        return Position(before, waiting, seconds, Lane.named(lane.decode()), tickets, attempts)

    @redis_errors_translated
    def told(self, request_id: str) -> Told | None:
        """None where nothing is known of the request (any more)."""
        fields = ["done", "kind", "model", "generated"]
        found = cast("list[bytes | None]", self._redis.hmget(names.state_key(request_id), fields))
        done, kind, model, generated = ((each or b"").decode() for each in found)
        return Told(done, kind, model, int(generated or 0)) if model else None

    @redis_errors_translated
    def waiting(self, lanes: Iterable[str]) -> dict[str, int]:
        """How many requests wait in each lane."""
        asked = list(lanes)
        pipeline = self._redis.pipeline(transaction=False)
        for lane in asked:
            pipeline.zcard(names.room_key(lane))
        return dict(zip(asked, map(int, pipeline.execute()), strict=True)) if asked else {}

    @redis_errors_translated
    def first(self, lanes: Iterable[str], count: int) -> list[Newcomer]:
        """The next ones of each lane, in their order."""
        rooms = [(lane, self._redis.zrange(names.room_key(lane), 0, count - 1)) for lane in lanes]
        found = [(lane, request_id) for lane, ids in rooms for request_id in cast("list[bytes]", ids)]
        pipeline = self._redis.pipeline(transaction=False)
        for _, request_id in found:
            pipeline.hmget(names.state_key(request_id.decode()), "key", "class")
        states = pipeline.execute() if found else []
        return [
            _newcomer(request_id, lane.encode(), key or b"", priority)
            for (lane, request_id), (key, priority) in zip(found, states, strict=True)
            if priority
        ]

    @redis_errors_translated
    def tickets(self, lane: str) -> int:
        """Tickets of a lane that no worker has popped."""
        return int(self._redis.llen(lane))


def arrival(notice: bytes) -> Newcomer:
    """What workers hear of a request that begins to wait; see room.lua."""
    return _newcomer(*notice.split(b"\t"))


def _newcomer(request_id: bytes, lane: bytes, key: bytes, priority: bytes) -> Newcomer:
    named = next(name for name in PRIORITIES if name == priority.decode())
    return Newcomer(request_id.decode(), lane.decode(), key.decode(), named)


def _lanes(found: list[bytes]) -> list[Lane]:
    return [Lane.named(lane.decode()) for lane in found]

"""What the cluster knows of its models, in Redis: definitions, orders to workers, failures, and what the store says.

The store alone writes definitions; everybody reads them. A version number beside them spares readers the reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from tropilla.common import codec, names
from tropilla.common.bus import ANSWER_SECONDS, Bus, redis_errors_translated
from tropilla.common.catalogue import Catalogue, Definition, Trouble, catalogue
from tropilla.common.errands import Errand, Look, Stop, Task, Word
from tropilla.common.orders import Order

#: An order that its worker has not taken by then is void, in milliseconds.
ORDER_MS = 15_000
#: What a worker that died while loading had begun is remembered for so long, in milliseconds.
LOADING_MS = 24 * 3600 * 1000
#: What was said of an errand is kept so long after its last word, in milliseconds, and so many words of it.
ERRAND_MS = 24 * 3600 * 1000
ERRAND_WORDS = 1000
#: So long a look waits to be taken, and so long what was said of it is kept, in milliseconds: nobody waits any longer.
LOOK_MS = 30_000
#: A flight that nobody renews is over after so long, in milliseconds: its errand never reached the store.
FLIGHT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the store has written down, as of `version`."""

    version: int = -1
    definitions: tuple[Definition, ...] = ()
    troubles: Mapping[str, Trouble] = field(default_factory=lambda: MappingProxyType({}))


class Registry:
    """Over a process's bus. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._redis = bus.connection
        self._shelf = Shelf()

    def catalogue(self) -> Catalogue:
        """Every worker that lives, and every model that is defined."""
        self._shelf = self.shelf(self._shelf)
        workers = self._bus.catalogue().workers
        return catalogue(workers, self._shelf.definitions, self._shelf.troubles, self.failures())

    def full_percent(self) -> float:
        """As `Bus.full_percent`."""
        return self._bus.full_percent()

    # -- definitions: the store writes, everybody reads --------------------------------------------------------------

    @redis_errors_translated
    def shelf(self, known: Shelf = Shelf()) -> Shelf:
        """What is written down now; `known` itself when nothing has changed since."""
        version = int(cast("bytes | None", self._redis.get(names.MODELS_VERSION_KEY)) or 0)
        if version == known.version:
            return known
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(names.MODELS_VERSION_KEY)
        pipeline.hgetall(names.MODELS_KEY)
        pipeline.hgetall(names.TROUBLES_KEY)
        version, models, troubles = pipeline.execute()
        definitions = sorted(map(codec.decode_definition, models.values()), key=lambda each: each.model.name)
        return Shelf(
            int(version or 0),
            tuple(definitions),
            {name.decode(): codec.decode_trouble(data) for name, data in troubles.items()},
        )

    @redis_errors_translated
    def define(self, *definitions: Definition) -> None:
        """Writes down what names stand for, in place of what they were, and that nothing is the matter with them."""
        pipeline = self._redis.pipeline(transaction=True)
        for definition in definitions:
            pipeline.hset(names.MODELS_KEY, definition.model.name, cast(Any, codec.encode_definition(definition)))
            pipeline.hdel(names.TROUBLES_KEY, definition.model.name)
        pipeline.incr(names.MODELS_VERSION_KEY)
        pipeline.execute()

    @redis_errors_translated
    def forget(self, *models: str) -> None:
        """Of names: what they are, and what was the matter with them."""
        pipeline = self._redis.pipeline(transaction=True)
        for name in models:
            pipeline.hdel(names.MODELS_KEY, name)
            pipeline.hdel(names.TROUBLES_KEY, name)
        pipeline.incr(names.MODELS_VERSION_KEY)
        pipeline.execute()

    @redis_errors_translated
    def trouble(self, model: str, trouble: Trouble | None) -> None:
        """Says why a model that is named and not there cannot answer; None: nothing is to be said of it any more."""
        pipeline = self._redis.pipeline(transaction=True)
        if trouble is None:
            pipeline.hdel(names.TROUBLES_KEY, model)
        else:
            pipeline.hset(names.TROUBLES_KEY, model, cast(Any, codec.encode_trouble(trouble)))
        pipeline.incr(names.MODELS_VERSION_KEY)
        pipeline.execute()

    @redis_errors_translated
    def inform(self, digest: str, information: bytes) -> None:
        """Keeps what a file's header says, as JSON text, by the file's digest: long, and seldom asked for."""
        self._redis.hset(names.INFORMATION_KEY, digest, cast(Any, information))

    @redis_errors_translated
    def information(self, digest: str) -> bytes | None:
        return cast("bytes | None", self._redis.hget(names.INFORMATION_KEY, digest))

    @redis_errors_translated
    def uninform(self, *digests: str) -> None:
        """Of files that are gone."""
        self._redis.hdel(names.INFORMATION_KEY, *digests)

    # -- orders and failures ------------------------------------------------------------------------------------------

    @redis_errors_translated
    def order(self, worker: str, order: Order) -> bool:
        """Tells a worker what to pin. False: it has not taken the order before this one."""
        return bool(self._redis.set(names.order_key(worker), codec.encode_order(order), nx=True, px=ORDER_MS))

    @redis_errors_translated
    def orders(self, workers: Sequence[str]) -> dict[str, Order]:
        """Orders that their workers have not taken yet."""
        found = self._redis.mget([names.order_key(worker) for worker in workers]) if workers else []
        pairs = zip(workers, cast("list[bytes | None]", found), strict=True)
        return {worker: codec.decode_order(data) for worker, data in pairs if data is not None}

    @redis_errors_translated
    def take_order(self, worker: str) -> Order | None:
        """To be announced by the worker before it looks for the next one, so that somebody always knows of it."""
        data = cast("bytes | None", self._redis.get(names.order_key(worker)))
        return codec.decode_order(data) if data is not None else None

    @redis_errors_translated
    def acknowledge_order(self, worker: str) -> None:
        self._redis.delete(names.order_key(worker))

    @redis_errors_translated
    def keep_order(self, worker: str) -> None:
        """The worker knows of its order and will take it, once what it is doing now is finished."""
        self._redis.pexpire(names.order_key(worker), ORDER_MS)

    @redis_errors_translated
    def begin_loading(self, pin: str, worker: str) -> None:
        """Notes what may be the worker's death."""
        self._redis.set(names.loading_key(worker), pin, px=LOADING_MS)

    @redis_errors_translated
    def end_loading(self, worker: str) -> str:
        """The worker is not loading, or not any more. Answers the pin of which it was noted, "" for none."""
        return cast(bytes, self._redis.getdel(names.loading_key(worker)) or b"").decode()

    @redis_errors_translated
    def report_failure(self, pin: str, worker: str, trouble: Trouble, *, seconds: float) -> None:
        """The worker could not load the pin, and is not asked to again for so long."""
        key = names.failure_key(pin, worker)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, codec.encode_trouble(trouble), px=int(seconds * 1000))
        pipeline.sadd(names.FAILURES_KEY, f"{pin}\t{worker}")
        pipeline.execute()

    @redis_errors_translated
    def failures(self) -> dict[str, dict[str, Trouble]]:
        """Pin -> worker -> why; those whose time is not over."""
        known = [each.decode() for each in cast("set[bytes]", self._redis.smembers(names.FAILURES_KEY))]
        if not known:
            return {}
        pairs = [tuple(each.split("\t")) for each in known]
        data = cast("list[bytes | None]", self._redis.mget([names.failure_key(*pair) for pair in pairs]))
        over = [each for each, trouble in zip(known, data, strict=True) if trouble is None]
        if over:
            self._redis.srem(names.FAILURES_KEY, *over)
        found: dict[str, dict[str, Trouble]] = {}
        for (pin, worker), trouble in zip(pairs, data, strict=True):
            if trouble is not None:
                found.setdefault(pin, {})[worker] = codec.decode_trouble(trouble)
        return found

    @redis_errors_translated
    def lead(self, office: str, who: str, *, seconds: float) -> bool:
        """Whether `who` holds the office from now on for so long: nobody else holds it, or it was theirs."""
        key = names.office_key(office)
        if self._redis.set(key, who, nx=True, px=int(seconds * 1000)):
            return True
        if self._redis.get(key) != who.encode():
            return False
        return bool(self._redis.pexpire(key, int(seconds * 1000)))

    @redis_errors_translated
    def staffed(self, office: str) -> bool:
        """Whether anybody holds the office, or is about to."""
        return bool(self._redis.exists(names.office_key(office), names.successor_key(office)))

    @redis_errors_translated
    def resign(self, office: str, who: str, *, expect_seconds: float = 0.0) -> None:
        """Gives an office up before its time is over; somebody else's stays his. For so long a successor is expected."""
        if self._redis.get(names.office_key(office)) != who.encode():
            return
        if expect_seconds:
            self._redis.set(names.successor_key(office), b"1", px=int(expect_seconds * 1000))
        self._redis.delete(names.office_key(office))

    # -- errands ------------------------------------------------------------------------------------------------------

    @redis_errors_translated
    def begin(self, errand: Errand, flight: str) -> str:
        """Registers an errand before its ticket is put into the queue. `flight`: only one errand of a flight is under way;
        answers the id of that one, which is the caller's or an earlier one's.
        """
        key = names.flight_key(flight)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.set(key, errand.id, nx=True, px=FLIGHT_MS)
        pipeline.get(key)
        _, holder = pipeline.execute()
        if holder == errand.id.encode():
            passing = isinstance(errand, Look)
            pipeline = self._redis.pipeline(transaction=True)
            asked = codec.encode_errand(errand)
            pipeline.set(names.errand_asked_key(errand.id), asked, px=LOOK_MS if passing else ERRAND_MS)
            if passing:
                pipeline.pexpire(key, LOOK_MS)
            else:
                pipeline.sadd(names.ERRANDS_KEY, errand.id)
            pipeline.execute()
        return cast(bytes, holder).decode()

    @redis_errors_translated
    def queue_look(self, look: Look, flight: str) -> None:
        """Puts a look that has begun where the store takes it from: beside its queue, so that it waits for no pull, and in
        a list that is gone when nobody takes from it.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.rpush(names.LOOKS_KEY, f"{look.id}\t{flight}")
        pipeline.pexpire(names.LOOKS_KEY, LOOK_MS)
        pipeline.execute()

    @redis_errors_translated
    def next_look(self, *, wait_seconds: float) -> tuple[Look, str] | None:
        """The oldest one that somebody still waits for, with its flight. None: there was none for so long."""
        found = cast(Any, self._redis.blpop([names.LOOKS_KEY], timeout=min(wait_seconds, ANSWER_SECONDS / 2)))
        if found is None:
            return None
        errand_id, _, flight = found[1].decode().partition("\t")
        asked = cast("bytes | None", self._redis.get(names.errand_asked_key(errand_id)))
        look = codec.decode_errand(asked) if asked is not None and not self.stopped(errand_id) else None
        return (look, flight) if isinstance(look, Look) else None

    @redis_errors_translated
    def keep_flights(self, flights: Sequence[str]) -> None:
        """They are still under way."""
        pipeline = self._redis.pipeline(transaction=False)
        for flight in flights:
            pipeline.pexpire(names.flight_key(flight), FLIGHT_MS)
        pipeline.execute()

    def tasks(self) -> tuple[Task, ...]:
        """Everything that was asked of the store and is not over, by id."""
        known = sorted(self._errands())
        found = [self.task(each) for each in known]
        return tuple(task for task in found if task is not None and not task.over)

    @redis_errors_translated
    def task(self, errand_id: str) -> Task | None:
        """What was asked, and what has come of it; None when nobody has asked, or a day ago."""
        asked = cast("bytes | None", self._redis.get(names.errand_asked_key(errand_id)))
        if asked is None:
            # It was never over, or nobody was told so.
            self._redis.srem(names.ERRANDS_KEY, errand_id)
            return None
        return Task(codec.decode_errand(asked), tuple(word for _, word in self.hear(errand_id)))

    @redis_errors_translated
    def _errands(self) -> set[str]:
        return {each.decode() for each in cast("set[bytes]", self._redis.smembers(names.ERRANDS_KEY))}

    @redis_errors_translated
    def tell(self, errand_id: str, word: Word, *, flight: str = "", passing: bool = False) -> None:
        """Says something of an errand; with its last word goes its flight. passing: it is a look, and soon forgotten."""
        key = names.errand_key(errand_id)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xadd(key, {b"w": codec.encode_word(word)}, maxlen=ERRAND_WORDS, approximate=True)
        pipeline.pexpire(key, LOOK_MS if passing else ERRAND_MS)
        if flight:
            pipeline.delete(names.flight_key(flight))
            pipeline.srem(names.ERRANDS_KEY, errand_id)
        pipeline.execute()

    @redis_errors_translated
    def hear(self, errand_id: str, after: str = "0", *, wait_seconds: float = 0.0) -> list[tuple[str, Word]]:
        """What was said of an errand since `after`, each with its place; waits for something to be said, and not so long
        that Redis would be thought to have gone.
        """
        block = int(min(wait_seconds, ANSWER_SECONDS / 2) * 1000) or None
        found = cast(Any, self._redis.xread({names.errand_key(errand_id): after}, block=block))
        # RESP2 answers a list of pairs, RESP3 a map.
        streams = found.items() if isinstance(found, dict) else found or []
        return [
            (place.decode(), codec.decode_word(fields[b"w"])) for _, entries in streams for place, fields in entries
        ]

    @redis_errors_translated
    def attend(self, errand_id: str, more: int) -> int:
        """So many more listen to an errand, or fewer; answers how many do."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.incrby(names.errand_listeners_key(errand_id), more)
        pipeline.pexpire(names.errand_listeners_key(errand_id), ERRAND_MS)
        listening = int(pipeline.execute()[0])
        if listening <= 0:
            # As if there were none: nobody is to count them for a day.
            self._redis.pexpire(names.errand_listeners_key(errand_id), LOOK_MS)
        return listening

    @redis_errors_translated
    def stop_errand(self, errand_id: str, *, discard: bool) -> None:
        """Somebody wants it to stop: the store looks at this while it works. discard: and never to go on with it."""
        # It need not outlive what was asked for.
        left = self._redis.pttl(names.errand_asked_key(errand_id))
        lasts = max(left, LOOK_MS) if left > 0 else ERRAND_MS
        self._redis.set(names.errand_stop_key(errand_id), b"discard" if discard else b"pause", px=lasts)

    @redis_errors_translated
    def stopped(self, errand_id: str) -> Stop | None:
        """How somebody wants it to stop, if somebody does."""
        found = cast("bytes | None", self._redis.get(names.errand_stop_key(errand_id)))
        return cast(Stop, found.decode()) if found is not None else None

    def paused(self, errand_id: str) -> bool:
        """Whether somebody wants it to stop, so that the next one like it goes on."""
        return self.stopped(errand_id) == "pause"

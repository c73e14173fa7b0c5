"""What placement looks at, a few times a second for as long as the cluster runs: so it is asked for all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tropilla.common import codec, names
from tropilla.common.bus import Bus, redis_errors_translated
from tropilla.common.catalogue import PULLS, Catalogue, Lane, Worker, catalogue
from tropilla.common.orders import Order
from tropilla.common.registry import Registry, Shelf
from tropilla.common.room import Room


@dataclass(frozen=True, slots=True)
class Seen:
    """`waiting`: lane -> requests, where there are any; `orders`: of workers that live, and have not announced theirs."""

    catalogue: Catalogue
    waiting: Mapping[str, int]
    orders: Mapping[str, Order]


class Survey:
    """One process's. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus, registry: Registry, room: Room) -> None:
        self._bus, self._redis, self._registry, self._room = bus, bus.connection, registry, room
        self._shelf = Shelf()
        #: Whom and what the last look found: the next one asks after them.
        self._workers: tuple[str, ...] = ()
        self._lanes: tuple[str, ...] = ()

    @redis_errors_translated
    def look(self) -> Seen:
        """One question; another when a worker has come or gone, a definition has changed, a load has failed, or somebody
        waits.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(names.MODELS_VERSION_KEY)
        pipeline.smembers(names.WORKERS_KEY)
        pipeline.scard(names.FAILURES_KEY)
        _ask_after(pipeline, self._workers)
        if self._lanes:
            # Those that are empty do not exist.
            pipeline.exists(*map(names.room_key, self._lanes))
        version, members, failed, *found = pipeline.execute()
        waits = bool(found.pop()) if self._lanes else False
        if int(version or 0) != self._shelf.version:
            self._shelf = self._registry.shelf(self._shelf)
        cards, orders = found or ([], [])
        if members != {name.encode() for name in self._workers}:
            cards, orders = self._come_or_gone(members)
        workers = self._living(cards)
        told = zip(self._workers, orders, strict=True)
        failures = self._registry.failures() if failed else {}
        seen = catalogue(workers, self._shelf.definitions, self._shelf.troubles, failures)
        if (lanes := _lanes(seen)) != self._lanes:
            self._lanes, waits = lanes, True
        waiting = self._room.waiting(lanes) if waits else {}
        living = {worker.name for worker in workers}
        known = {worker: codec.decode_order(data) for worker, data in told if data and worker in living}
        return Seen(seen, {lane: count for lane, count in waiting.items() if count}, known)

    def _come_or_gone(self, members: Iterable[bytes]) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
        self._workers = tuple(sorted(name.decode() for name in members))
        pipeline = self._redis.pipeline(transaction=False)
        _ask_after(pipeline, self._workers)
        cards, orders = cast(Any, pipeline.execute() or ([], []))
        return cards, orders

    def _living(self, cards: Sequence[bytes | None]) -> list[Worker]:
        gone = [name for name, card in zip(self._workers, cards, strict=True) if card is None]
        self._bus.forget_workers(gone)
        return [codec.decode_worker(card) for card in cards if card is not None]


def _ask_after(pipeline: Any, workers: Sequence[str]) -> None:
    if workers:
        pipeline.mget([names.presence_key(worker) for worker in workers])
        pipeline.mget([names.order_key(worker) for worker in workers])


def _lanes(seen: Catalogue) -> tuple[str, ...]:
    pins = {definition.recipe.pin for definition in seen.definitions}
    return tuple(sorted(Lane(pin, flavour).name for pin in pins for flavour in PULLS["gpu"]))

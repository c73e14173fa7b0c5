"""Which worker loads what: decided here, a few times a second, and done by the steward.

Theory of operation. A pin that some wait for and nobody has, or will have, is starving; it gets an idle worker that could
load it, or else another model's. A worker that is quiet (nothing runs, nothing waits, for a moment) is given up at once.
One that is wanted is given up only to a pin that has starved for `swap_seconds`, and never before it has served so long
itself: so requests are grouped by model, every load is worth some, and each pin's turn comes, longest wait first. Whoever
gives up its model finishes what runs. Of a pin that is starving, one load is under way at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from tropilla.common.catalogue import PULLS, Catalogue, Definition, Flavour, Lane, State, Worker
from tropilla.common.orders import Order

#: A worker without work is quiet after so long: workers tell of their requests every second, and a client that sends its
#: next request when it has the answer to the last is not gone in between.
LINGER_SECONDS = 1.0

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class View:
    """What is planned upon. `waiting`: name of a lane -> requests in it, where there are any; `orders`: worker -> what it
    was told and has not announced yet.
    """

    catalogue: Catalogue
    waiting: Mapping[str, int] = field(default_factory=lambda: _NONE)
    orders: Mapping[str, Order] = field(default_factory=lambda: _NONE)

    @cached_property
    def pins(self) -> Mapping[str, Definition]:
        """What can be loaded, by pin: names that share one share its recipe, and the strongest of their wishes."""
        found: dict[str, Definition] = {}
        for each in self.catalogue.definitions:
            known = found.setdefault(each.recipe.pin, each)
            if (each.keeps, each.preload) > (known.keeps, known.preload):
                found[each.recipe.pin] = each
        return found

    def queue(self, pin: str, worker: Worker) -> int:
        """How many wait where this worker would find them if it had the pin."""
        return sum(self.waiting.get(Lane(pin, flavour).name, 0) for flavour in PULLS[worker.flavour])

    def demand(self, pin: str) -> int:
        """How many wait where a worker that has the pin, or could load it, would find them."""
        if not any(self.waiting.get(Lane(pin, flavour).name) for flavour in PULLS["gpu"]):
            return 0
        around = (*self.catalogue.candidates(self.pins[pin]), *(w for w in self.catalogue.workers if w.pin == pin))
        return max((self.queue(pin, worker) for worker in around), default=0)

    def served(self, pin: str) -> bool:
        return bool(self.catalogue.flavours(pin))

    def loading(self, pin: str) -> bool:
        """Whether a worker loads the pin now, or is about to with nothing in its way."""
        idle = {worker.name for worker in self.catalogue.workers if worker.state == "idle"}
        ordered = any(_pin_of(order) == pin for name, order in self.orders.items() if name in idle)
        return ordered or any(w.state == "loading" and w.pin == pin for w in self.catalogue.workers)

    def coming(self, pin: str) -> bool:
        ordered = any(_pin_of(order) == pin for order in self.orders.values())
        return ordered or any(worker.coming(pin) for worker in self.catalogue.workers)


def _pin_of(order: Order) -> str:
    return order.definition.recipe.pin if order.definition else ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one view does not show; times by the planner's clock. Whoever begins without any waits longer, no more."""

    #: Pin -> since when some wait for it, and nobody has it ready.
    starving: Mapping[str, float] = field(default_factory=lambda: _NONE)
    #: Pin -> since when some wait for it all the time, beside those whom its workers hold.
    crowded: Mapping[str, float] = field(default_factory=lambda: _NONE)
    #: Worker -> its pin, and since when that has been ready.
    serving: Mapping[str, tuple[str, float]] = field(default_factory=lambda: _NONE)
    #: Worker -> since when it has nothing to do.
    quiet: Mapping[str, float] = field(default_factory=lambda: _NONE)
    #: Worker -> when it had an order last.
    ordered: Mapping[str, float] = field(default_factory=lambda: _NONE)
    #: Pins that a worker has let go of for nothing else: not to be loaded before somebody asks.
    dismissed: frozenset[str] = frozenset()


def remember(view: View, now: float, memory: Memory) -> Memory:
    """The memory after one more look."""
    workers = view.catalogue.workers
    wanted = {pin for pin in view.pins if view.demand(pin)}
    serving = {w.name: _since(memory, w, now) for w in workers if w.state == "ready"}
    idle = {worker.name for worker in workers if worker.state == "idle"}
    let_go = {pin for name, (pin, _) in memory.serving.items() if name in idle}
    leaving = {w.name: memory.serving[w.name] for w in workers if w.state == "draining" and w.name in memory.serving}
    return Memory(
        starving={pin: memory.starving.get(pin, now) for pin in wanted if not view.served(pin)},
        crowded={pin: memory.crowded.get(pin, now) for pin in wanted if view.served(pin)},
        # While it drains it still has the pin: what becomes of it is seen when it comes back.
        serving={**leaving, **serving},
        quiet={
            w.name: memory.quiet.get(w.name, now)
            for w in workers
            if w.state == "ready" and not w.running and not view.queue(w.pin, w)
        },
        ordered={
            w.name: now if w.name in view.orders else memory.ordered[w.name]
            for w in workers
            if w.name in view.orders or w.name in memory.ordered
        },
        dismissed=frozenset(view.pins) & (memory.dismissed | let_go) - {pin for pin, _ in serving.values()},
    )


def _since(memory: Memory, worker: Worker, now: float) -> tuple[str, float]:
    pin, since = memory.serving.get(worker.name, ("", now))
    return (pin, since) if pin == worker.pin else (worker.pin, now)


def plan(view: View, now: float, memory: Memory, *, swap_seconds: float) -> list[tuple[str, Order]]:
    """The orders to send now, by worker; `memory` has seen the view."""
    return list(_Plan(view, now, memory, swap_seconds).orders())


class _Plan:
    """One plan in the making: `_free` are the workers that nobody has plans with yet."""

    def __init__(self, view: View, now: float, memory: Memory, swap_seconds: float) -> None:
        self._view, self._now, self._memory, self._swap_seconds = view, now, memory, swap_seconds
        self._free = {
            w.name: w
            for w in view.catalogue.workers
            if w.state in ("idle", "ready") and w.name not in view.orders and not w.next_pin
        }
        self._given: set[str] = set()

    def orders(self) -> Iterator[tuple[str, Order]]:
        """1. what starves, 2. what still does because its worker does not come to an end, or is crowded, 3. what is to be
        there before anybody asks. Only what starves takes a worker from another model.
        """
        memory, pins = self._memory, self._view.pins
        for pin in _longest_first(memory.starving):
            if not self._view.coming(pin):
                yield from self._give(pin, self._idle(pin) or self._quiet(pin) or self._busy(pin))
        for pin in _longest_first({**memory.starving, **memory.crowded}):
            since = memory.starving.get(pin, memory.crowded.get(pin, self._now))
            if self._now - since >= self._swap_seconds and not self._soon(pin):
                starves = pin in memory.starving
                yield from self._give(
                    pin, self._idle(pin, now=True) or (self._quiet(pin, now=True) if starves else None)
                )
        for pin, definition in pins.items():
            if definition.preload and pin not in memory.dismissed and not self._had(pin):
                yield from self._give(pin, self._idle(pin))

    def _soon(self, pin: str) -> bool:
        return self._view.loading(pin) or pin in self._given

    def _had(self, pin: str) -> bool:
        return self._view.served(pin) or self._view.coming(pin) or pin in self._given

    def _give(self, pin: str, worker: Worker | None) -> Iterator[tuple[str, Order]]:
        if worker is None:
            return
        del self._free[worker.name]
        self._given.add(pin)
        mine = worker.own is not None and worker.own.recipe.pin == pin
        yield worker.name, Order(worker.own if mine else self._view.pins[pin])

    def _candidates(self, pin: str, state: State, *, now: bool) -> list[Worker]:
        """Free workers that could load it. now: only those that would find who waits in the lanes as they are."""
        able = self._view.catalogue.candidates(self._view.pins[pin])
        free = [worker for worker in able if worker.state == state and worker.name in self._free]
        return [worker for worker in free if not now or self._view.queue(pin, worker)]

    def _victims(self, pin: str, *, now: bool = False) -> list[Worker]:
        kept = {each for each, definition in self._view.pins.items() if definition.keeps}
        return [worker for worker in self._candidates(pin, "ready", now=now) if worker.pin not in kept]

    def _idle(self, pin: str, *, now: bool = False) -> Worker | None:
        """The idle worker that others will miss least."""
        wanted = self._flavour(pin)

        def cost(worker: Worker) -> tuple[Any, ...]:
            own = worker.own.recipe.pin if worker.own else pin
            # Whoever had an order last and is idle still may not have taken it.
            had = self._memory.ordered.get(worker.name, -math.inf)
            return worker.flavour != wanted, own != pin, had, len(worker.features), worker.name

        return min(self._candidates(pin, "idle", now=now), key=cost, default=None)

    def _flavour(self, pin: str) -> Flavour:
        return "gpu" if self._view.waiting.get(Lane(pin, "gpu").name, 0) else "cpu"

    def _quiet(self, pin: str, *, now: bool = False) -> Worker | None:
        """A worker whose model nobody wants: least recently used first."""
        wanted = self._flavour(pin)

        def cost(worker: Worker) -> tuple[Any, ...]:
            left = math.inf if worker.expires_in is None else worker.expires_in
            # Idle times are told once a second: closer than that they are equal.
            return worker.flavour != wanted, -round(worker.idle_seconds), left, worker.name

        return min(filter(self._is_quiet, self._victims(pin, now=now)), key=cost, default=None)

    def _is_quiet(self, worker: Worker) -> bool:
        since = max(self._memory.quiet.get(worker.name, math.inf), self._ready_since(worker))
        return self._now - since >= LINGER_SECONDS

    def _ready_since(self, worker: Worker) -> float:
        return self._memory.serving.get(worker.name, ("", self._now))[1]

    def _busy(self, pin: str) -> Worker | None:
        """A worker whose model has had its time, when this one has waited for as long: the least wanted first, and the only
        one of a longer queue last.
        """
        if self._now - self._memory.starving[pin] < self._swap_seconds:
            return None
        served = (w for w in self._victims(pin) if self._now - self._ready_since(w) >= self._swap_seconds)
        wanted, mine = self._flavour(pin), self._view.demand(pin)

        def cost(worker: Worker) -> tuple[Any, ...]:
            theirs = self._view.queue(worker.pin, worker)
            last = sum(other.serves(worker.pin) for other in self._free.values()) == 1
            since = self._ready_since(worker)
            return last and theirs > mine, worker.flavour != wanted, theirs + worker.running, since, worker.name

        return min(served, key=cost, default=None)


def _longest_first(since: Mapping[str, float]) -> list[str]:
    return sorted(since, key=lambda pin: (since[pin], pin))

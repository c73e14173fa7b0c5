"""A cluster of workers that load, serve and swap in simulated time: what the planner is driven with, without waiting.

Events happen in the order of their times; every `TURN` the planner looks, and what it orders is done by the workers as real
ones do it: an order is taken a moment later, what runs is finished first, the process starts anew, the files are read.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from fakes import MODEL
from tropilla.api.planning import Memory, View, plan, remember
from tropilla.common.catalogue import PULLS, Catalogue, Definition, Flavour, Lane, State, Trouble, Worker, catalogue
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Recipe

#: Seconds between two looks of the planner; until a worker takes its order; until its process has started anew.
TURN, TAKE, EXEC = 0.25, 0.1, 0.3
#: Workers tell every second what they run.
BEAT = 1.0
#: A worker that could not load a pin is not asked to again for so long.
COOLDOWN = 60.0
FAILED = Trouble("load_failed", "it could not be loaded")


def definition(
    name: str, *, keeps: bool = False, preload: bool = False, flavours: tuple[Flavour, ...] = ()
) -> Definition:
    recipe = Recipe(name, (File("0" * 64, 1, f"{name}.gguf"),), flavours=flavours)
    return Definition(replace(MODEL, name=name), recipe, keeps=keeps, preload=preload)


@dataclass(eq=False)
class Request:
    """`served` by a worker from `began` to `ended`; `failed` where nobody can load its model."""

    pin: str
    at: float
    seconds: float
    lane: str = ""
    began: float = -1.0
    ended: float = -1.0
    worker: str = ""
    failed: bool = False

    @property
    def waited(self) -> float:
        return self.began - self.at


@dataclass(eq=False)
class Process:
    name: str
    flavour: Flavour = "cpu"
    slots: int = 4
    load_seconds: float = 3.0
    #: Pins that it cannot load.
    fails: frozenset[str] = frozenset()
    state: State = "idle"
    pinned: Definition | None = None
    order: Order | None = None
    next_pin: str = ""
    running: int = 0
    #: As it told last.
    told: int = 0
    idle_since: float = 0.0

    def announced(self, now: float) -> Worker:
        return Worker(
            self.name,
            self.flavour,
            self.state,
            self.slots,
            self.pinned.model if self.pinned else None,
            ordered=self.pinned is not None,
            running=self.told,
            idle_seconds=0.0 if self.told else max(0.0, now - self.idle_since),
            next_pin=self.next_pin,
        )


@dataclass
class Simulation:
    """`run` it; then look at the requests, and at the `loads`: (time, worker, pin)."""

    processes: list[Process]
    definitions: tuple[Definition, ...]
    requests: list[Request]
    swap_seconds: float = 10.0
    #: Called after each look with the time and what was ordered.
    looked: Callable[[float, View, list[tuple[str, Order]]], None] = lambda now, view, orders: None
    loads: list[tuple[float, str, str]] = field(default_factory=list)
    failures: dict[str, dict[str, float]] = field(default_factory=dict)

    def run(self, until: float = 100_000.0) -> Simulation:
        """Raises `AssertionError` when a request has not ended by then."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._lanes: dict[str, deque[Request]] = {}
        self._orders: dict[str, Order] = {}
        self._memory, self.now = Memory(), 0.0
        for request in self.requests:
            self._later(request.at, lambda request=request: self._arrive(request))  # type: ignore[misc]
        self._later(0.0, self._look)
        self._later(0.0, self._beat)
        while self._events and any(request.ended < 0 for request in self.requests):
            self.now, _, happen = heapq.heappop(self._events)
            assert self.now < until, f"{sum(r.ended < 0 for r in self.requests)} requests never end"
            happen()
        return self

    @property
    def load_count(self) -> int:
        return len(self.loads)

    @property
    def catalogue(self) -> Catalogue:
        failed = {
            pin: {worker: FAILED for worker, until in workers.items() if until > self.now}
            for pin, workers in self.failures.items()
        }
        return catalogue((each.announced(self.now) for each in self.processes), self.definitions, failures=failed)

    def _later(self, at: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), happen))

    def _arrive(self, request: Request) -> None:
        lane = Lane(request.pin, "gpu" if any(p.flavour == "gpu" for p in self.processes) else "cpu")
        request.lane = request.lane or lane.name
        self._lanes.setdefault(request.lane, deque()).append(request)
        for process in self.processes:
            self._pull(process)

    def _beat(self) -> None:
        for process in self.processes:
            process.told = process.running
        self._later(self.now + BEAT, self._beat)

    def _look(self) -> None:
        for lane in self._lanes.values():
            # What the watch does for its request.
            if lane and self.catalogue.trouble(lane[0].pin) is not None:
                while lane:
                    request = lane.popleft()
                    request.failed, request.ended = True, self.now
        waiting = {name: len(lane) for name, lane in self._lanes.items() if lane}
        view = View(self.catalogue, waiting, dict(self._orders))
        self._memory = remember(view, self.now, self._memory)
        orders = plan(view, self.now, self._memory, swap_seconds=self.swap_seconds)
        self.looked(self.now, view, orders)
        for name, order in orders:
            assert name not in self._orders, "a worker has one order at a time"
            self._orders[name] = order
            process = next(process for process in self.processes if process.name == name)
            self._later(self.now + TAKE, lambda process=process: self._take(process))  # type: ignore[misc]
        self._later(self.now + TURN, self._look)

    def _take(self, process: Process) -> None:
        process.order = self._orders.pop(process.name)
        assert process.order.definition is not None
        assert process.state in ("idle", "ready"), f"{process.name} is {process.state}"
        if process.state == "idle":
            self._load(process)
            return
        process.state, process.next_pin = "draining", process.order.definition.recipe.pin
        self._drained(process)

    def _drained(self, process: Process) -> None:
        if process.state == "draining" and not process.running:
            self._later(self.now + EXEC, lambda: self._load(process))

    def _load(self, process: Process) -> None:
        assert process.order is not None
        definition = process.order.definition
        assert definition is not None
        process.state, process.pinned, process.next_pin, process.order = "loading", definition, "", None
        self.loads.append((self.now, process.name, definition.recipe.pin))
        self._later(self.now + process.load_seconds, lambda: self._loaded(process, definition))

    def _loaded(self, process: Process, loaded: Definition) -> None:
        pin = loaded.recipe.pin
        if pin in process.fails:
            self.failures.setdefault(pin, {})[process.name] = self.now + COOLDOWN
            process.state, process.pinned = "idle", None
            return
        process.state, process.idle_since = "ready", self.now
        self._pull(process)

    def _pull(self, process: Process) -> None:
        if process.state != "ready" or process.pinned is None:
            return
        for flavour in PULLS[process.flavour]:
            lane = self._lanes.get(Lane(process.pinned.recipe.pin, flavour).name, ())
            while lane and process.running < process.slots:
                assert isinstance(lane, deque)
                self._serve(process, lane.popleft())

    def _serve(self, process: Process, request: Request) -> None:
        assert process.pinned is not None
        assert request.began < 0, "served twice"
        assert process.pinned.recipe.pin == request.pin
        process.running += 1
        request.began, request.worker = self.now, process.name
        self._later(self.now + request.seconds, lambda: self._end(process, request))

    def _end(self, process: Process, request: Request) -> None:
        assert process.state in ("ready", "draining"), "a running generation was interrupted"
        request.ended = self.now
        process.running -= 1
        process.idle_since = self.now
        self._pull(process)
        self._drained(process)


def in_turn(pins: str, *, rounds: int, gap: float, seconds: float) -> list[Request]:
    """Requests for one pin after the other, again and again."""
    order = list(pins) * rounds
    return [Request(pin, place * gap, seconds) for place, pin in enumerate(order)]


def first_come_first_served(requests: Iterable[Request]) -> int:
    """How many loads one worker needs that answers in the order of arrival."""
    pins = [request.pin for request in sorted(requests, key=lambda each: each.at)]
    return sum(pin != before for before, pin in zip(["", *pins], pins, strict=False))


def loads_by(simulation: Simulation) -> Mapping[str, int]:
    return Counter(pin for _, _, pin in simulation.loads)

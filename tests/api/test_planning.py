"""Which worker loads what: single decisions by hand, and whole traces in simulated time."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from fakes import MODEL
from simulated import EXEC, TAKE, TURN, Process, Request, Simulation, definition, first_come_first_served, in_turn
from tropilla.api.planning import LINGER_SECONDS, Memory, View, plan, remember
from tropilla.common.catalogue import Definition, Flavour, Trouble, Worker, catalogue
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Recipe

A, B, C = map(definition, "abc")
OWN = Definition(replace(MODEL, name="own"), Recipe("own", (File("1" * 64, 1, "own.gguf", path="/own.gguf"),)))
SWAP = 10.0
NOW = 1000.0


def worker(name: str, pin: str = "", *, flavour: Flavour = "cpu", **fields: object) -> Worker:
    model = replace(MODEL, name=pin) if pin else None
    told = Worker(name, flavour, "ready" if pin else "idle", 4, model, ordered=bool(pin))
    return replace(told, **fields)  # type: ignore[arg-type]


def view(
    *workers: Worker, waiting: dict[str, int] | None = None, stored: tuple[Definition, ...] = (A, B, C), **told: object
) -> View:
    failures = told.get("failures", {})
    assert isinstance(failures, dict)
    orders = told.get("orders", {})
    assert isinstance(orders, dict)
    return View(catalogue(workers, stored, failures=failures), waiting or {}, orders)


def long_known(seen: View) -> Memory:
    """As if it had looked like this for an hour."""
    return remember(seen, NOW - 3600, Memory())


def planned(seen: View, memory: Memory | None = None) -> dict[str, str]:
    """Worker -> the pin that it is ordered to load."""
    memory = remember(seen, NOW, long_known(seen) if memory is None else memory)
    orders = plan(seen, NOW, memory, swap_seconds=SWAP)
    assert len({name for name, _ in orders}) == len(orders), "one order per worker"
    return {name: order.definition.recipe.pin for name, order in orders if order.definition}


@pytest.mark.parametrize(
    ("seen", "orders"),
    [
        pytest.param(view(worker("w")), {}, id="nobody waits"),
        pytest.param(view(worker("w"), waiting={"a.cpu": 1}), {"w": "a"}, id="an idle worker"),
        pytest.param(view(waiting={"a.cpu": 1}), {}, id="no worker"),
        pytest.param(view(worker("w", "a"), waiting={"a.cpu": 1}, stored=(A,)), {}, id="served"),
        pytest.param(view(worker("v"), worker("w"), waiting={"a.cpu": 1, "b.cpu": 9}), {"v": "a", "w": "b"}, id="two"),
        pytest.param(view(worker("v", "a", state="loading"), waiting={"a.cpu": 1}), {}, id="being loaded"),
        pytest.param(
            view(worker("v", "b", state="draining", next_pin="a"), worker("w"), waiting={"a.cpu": 1}),
            {"w": "a"},
            id="coming when another has drained, for long: an idle one loads it now",
        ),
        pytest.param(
            view(worker("v", "b", state="draining", next_pin="a"), worker("w", "c"), waiting={"a.cpu": 1}),
            {"w": "a"},
            id="or one that is quiet",
        ),
        pytest.param(
            view(worker("v", "b", state="draining", next_pin="a"), worker("w", "c", running=1), waiting={"a.cpu": 1}),
            {},
            id="but none that is not",
        ),
        pytest.param(
            view(
                worker("v", "b", state="draining", next_pin="a", flavour="gpu"), worker("w", "c"), waiting={"a.gpu": 1}
            ),
            {},
            id="nor one that would not find who waits",
        ),
        pytest.param(
            view(worker("v"), worker("w"), waiting={"a.cpu": 1}, orders={"v": Order(A)}), {}, id="ordered already"
        ),
        pytest.param(view(worker("w"), waiting={"a.cpu": 1}, orders={"w": Order(None)}), {}, id="it has an order"),
        pytest.param(view(worker("w", state="draining"), waiting={"a.cpu": 1}), {}, id="it leaves"),
        pytest.param(
            view(worker("v"), worker("w"), waiting={"a.cpu": 1}, failures={"a": {"v": Trouble("load_failed", "")}}),
            {"w": "a"},
            id="not where it has failed",
        ),
        pytest.param(
            view(worker("v"), waiting={"a.cpu": 1}, failures={"a": {"v": Trouble("load_failed", "")}}),
            {},
            id="not until the failures run out",
        ),
        pytest.param(
            view(worker("c"), worker("g", flavour="gpu"), waiting={"a.gpu": 1}), {"g": "a"}, id="gpu for the gpu lane"
        ),
        pytest.param(
            view(worker("c"), worker("b", flavour="gpu"), waiting={"a.cpu": 1}), {"c": "a"}, id="cpu for the cpu lane"
        ),
        pytest.param(view(worker("c"), waiting={"a.gpu": 1}), {}, id="tickets that no worker could find"),
        pytest.param(
            view(
                worker("c"),
                worker("g", flavour="gpu"),
                waiting={"a.cpu": 1},
                stored=(definition("a", flavours=("gpu",)),),
            ),
            {"g": "a"},
            id="only where the recipe may be loaded",
        ),
        pytest.param(
            view(worker("v", features=("avx", "avx2")), worker("w", features=("avx",)), waiting={"a.cpu": 1}),
            {"w": "a"},
            id="what is able to do more is kept for those who need it",
        ),
        pytest.param(
            view(worker("v", own=OWN), worker("w"), waiting={"a.cpu": 1}),
            {"w": "a"},
            id="rather not where another model has its only place",
        ),
        pytest.param(
            view(worker("v"), worker("w", own=OWN), waiting={"own.cpu": 1}), {"w": "own"}, id="its own model again"
        ),
    ],
)
def test_who_is_idle_loads_what_others_wait_for(seen: View, orders: dict[str, str]) -> None:
    assert planned(seen) == orders


def test_a_worker_that_loads_its_own_model_again_is_told_of_its_own_file() -> None:
    mine, other = (replace(OWN, source=source) for source in ("mine", "other"))
    seen = view(worker("v", "x", own=other), worker("w", own=mine), waiting={"own.cpu": 1})
    memory = remember(seen, NOW, Memory())
    assert plan(seen, NOW, memory, swap_seconds=SWAP) == [("w", Order(mine))]


WAITS = {"a.cpu": 1}


@pytest.mark.parametrize(
    ("workers", "waiting", "victim"),
    [
        pytest.param((worker("v", "b"),), WAITS, "v", id="quiet"),
        pytest.param((worker("v", "k"),), WAITS, None, id="one that keeps its model"),
        pytest.param((worker("v", "b", running=1), worker("w", "c")), WAITS, "w", id="quiet before busy"),
        pytest.param((worker("v", "b"), worker("w", "c")), {**WAITS, "b.cpu": 1}, "w", id="nobody waits for it"),
        pytest.param(
            (worker("v", "b", idle_seconds=5), worker("w", "c", idle_seconds=9)), WAITS, "w", id="least recently used"
        ),
        pytest.param(
            (worker("v", "b", idle_seconds=5.1), worker("w", "c", idle_seconds=4.9, expires_in=3)),
            WAITS,
            "w",
            id="as long idle, and sooner let go of",
        ),
        pytest.param(
            (worker("v", "b", expires_in=9), worker("w", "c", expires_in=3)), WAITS, "w", id="the sooner of the two"
        ),
        pytest.param((worker("v", "b", running=4),), {**WAITS, "b.cpu": 7}, "v", id="busy: it has had its time"),
        pytest.param(
            (worker("v", "b", running=4), worker("w", "c", running=1)), WAITS, "w", id="busy: the least wanted"
        ),
        pytest.param(
            (worker("u", "b", running=4), worker("v", "b", running=4), worker("w", "c", running=1)),
            {**WAITS, "b.cpu": 2, "c.cpu": 2},
            "u",
            id="busy: not the only one of a longer queue, where another has two",
        ),
        pytest.param(
            (worker("v", "b", running=1, flavour="gpu"), worker("w", "b", running=4)),
            WAITS,
            "w",
            id="busy: of the flavour that is waited for",
        ),
        pytest.param((worker("v", "b", state="loading"),), WAITS, None, id="it loads"),
        pytest.param((worker("v", "b", state="draining", next_pin="c"),), WAITS, None, id="it makes room for another"),
    ],
)
def test_whose_model_gives_way(workers: tuple[Worker, ...], waiting: dict[str, int], victim: str | None) -> None:
    seen = view(*workers, waiting=waiting, stored=(A, B, C, definition("k", keeps=True)))
    assert planned(seen) == ({victim: "a"} if victim else {})


def test_a_name_that_keeps_its_pin_keeps_it_for_every_name_of_that_pin() -> None:
    alias = Definition(replace(MODEL, name="z", pinned_as="b"), B.recipe, keeps=True)
    assert planned(view(worker("v", "b"), waiting=WAITS, stored=(A, B, alias))) == {}


@pytest.mark.parametrize(
    ("starved", "served", "gives_way"), [(9.9, 100, False), (10, 100, True), (100, 9.9, False), (100, 10, True)]
)
def test_who_is_wanted_gives_way_after_a_bounded_while(starved: float, served: float, gives_way: bool) -> None:
    seen = view(worker("v", "b", running=1), waiting={"a.cpu": 1, "b.cpu": 1})
    memory = Memory(starving={"a": NOW - starved}, serving={"v": ("b", NOW - served)})
    assert bool(planned(seen, memory)) is gives_way


def test_a_worker_that_drains_has_a_while_to_come_to_its_end() -> None:
    seen = view(worker("v", "b", state="draining", next_pin="a"), worker("w"), waiting={"a.cpu": 1})
    assert planned(seen, Memory(starving={"a": NOW - 9.9})) == {}
    assert planned(seen, Memory(starving={"a": NOW - 10})) == {"w": "a"}


@pytest.mark.parametrize(("quiet", "served", "gives_way"), [(1.0, 1.0, True), (0.9, 1.0, False), (1.0, 0.9, False)])
def test_who_is_not_wanted_gives_way_after_a_moment(quiet: float, served: float, gives_way: bool) -> None:
    assert LINGER_SECONDS == 1.0
    memory = Memory(starving={"a": NOW}, serving={"v": ("b", NOW - served)}, quiet={"v": NOW - quiet})
    assert bool(planned(view(worker("v", "b"), waiting=WAITS), memory)) is gives_way


def test_whoever_has_not_taken_its_last_order_is_asked_after_the_others() -> None:
    seen = view(worker("v", features=("avx",)), worker("w", features=("avx", "avx2")), waiting=WAITS)
    assert planned(seen, Memory(ordered={"v": NOW - 15})) == {"w": "a"}
    assert planned(seen, Memory(ordered={"v": NOW - 30, "w": NOW - 15})) == {"v": "a"}


def test_the_longest_wait_comes_first() -> None:
    seen = view(worker("w"), waiting={"a.cpu": 9, "b.cpu": 1, "c.cpu": 5})
    assert planned(seen, Memory(starving={"a": NOW - 2, "b": NOW - 3, "c": NOW - 1})) == {"w": "b"}


@pytest.mark.parametrize(("crowded", "orders"), [(9.9, {}), (10, {"w": "a"})])
def test_a_backlog_that_stays_gets_an_idle_worker_more(crowded: float, orders: dict[str, str]) -> None:
    seen = view(worker("v", "a", running=4), worker("w"), waiting={"a.cpu": 1})
    assert planned(seen, Memory(crowded={"a": NOW - crowded})) == orders


@pytest.mark.parametrize(
    ("others", "waiting"),
    [
        ((worker("w", "b"),), {"a.cpu": 9}),
        ((worker("w", state="loading"),), {"a.cpu": 9}),
        ((worker("u", "a", state="loading"), worker("w")), {"a.cpu": 9}),
        ((worker("w"),), {"a.gpu": 9}),
    ],
    ids=["not by eviction", "nobody is idle", "one is under way", "it would not find them"],
)
def test_a_backlog_gets_no_worker_more(others: tuple[Worker, ...], waiting: dict[str, int]) -> None:
    assert planned(view(worker("v", "a", running=4, flavour="gpu"), *others, waiting=waiting)) == {}


# -- before anybody asks -----------------------------------------------------------------------------------------------

EARLY = definition("e", preload=True)


@pytest.mark.parametrize(
    ("workers", "waiting", "orders"),
    [
        ((worker("w"),), {}, {"w": "e"}),
        ((worker("w"),), WAITS, {"w": "a"}),
        ((worker("w", "a"),), {}, {}),
        ((worker("v", "e"), worker("w")), {}, {}),
        ((worker("v", "a", state="draining", next_pin="e"), worker("w")), {}, {}),
    ],
    ids=["an idle worker", "whoever waits comes first", "not by eviction", "it is there", "it is coming"],
)
def test_what_is_to_be_there_early(
    workers: tuple[Worker, ...], waiting: dict[str, int], orders: dict[str, str]
) -> None:
    assert planned(view(*workers, waiting=waiting, stored=(A, EARLY))) == orders


def look(memory: Memory, *workers: Worker) -> tuple[Memory, dict[str, str]]:
    seen = view(*workers, stored=(A, EARLY))
    memory = remember(seen, NOW, memory)
    orders = plan(seen, NOW, memory, swap_seconds=SWAP)
    return memory, {name: order.definition.recipe.pin for name, order in orders if order.definition}


def test_what_somebody_let_go_of_stays_away_until_it_is_asked_for() -> None:
    memory, _ = look(Memory(), worker("w", "e"))
    memory, _ = look(memory, worker("w", "e", state="draining"))
    for _ in range(3):
        memory, orders = look(memory, worker("w"))
        assert orders == {}
    memory, _ = look(memory, worker("w", "e"))
    memory, orders = look(memory, worker("v"))
    assert orders == {"v": "e"}, "its worker died"


def test_what_had_to_give_way_comes_back_when_there_is_room() -> None:
    memory, _ = look(Memory(), worker("w", "e"))
    memory, _ = look(memory, worker("w", "e", state="draining", next_pin="a"))
    memory, _ = look(memory, worker("w", "a", state="loading"))
    memory, _ = look(memory, worker("w", "a"))
    assert look(memory, worker("w"))[1] == {"w": "e"}


# -- traces ------------------------------------------------------------------------------------------------------------


def served(simulation: Simulation) -> None:
    """Everybody was answered once, by a worker that had the model, and in full."""
    for request in simulation.requests:
        assert not request.failed
        assert request.ended == pytest.approx(request.began + request.seconds)


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("load_seconds", [0.3, 3.0, 30.0])
def test_three_models_in_turn_on_one_worker_need_a_fifth_of_the_loads_at_the_most(
    gap: float, load_seconds: float
) -> None:
    """Nobody waits longer than the other two models' turns take, and half a turn's backlog of his own."""
    requests = in_turn("abc", rounds=30, gap=gap, seconds=0.5)
    simulation = Simulation([Process("w", load_seconds=load_seconds)], (A, B, C), requests).run()
    served(simulation)
    assert first_come_first_served(requests) == 90
    assert simulation.load_count <= 90 / 5
    turn = TURN + TAKE + EXEC + load_seconds + SWAP + 0.5
    assert max(request.waited for request in requests) <= 3 * turn


def test_never_more_loads_than_in_the_order_of_arrival_and_every_load_answers_somebody() -> None:
    for gap in (1.0, 2.0, 4.0, 8.0):
        requests = in_turn("abc", rounds=10, gap=gap, seconds=0.5)
        simulation = Simulation([Process("w", load_seconds=1.0)], (A, B, C), requests).run()
        served(simulation)
        assert simulation.load_count <= first_come_first_served(requests)


def test_whoever_asks_for_one_model_after_the_other_waits_for_loads_only() -> None:
    requests = [Request(pin, at, 0.5) for pin, at in (("a", 0), ("b", 10), ("a", 20), ("c", 30))]
    Simulation([Process("w", load_seconds=2.0)], (A, B, C), requests).run()
    assert max(request.waited for request in requests) <= TURN + TAKE + EXEC + 2.0


def test_two_models_that_alternate_on_one_worker_interrupt_no_generation() -> None:
    """One has a generation that takes a minute; whoever comes meanwhile waits for it, and for nothing else."""
    requests = [*in_turn("ab", rounds=20, gap=1.0, seconds=1.0), Request("a", 2.0, 60.0)]
    simulation = Simulation([Process("w")], (A, B), requests).run()
    served(simulation)
    assert simulation.load_count <= first_come_first_served(requests) / 5


def test_three_models_on_two_workers_share_them() -> None:
    chance = random.Random(7)
    requests = [Request(chance.choice("abc"), chance.uniform(0, 60), chance.uniform(0.2, 4)) for _ in range(100)]
    simulation = Simulation([Process("v"), Process("w")], (A, B, C), requests).run()
    served(simulation)
    assert {request.worker for request in requests} == {"v", "w"}
    assert simulation.load_count <= 20
    assert max(request.waited for request in requests) <= 2 * (SWAP + 4 + 3 + 1)


def test_a_model_that_cannot_be_loaded_starves_nobody() -> None:
    requests = in_turn("abc", rounds=20, gap=0.5, seconds=0.5)
    simulation = Simulation([Process("w", fails=frozenset("b"))], (A, B, C), requests).run()
    for request in requests:
        assert request.failed is (request.pin == "b")
    loads = Counter(pin for _, _, pin in simulation.loads)
    # Once, and not again before its failure is a minute old.
    assert loads["b"] <= 1 + simulation.now // 60
    others = [request for request in requests if request.pin != "b"]
    assert max(request.waited for request in others) <= 2 * (SWAP + 3 + 1) + 3


def test_a_model_that_one_worker_cannot_load_is_served_by_the_other() -> None:
    requests = in_turn("ab", rounds=10, gap=0.5, seconds=0.5)
    simulation = Simulation([Process("v", fails=frozenset("a")), Process("w")], (A, B), requests).run()
    served(simulation)
    assert {request.worker for request in requests if request.pin == "a"} == {"w"}


def test_a_kept_model_never_loses_its_worker() -> None:
    kept = definition("k", keeps=True, preload=True)
    requests = [Request(pin, 0.3 * place, 0.5) for place, pin in enumerate("kab" * 20)]
    simulation = Simulation([Process("v"), Process("w")], (A, B, kept), requests).run()
    served(simulation)
    assert [pin for _, _, pin in simulation.loads].count("k") == 1


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_one_load_is_under_way_for_a_model_and_nothing_thrashes(seed: int) -> None:
    chance = random.Random(seed)
    pins = "abcdef"[: chance.randint(2, 6)]
    definitions = tuple(map(definition, pins))
    processes = [
        Process(f"w{n}", load_seconds=chance.uniform(0.2, 8), slots=chance.randint(1, 4))
        for n in range(chance.randint(1, 4))
    ]
    requests = [Request(chance.choice(pins), chance.uniform(0, 90), chance.expovariate(1)) for _ in range(150)]

    def looked(now: float, seen: View, orders: list[tuple[str, Order]]) -> None:
        told = [order.definition.recipe.pin for _, order in orders if order.definition]
        assert len(set(told)) == len(told), "two workers for one model at once"
        for (name, _), pin in zip(orders, told, strict=True):
            evicts = next(w for w in seen.catalogue.workers if w.name == name).state == "ready"
            assert not (evicts and (seen.loading(pin) or seen.served(pin))), "without need"
            if seen.coming(pin):
                oldest = min(request.at for request in requests if request.pin == pin and request.began < 0)
                assert now - oldest >= SWAP, "its worker may drain in time"

    simulation = Simulation(processes, definitions, requests, looked=looked).run()
    served(simulation)
    # A worker that is taken from its model has had it for a moment at least, and each load answers somebody.
    fastest = LINGER_SECONDS + TAKE + EXEC
    assert simulation.load_count <= len(processes) * (1 + simulation.now / fastest)
    assert simulation.load_count <= len(requests)

"""The tree, against a plain list of what each slot holds."""

from __future__ import annotations

import random

import pytest
from tropilla.workers.prefixes import Copy, Drop, Match, Prefixes, common_length


class Cells:
    """What llama.cpp's unified cache would hold after the moves: slot -> position -> (token, cell)."""

    def __init__(self) -> None:
        self.slots: dict[int, dict[int, tuple[int, int]]] = {}
        self._next = 0

    def compute(self, slot: int, start: int, tokens: list[int]) -> None:
        for position, token in enumerate(tokens, start):
            assert position not in self.slots.setdefault(slot, {})
            self.slots[slot][position] = (token, self._next)
            self._next += 1

    def move(self, moves: list[Copy | Drop]) -> None:
        for move in moves:
            if isinstance(move, Copy):
                for position in range(move.start, move.stop):
                    assert position not in self.slots.setdefault(move.target, {})
                    self.slots[move.target][position] = self.slots[move.source][position]
            else:
                held = self.slots.get(move.slot, {})
                for position in [p for p in held if p >= move.start and (move.stop is None or p < move.stop)]:
                    del held[position]

    def tokens(self, slot: int) -> list[int]:
        held = self.slots.get(slot, {})
        return [held[position][0] for position in range(len(held))]

    def holders(self) -> dict[int, set[int]]:
        """Cell -> the slots that it belongs to."""
        found: dict[int, set[int]] = {}
        for slot, held in self.slots.items():
            for _, cell in held.values():
                found.setdefault(cell, set()).add(slot)
        return found

    @property
    def used(self) -> int:
        return len({cell for held in self.slots.values() for _, cell in held.values()})


class Bench:
    """A tree and the cells it speaks of."""

    def __init__(self) -> None:
        self.tree, self.cells = Prefixes(), Cells()

    def run(self, slot: int, tokens: list[int], adapter: str = "") -> int:
        """A sequence comes, shares what it can, computes the rest and publishes it; how much was shared."""
        match = self.tree.match(tokens, adapter)
        self.cells.move(self.tree.share(slot, tokens, match))
        self.cells.compute(slot, match.length, tokens[match.length :])
        self.cells.move(self.tree.publish(slot, tokens, adapter))
        assert self.cells.tokens(slot) == tokens
        return match.length

    def rest(self, slot: int) -> None:
        self.cells.move(self.tree.rest(slot))

    def check(self) -> None:
        assert self.tree.cells == self.cells.used


def test_nothing_is_resident_at_first() -> None:
    assert Prefixes().match([1, 2, 3]) == Match(0)


def test_a_published_prefix_is_found_as_far_as_it_goes() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3, 4])
    assert bench.tree.match([1, 2, 3, 4, 5]) == Match(4, 0)
    assert bench.tree.match([1, 2, 9]) == Match(2, 0)
    assert bench.tree.match([9]) == Match(0)


def test_what_two_share_has_cells_once() -> None:
    bench = Bench()
    assert bench.run(0, [1, 2, 3, 4]) == 0
    assert bench.run(1, [1, 2, 5, 6]) == 2
    assert bench.tree.cells == bench.cells.used == 6
    assert bench.run(2, [1, 2, 5, 7]) == 3
    assert bench.tree.cells == bench.cells.used == 7


def test_what_two_have_computed_at_the_same_time_is_kept_once() -> None:
    bench = Bench()
    for slot in (0, 1):
        bench.cells.compute(slot, 0, [1, 2, 3])
    for slot in (0, 1):
        bench.cells.move(bench.tree.publish(slot, [1, 2, 3]))
    bench.check()
    assert bench.cells.used == 3


def test_an_idle_slot_is_still_shared_from() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3])
    bench.rest(0)
    assert bench.tree.idle == (0,)
    assert bench.run(1, [1, 2, 3, 4]) == 3


def test_an_idle_slot_that_says_nothing_new_is_let_go_of() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3])
    bench.run(1, [1, 2, 3, 4])
    bench.rest(0)
    assert bench.tree.idle == (), "slot 1 holds all of it"
    bench.rest(1)
    bench.run(2, [1, 2, 3, 4, 5])
    bench.rest(2)
    assert bench.tree.idle == (2,), "and so does slot 2 of slot 1"
    bench.check()


def test_the_least_recently_used_goes_first() -> None:
    bench = Bench()
    for slot, first in enumerate((1, 2, 3)):
        bench.run(slot, [first, 0])
        bench.rest(slot)
    bench.run(3, [1, 9])
    evicted = []
    while (out := bench.tree.evict()) is not None:
        evicted.append(out[0])
        bench.cells.move(out[1])
        bench.check()
    assert evicted == [1, 2, 0]


def test_eviction_keeps_what_somebody_runs_on() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3, 4])
    bench.rest(0)
    bench.run(1, [1, 2, 9])
    bench.cells.move(bench.tree.evict()[1])  # type: ignore[index]
    assert bench.cells.tokens(1) == [1, 2, 9]
    assert bench.tree.match([1, 2, 3]) == Match(2, 1)
    bench.check()


def test_each_adapter_has_a_tree_of_its_own() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3])
    assert bench.tree.match([1, 2, 3], "poet") == Match(0)
    assert bench.run(1, [1, 2, 3, 4], "poet") == 0
    assert bench.run(2, [1, 2, 3, 5], "poet") == 3
    assert (bench.tree.match([1, 2, 3, 4]), bench.tree.match([1, 2, 3, 4], "poet")) == (Match(3, 0), Match(4, 1))
    assert bench.tree.cells == 3 + 4 + 1
    for slot in (0, 2, 1):
        bench.rest(slot)
    bench.check()
    # One line for all of them: the least recently used goes first, whoever computed it.
    assert (bench.tree.idle, bench.tree.idle_cells) == ((0, 2, 1), 8)
    assert bench.tree.evict() == (0, [Drop(0)])
    assert (bench.tree.match([1, 2, 3]), bench.tree.match([1, 2, 3], "poet").length) == (Match(0), 3)


def test_trimming_lets_go_of_the_end_only() -> None:
    bench = Bench()
    bench.run(0, [1, 2, 3, 4])
    bench.run(1, [1, 2, 3, 5])
    bench.tree.trim(0, 2)
    bench.cells.move([Drop(0, 2)])
    bench.check()
    assert (bench.tree.held(0), bench.tree.held(1)) == (2, 4)
    bench.tree.trim(1, 0)
    bench.cells.move([Drop(1, 0)])
    bench.check()
    assert (bench.tree.held(0), bench.tree.held(1)) == (2, 0)


@pytest.mark.parametrize("seed", range(40))
def test_the_tree_mirrors_the_cells_whatever_comes_and_goes(seed: int) -> None:
    chance, bench = random.Random(seed), Bench()
    running: dict[int, list[int]] = {}
    #: slot -> whose tree it was last in
    adapters: dict[int, str] = {}
    free = list(range(12))
    for _ in range(300):
        match chance.randrange(4):
            case 0 | 1 if free:
                slot = free.pop()
                running[slot] = [chance.randrange(3) for _ in range(chance.randint(1, 12))]
                adapters[slot] = chance.choice(["", "", "poet", "cook"])
                bench.run(slot, running[slot], adapters[slot])
            case 2 if running:
                slot = chance.choice(list(running))
                more = [chance.randrange(3) for _ in range(chance.randint(0, 4))]
                bench.cells.compute(slot, len(running[slot]), more)
                running[slot] += more
                bench.cells.move(bench.tree.publish(slot, running[slot], adapters[slot]))
            case _ if running:
                slot = chance.choice(list(running))
                del running[slot]
                bench.rest(slot)
        bench.tree.now += chance.randrange(9)
        if chance.random() < 0.3:
            gone, moves = bench.tree.fade(fresh=bench.tree.now - 20, reused=bench.tree.now - 90)
            bench.cells.move(moves)
            assert not set(gone) & {*running, *bench.tree.idle}
        free = [slot for slot in range(12) if slot not in running and slot not in bench.tree.idle]
        if not free and (out := bench.tree.evict()):
            bench.cells.move(out[1])
            free.append(out[0])
        bench.check()
        for slot, tokens in running.items():
            assert bench.cells.tokens(slot) == tokens
        for cell, holders in bench.cells.holders().items():
            assert len({adapters[slot] for slot in holders}) == 1, f"cell {cell} is of two adapters"
    for slot in list(running):
        bench.cells.move(bench.tree.release(slot))
    while (out := bench.tree.evict()) is not None:
        bench.cells.move(out[1])
    assert (bench.tree.cells, bench.cells.used) == (0, 0)


@pytest.mark.parametrize(
    ("run", "tokens", "start", "length"),
    [([], [1], 0, 0), ([1], [1], 0, 1), ([1, 2], [1, 3], 0, 1), ([2, 3], [1, 2, 3, 4], 1, 2), ([9], [1, 2], 2, 0)],
)  # fmt: skip
def test_how_much_two_runs_have_in_common(run: list[int], tokens: list[int], start: int, length: int) -> None:
    assert common_length(run, tokens, start) == length


def test_how_much_two_long_runs_have_in_common() -> None:
    for length in range(0, 300, 7):
        assert common_length([1] * length + [2] * 9, [0] * 5 + [1] * 300, 5) == length

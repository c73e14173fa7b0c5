from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from tropilla.common.terms import Newcomer
from tropilla.workers.fairness import (
    HALF_LIFE_TOKENS,
    TURN_TOKENS,
    Held,
    Shares,
    crowding,
    deserves,
    stands_aside,
    swaps,
)


@dataclass(frozen=True)
class Tenant:
    name: str
    key: str
    rank: int = 1
    nearly_done: bool = False


def shares(**tokens: int) -> Shares:
    had = Shares()
    for key, number in tokens.items():
        had.charge(key, number)
    return had


@pytest.mark.parametrize(
    ("one", "place_of", "slots", "had", "expected"),
    [
        pytest.param(Tenant("n", "a", 0), Tenant("o", "b", 1), {}, {}, True, id="more urgent"),
        pytest.param(Tenant("n", "a", 0), Tenant("o", "a", 1), {"a": 9}, {}, True, id="more urgent, of the same key"),
        pytest.param(Tenant("n", "a", 2), Tenant("o", "b", 1), {"b": 9}, {}, False, id="less urgent"),
        pytest.param(Tenant("n", "a"), Tenant("o", "a"), {"a": 9}, {}, False, id="the same key"),
        pytest.param(Tenant("n", "a"), Tenant("o", "b"), {"b": 2}, {}, True, id="two slots fewer"),
        pytest.param(Tenant("n", "a"), Tenant("o", "b"), {"a": 3, "b": 5}, {}, True, id="two fewer of many"),
        pytest.param(Tenant("n", "a"), Tenant("o", "b"), {"b": 1}, {}, False, id="one fewer"),
        pytest.param(
            Tenant("n", "a"), Tenant("o", "b"), {"b": 1}, {"b": TURN_TOKENS}, True, id="one fewer, and a turn"
        ),
        pytest.param(
            Tenant("n", "a"), Tenant("o", "b"), {"b": 1}, {"b": 400, "a": 399}, False, id="one fewer, had as much"
        ),
        pytest.param(Tenant("n", "a"), Tenant("o", "b"), {"a": 1, "b": 1}, {"b": 9999}, False, id="as many slots"),
    ],
)
def test_who_deserves_a_place_more(
    one: Tenant, place_of: Tenant, slots: dict[str, int], had: dict[str, int], expected: bool
) -> None:
    assert deserves(one, place_of, slots, shares(**had)) is expected


@pytest.mark.parametrize(
    ("slots", "about", "had", "expected"),
    [
        pytest.param({}, "", {}, "", id="nobody"),
        pytest.param({"h": 8}, "", {}, "", id="a key alone"),
        pytest.param({"h": 8}, "a", {}, "h", id="another may come"),
        pytest.param({"h": 1}, "a", {}, "", id="one slot is no crowd"),
        pytest.param({"h": 1}, "a", {"h": TURN_TOKENS}, "h", id="but for one that has had a turn"),
        pytest.param({"h": 6, "a": 2}, "b", {}, "h", id="who would get a slot of another does not crowd"),
        pytest.param({"h": 3, "g": 3, "a": 1}, "", {}, "gh", id="two keys alike"),
        pytest.param({"h": 3, "g": 2}, "b", {}, "gh", id="nearly alike"),
        pytest.param({"h": 3, "g": 2}, "b", {"h": TURN_TOKENS}, "h", id="nearly alike, and one has had a turn more"),
        pytest.param({"g": 4, "h": 4}, "", {"h": 9999}, "", id="in equal parts"),
    ],
)
def test_who_crowds(slots: dict[str, int], about: str, had: dict[str, int], expected: str) -> None:
    assert crowding(slots, {*slots, *about}, shares(**had)) == set(expected)


TENANTS = [
    pytest.param([Tenant("1", "h"), Tenant("2", "h")], "2", id="of equals the last"),
    pytest.param([Tenant("1", "h"), Tenant("2", "h", nearly_done=True)], "1", id="but for one that is nearly done"),
    pytest.param([Tenant("1", "h", nearly_done=True), Tenant("2", "l")], "", id="nor another in his stead"),
    pytest.param([Tenant("1", "x", 2), *(Tenant(n, "h") for n in "234")], "1", id="the least urgent first"),
    pytest.param([Tenant("1", "x", 2, nearly_done=True), Tenant("2", "l")], "1", id="even if it is nearly done"),
    pytest.param([Tenant("1", "h"), Tenant("2", "l"), Tenant("3", "h"), Tenant("4", "m")], "3", id="of the heaviest"),
    pytest.param([Tenant("1", "h"), Tenant("2", "l")], "", id="nobody"),
    pytest.param([], "", id="nobody is there"),
]


@pytest.mark.parametrize(("tenants", "chosen"), TENANTS)
def test_who_stands_aside(tenants: list[Tenant], chosen: str) -> None:
    slots = Counter(each.key for each in tenants)
    found = stands_aside(Tenant("n", "new"), tenants, slots, Shares())
    assert (found.name if found else "") == chosen


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_moved_to_and_fro(seed: int) -> None:
    """However slots are shared and whatever keys have had: exchanges come to an end without anybody computing a token."""
    chance = random.Random(seed)
    everybody = [Tenant(str(n), chance.choice("aaaabc"), chance.randrange(3)) for n in range(12)]
    had = shares(**{key: chance.randrange(3 * TURN_TOKENS) for key in "abc"})
    running, waiting = everybody[:5], everybody[5:]
    for _ in range(50):
        slots = Counter(each.key for each in running)
        pairs = [(one, stands_aside(one, running, slots, had)) for one in waiting]
        swap = next(((one, other) for one, other in pairs if other is not None), None)
        if swap is None:
            return
        running = [each for each in running if each is not swap[1]] + [swap[0]]
        waiting = [each for each in waiting if each is not swap[0]] + [swap[1]]
    raise AssertionError("it goes on for ever")


def test_what_a_key_had_counts_less_and_less() -> None:
    had = shares(a=1000, b=1)
    had.charge("c", HALF_LIFE_TOKENS)
    assert (had.of("a"), had.of("b"), had.of("c")) == (500, 0, HALF_LIFE_TOKENS / 2)


def held(names: str, key: str, rank: int = 1, **more: bool) -> list[Held]:
    return [Held(name, key, rank, **more) for name in names]  # type: ignore[arg-type]


HEAVY = [*held("12", "h"), *held("345", "h", waits=True)]


@pytest.mark.parametrize(
    ("here", "newcomers", "expected"),
    [
        pytest.param(HEAVY, [Newcomer("n", "m.cpu", "l")], ["5n"], id="the last of the heavy key"),
        pytest.param(HEAVY, [Newcomer("n", "m.cpu", "h")], [], id="not for his own"),
        pytest.param(HEAVY, [Newcomer(n, "m.cpu", n) for n in "abcd"], ["5a", "4b", "3c"], id="one each, in turn"),
        pytest.param(HEAVY, [Newcomer(n, "m.cpu", "l") for n in "abcd"], ["5a", "4b"], id="until shares are alike"),
        pytest.param(
            HEAVY,
            [Newcomer("n", "m.cpu", "l"), Newcomer("u", "m.cpu", "h", "interactive")],
            ["5u", "4n"],
            id="the urgent first",
        ),
        pytest.param(HEAVY, [Newcomer("n", "m.cpu", "l", "batch")], [], id="nobody for the less urgent"),
        pytest.param(
            [*held("1", "h"), *held("2", "h", waits=True), *held("3", "h", waits=True, begun=True)],
            [Newcomer("n", "m.cpu", "l")],
            ["2n"],
            id="rather what has not been begun",
        ),
        pytest.param(
            [Held("1", "h", 1, choices=2), *held("2", "l", waits=True), *held("3", "h", waits=True)],
            [Newcomer("n", "m.cpu", "new")],
            ["3n"],
            id="choices count",
        ),
        pytest.param(held("12", "h"), [Newcomer("n", "m.cpu", "l")], [], id="nobody without a slot"),
    ],
)
def test_for_whom_those_that_wait_here_are_handed_back(
    here: list[Held], newcomers: list[Newcomer], expected: list[str]
) -> None:
    found = swaps(here, newcomers, Shares())
    assert [swap.request_id + swap.newcomer.request_id for swap in found] == expected

"""Who goes first where too many want a worker, and who stands aside for whom. Pure.

More urgent requests go before less urgent ones, always, and take their places at once. Among those that are equally
urgent the keys share the slots: whoever waits gets the place of a key that has at least two slots more than his own (so
that moving one makes the shares more alike, and nothing is moved back), or one slot more and `TURN_TOKENS` more tokens
lately (so that keys take turns where slots are fewer than keys). Nobody stands aside for his own key.

The rule serves three times: in the scheduler for slots, among the sequences that are here; there again for steps, where
the prompt of a key that would have to give a slot away is passed over; and in the usher (usher.py) for the ticket holders'
places, between the requests that are here without a slot and those that have just come into the room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tropilla.common.terms import PRIORITIES, Newcomer, Priority

#: Keys that share one slot change places after so many tokens.
TURN_TOKENS = 256
#: After so many tokens of all keys, what each has had counts for half.
HALF_LIFE_TOKENS = 16_384


class Claim(Protocol):
    """What wants a slot. `rank` is its urgency: 0 is the most urgent."""

    @property
    def key(self) -> str: ...
    @property
    def rank(self) -> int: ...


class Tenant(Claim, Protocol):
    """What has a slot."""

    @property
    def nearly_done(self) -> bool: ...


AnyTenant = TypeVar("AnyTenant", bound=Tenant)


def rank(priority: Priority) -> int:
    return PRIORITIES.index(priority)


class Shares:
    """How many tokens each key has had of a worker lately."""

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self._since_halving = 0

    def charge(self, key: str, tokens: int) -> None:
        self._tokens[key] = self.of(key) + tokens
        self._since_halving += tokens
        if self._since_halving >= HALF_LIFE_TOKENS:
            self._since_halving = 0
            self._tokens = {key: had / 2 for key, had in self._tokens.items() if had >= 2}

    def of(self, key: str) -> float:
        return self._tokens.get(key, 0.0)


def standing(claim: Claim, slots: Mapping[str, int], shares: Shares) -> tuple[int, int, int]:
    """The smaller, the earlier; equals go in the order of their arrival. slots: how many each key has."""
    return claim.rank, slots.get(claim.key, 0), int(shares.of(claim.key) // TURN_TOKENS)


def deserves(one: Claim, place_of: Claim, slots: Mapping[str, int], shares: Shares) -> bool:
    """Whether one who waits is to have the place of one who has it."""
    if one.rank != place_of.rank or one.key == place_of.key:
        return one.rank < place_of.rank
    return _has_more(place_of.key, one.key, slots, shares)


def crowding(slots: Mapping[str, int], about: Iterable[str], shares: Shares) -> set[str]:
    """The keys that would give a slot to another of those about, if it asked for one, and that nobody would give one to.
    slots: of the keys that have any; about: those, and whoever may come at any moment.
    """

    def weight(key: str) -> tuple[int, float]:
        return slots.get(key, 0), shares.of(key)

    if not slots:
        return set()
    lightest, heaviest = min(about, key=weight), max(slots, key=weight)
    return {
        key for key in slots if _has_more(key, lightest, slots, shares) and not _has_more(heaviest, key, slots, shares)
    }


def least(tenants: Iterable[AnyTenant], slots: Mapping[str, int], shares: Shares) -> AnyTenant | None:
    """Who of those that have a place deserves it least; of equals the last."""
    chosen = None
    for tenant in tenants:
        if chosen is None or _weight(tenant, slots, shares) >= _weight(chosen, slots, shares):
            chosen = tenant
    return chosen


def stands_aside(
    one: Claim, tenants: Iterable[AnyTenant], slots: Mapping[str, int], shares: Shares
) -> AnyTenant | None:
    """Whose slot one who waits is to have; None where he has to wait. Who is nearly done is left alone, unless the one
    who waits is more urgent.
    """
    present = [each for each in tenants if each.rank > one.rank or not each.nearly_done]
    found = least(present, slots, shares)
    return found if found is not None and deserves(one, found, slots, shares) else None


def _has_more(key: str, than: str, slots: Mapping[str, int], shares: Shares) -> bool:
    """So much that a slot is to be moved."""
    more = slots.get(key, 0) - slots.get(than, 0)
    return more > 1 or (more == 1 and shares.of(key) - shares.of(than) >= TURN_TOKENS)


def _weight(claim: Claim, slots: Mapping[str, int], shares: Shares) -> tuple[int, int, float]:
    return claim.rank, slots.get(claim.key, 0), shares.of(claim.key)


# -- places of ticket holders ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """One request that a ticket holder minds: of `choices` that have not ended. waits: none of them has a slot, so that it
    can be handed back at no cost. begun: some of its answer is there already.
    """

    request_id: str
    key: str
    rank: int
    choices: int = 1
    waits: bool = False
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Swap:
    """The newcomer is to have the place of the request."""

    request_id: str
    newcomer: Newcomer


def swaps(held: Iterable[Held], newcomers: Iterable[Newcomer], shares: Shares) -> list[Swap]:
    """For whom those that wait here are to be handed back, the most deserving newcomer first. Both in the order of their
    arrival; every place is taken.
    """
    here, there, found = list(held), list(newcomers), list[Swap]()
    slots = Counter[str]()
    for one in here:
        slots[one.key] += one.choices
    while there:
        newcomer = min(there, key=lambda each: standing(_Come(each), slots, shares))
        idle = [one for one in here if one.waits]
        # What has not been begun is handed back more cheaply.
        chosen = max(
            enumerate(idle),
            key=lambda each: (*_weight(each[1], slots, shares), not each[1].begun, each[0]),
            default=None,
        )
        if chosen is None or not deserves(_Come(newcomer), chosen[1], slots, shares):
            break
        leaving = chosen[1]
        found.append(Swap(leaving.request_id, newcomer))
        here.remove(leaving)
        there.remove(newcomer)
        slots[leaving.key] -= leaving.choices
        slots[newcomer.key] += 1
    return found


@dataclass(frozen=True, slots=True)
class _Come:
    newcomer: Newcomer

    @property
    def key(self) -> str:
        return self.newcomer.key

    @property
    def rank(self) -> int:
        return rank(self.newcomer.priority)

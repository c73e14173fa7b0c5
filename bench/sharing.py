"""How a server's tokens are shared: who asks when, what each key's fair part is, and how far from it they were. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LIGHT_KEYS = 9
#: The heavy key asks so many times as often as a light one.
HEAVY_TIMES = 50
#: What all light keys together ask for, of what the server can do. With the heavy key it is 1.3 times that.
LIGHT_LOAD = 0.2
HEAVY = "heavy"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a key, so many seconds after the beginning."""

    at: float
    key: str


def light_keys() -> list[str]:
    return [f"light-{number}" for number in range(LIGHT_KEYS)]


def arrivals(keys: Mapping[str, float], seconds: float, seed: str) -> list[Arrival]:
    """Each key asks at random, so many times a second on average, whatever has become of its earlier requests. A key's
    times are the same whoever else asks.
    """
    found: list[Arrival] = []
    for key, rate in keys.items():
        chance, at = random.Random(f"{seed} {key}"), 0.0
        while (at := at + chance.expovariate(rate)) < seconds:
            found.append(Arrival(at, key))
    return sorted(found, key=lambda arrival: arrival.at)


def fair_parts(asked: Mapping[str, float], given: float) -> dict[str, float]:
    """Max-min fair: nobody gets more than he asks for, and nobody less than another who would have had more."""
    parts: dict[str, float] = {}
    left = given
    for number, (key, wanted) in enumerate(sorted(asked.items(), key=lambda item: item[1])):
        parts[key] = min(wanted, left / (len(asked) - number))
        left -= parts[key]
    return parts


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1 where all are alike, 1/n where one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def fairness(asked: Mapping[str, float], had: Mapping[str, float]) -> float:
    """Jain's index of what each key had, of its fair part of what all had."""
    parts = fair_parts(asked, sum(had.values()))
    return jain([had.get(key, 0.0) / part for key, part in parts.items() if part])

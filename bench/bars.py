"""A bar and whether two series of measurements take it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

SIGNS = {"at least": "≥", "at most": "≤"}


@dataclass(frozen=True, slots=True)
class Bar:
    """Ours over theirs, or ours less theirs, has to be at least or at most this."""

    measure: Literal["ratio", "difference"]
    sense: Literal["at least", "at most"]
    limit: float

    def value(self, ours: float, theirs: float) -> float:
        return ours / theirs if self.measure == "ratio" else ours - theirs

    def met(self, value: float) -> bool:
        return value >= self.limit if self.sense == "at least" else value <= self.limit

    def shown(self, value: float) -> str:
        return f"{value:.2f}" if self.measure == "ratio" else f"{value:+.1f}"

    def __str__(self) -> str:
        return f"{SIGNS[self.sense]} {self.shown(self.limit)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell of one model over all rounds: medians against medians, and what single rounds said."""

    bar: Bar
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def value(self) -> float:
        return self.bar.value(median(self.ours), median(self.theirs))

    @property
    def by_round(self) -> tuple[float, ...]:
        return tuple(self.bar.value(own, other) for own, other in zip(self.ours, self.theirs, strict=True))

    @property
    def met(self) -> bool:
        return self.bar.met(self.value)


def spread(values: Sequence[float]) -> str:
    """Median and range, as many digits as mean something."""
    digits = 0 if median(values) >= 100 else 1
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({least}..{most})" if len(values) > 1 else middle

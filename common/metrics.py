"""What is counted, and where: in memory while it happens, once a second in Redis, where all processes add up.

A count is a number that only grows. A histogram is a count for each of its buckets, under the bucket's upper bound, and
one for the sum of what was observed; adding histograms of different bounds is then a matter of the reader's. Names are the
house's own: a page gives them the names its readers expect.
"""

from __future__ import annotations

import bisect
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: Upper bounds of times in seconds: 0.15 ms to 146 s, each half as much again (TGI's own).
SECONDS = tuple(0.0001 * 1.5**k for k in range(1, 36))
#: Of how many sequences a step computes.
SIZES = tuple(float(2**k) for k in range(11))
SUM = "sum"
REST = "+Inf"


@functools.cache
def hundredths(most: int) -> tuple[float, ...]:
    """Upper bounds of counts of tokens: each hundredth of the most there can be."""
    return tuple(most * k / 100 for k in range(1, 101))


class Key(NamedTuple):
    """One number. `label` is the value of the metric's only label, if it has one; `place` of a histogram is a bound as
    text, `REST` or `SUM`. `model` is "" where none is known.
    """

    name: str
    model: str = ""
    label: str = ""
    place: str = ""


Counts = Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Load:
    """What one worker is computing now: sequences in its last step, tokens they may reach, and tokens they have."""

    model: str
    sequences: int = 0
    most_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that was counted, by all processes since the beginning, and the state of things: `waiting` tickets
    of each model, and what each worker is doing.
    """

    counts: Counts = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    loads: tuple[Load, ...] = ()

    def of(self, model: str) -> Reading:
        """What of it is one model's."""
        counts = {key: amount for key, amount in self.counts.items() if key.model == model}
        loads = tuple(load for load in self.loads if load.model == model)
        return Reading(counts, {model: self.waiting.get(model, 0)}, loads)


class Tally:
    """Counts of this process that nobody has taken yet. Safe to share between threads."""

    def __init__(self) -> None:
        self._counts: dict[Key, float] = {}
        self._lock = threading.Lock()

    def count(self, name: str, model: str = "", *, label: str = "", amount: float = 1) -> None:
        with self._lock:
            self._add(Key(name, model, label), amount)

    def observe(self, name: str, value: float, bounds: Sequence[float], model: str = "", *, label: str = "") -> None:
        """Counts the value in the first bucket whose bound it does not exceed."""
        at = bisect.bisect_left(bounds, value)
        place = repr(float(bounds[at])) if at < len(bounds) else REST
        with self._lock:
            self._add(Key(name, model, label, place), 1)
            self._add(Key(name, model, label, SUM), value)

    def flush(self, add: Callable[[Counts], None]) -> None:
        """Hands over what was counted since the last time. Where that raises, nothing is lost: the next time takes it."""
        with self._lock:
            taken, self._counts = self._counts, {}
        if not taken:
            return
        try:
            add(taken)
        except BaseException:
            with self._lock:
                for key, amount in taken.items():
                    self._add(key, amount)
            raise

    def _add(self, key: Key, amount: float) -> None:
        self._counts[key] = self._counts.get(key, 0.0) + amount

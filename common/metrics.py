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
#: The bounds that OpenTelemetry's conventions for generative AI name: of whole requests, of the time to the first token, of
#: the time for each further one, and of tokens.
DURATIONS = tuple(0.01 * 2**k for k in range(14))
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(float(4**k) for k in range(14))
#: How long a request waits, from a queue that nobody is in to one that lasts an hour.
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
#: Between two tokens of one answer: finer than `EACH_TOKEN`, which begins where a GPU has ended.
BETWEEN_TOKENS = (
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)
#: What loading a model, or letting go of one, takes.
LOADS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: Of how many sequences a step computes.
SIZES = tuple(float(2**k) for k in range(11))
SUM = "sum"
REST = "+Inf"


@functools.cache
def hundredths(most: int) -> tuple[float, ...]:
    """Upper bounds of counts of tokens: each hundredth of the most there can be."""
    return tuple(most * k / 100 for k in range(1, 101))


class Key(NamedTuple):
    """One number. `label` is the value of the metric's label beside the model, if it has one, several with commas between;
    `place` of a histogram is a bound as text, `REST` or `SUM`. `model` is "" where none is known.
    """

    name: str
    model: str = ""
    label: str = ""
    place: str = ""


Counts = Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Load:
    """What one worker is computing now: sequences in its last step, tokens they may reach, and tokens they have. `slots`
    and `cells` (of the KV cache) are what it has, `running` and `used` what of them is taken: cells also by idle prefixes.
    """

    model: str
    sequences: int = 0
    most_tokens: int = 0
    tokens: int = 0
    running: int = 0
    slots: int = 0
    #: Sequences that were taken and wait here for a slot.
    waiting: int = 0
    used: int = 0
    cells: int = 0
    #: Who says so; whoever reads it fills it in.
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """Of one model, flavour and class: how many wait, and how long the first of them has, in seconds of Redis's clock."""

    model: str
    flavour: str
    priority: str
    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How the cluster stands, beside its workers. Bytes of a Redis without a limit are 0 of `redis_limit`; `disk` is what
    is left of the store's, and its size, None where no store says so. `version`: of the process that has asked.
    """

    round_trip_seconds: float = 0.0
    redis_used: int = 0
    redis_limit: int = 0
    api_processes: int = 0
    stores: int = 0
    dead: int = 0
    disk: tuple[int, int] | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that was counted, by all processes since the beginning, and the state of things: who waits, what each
    worker is doing, and how the cluster stands, which is no single model's.
    """

    counts: Counts = field(default_factory=dict)
    queued: tuple[Queued, ...] = ()
    loads: tuple[Load, ...] = ()
    standing: Standing | None = None

    @property
    def waiting(self) -> int:
        """Requests."""
        return sum(queue.count for queue in self.queued)

    def of(self, model: str) -> Reading:
        """What of it is one model's."""
        counts = {key: amount for key, amount in self.counts.items() if key.model == model}
        queued = tuple(queue for queue in self.queued if queue.model == model)
        return Reading(counts, queued, tuple(load for load in self.loads if load.model == model))


class Tally:
    """Counts of this process that nobody has taken yet. Safe to share between threads."""

    def __init__(self) -> None:
        self._counts: dict[Key, float] = {}
        self._lock = threading.Lock()

    def count(self, name: str, model: str = "", *, label: str = "", amount: float = 1) -> None:
        with self._lock:
            self._add(Key(name, model, label), amount)

    def observe(
        self, name: str, value: float, bounds: Sequence[float], model: str = "", *, label: str = "", times: int = 1
    ) -> None:
        """Counts the value, so many times, in the first bucket whose bound it does not exceed."""
        at = bisect.bisect_left(bounds, value)
        place = repr(float(bounds[at])) if at < len(bounds) else REST
        with self._lock:
            self._add(Key(name, model, label, place), times)
            self._add(Key(name, model, label, SUM), value * times)

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

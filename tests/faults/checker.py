"""What clients heard, beside what they should have heard: every index, every pause, every journal. Pure."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from faults.script import Script, indices
from tropilla.common.generation import Event, Failed, Finished, Token

#: Of a gap in a stream, so much may lie before the worker was lost: what was under way then.
UNDER_WAY_SECONDS = 0.25


@dataclass(frozen=True)
class Asked:
    """One request of a run. `dialect` is a path."""

    dialect: str
    stream: bool
    prompt: str
    seed: int
    tokens: int


@dataclass
class Heard:
    """What came of it. `pieces`: the texts of the answer's parts in their order; `arrivals`: when they came, in seconds of
    the run's clock. `last`: the answer said that it was complete. `error`: what it ended with instead.
    """

    asked: Asked
    began: float
    request_id: str = ""
    pieces: list[str] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    #: As the dialect numbers its parts, where it does, from 0.
    numbers: list[int] = field(default_factory=list)
    last: bool = False
    error: str = ""
    ended: float = 0.0
    #: What the request's journal said when its answer was over.
    journal: list[Event] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Loss:
    """A worker was taken away while it ran these requests."""

    at: float
    worker: str
    requests: tuple[str, ...]


@dataclass(frozen=True)
class Pause:
    """The longest silence of one stream around one loss or several."""

    request_id: str
    losses: int
    seconds: float


def verdict(heard: Heard) -> list[str]:
    """What is wrong with an answer by the script: nothing, or a word for each kind."""
    if heard.error:
        return [f"error: {heard.error}"]
    asked = heard.asked
    expected = Script(asked.prompt.encode(), asked.seed).words(asked.tokens)
    wrong = _numbering(indices(heard.text), asked.tokens)
    if not wrong and heard.text != "".join(expected):
        wrong.append("other words")
    if heard.numbers and heard.numbers != list(range(len(heard.numbers))):
        wrong.append("the dialect's own numbers have a gap")
    if not heard.last:
        wrong.append("no end")
    return wrong


def _numbering(found: Sequence[int], count: int) -> list[str]:
    times = Counter(found)
    wrong = []
    if lost := [index for index in range(count) if index not in times]:
        wrong.append(f"lost {_few(lost)}")
    if repeated := [index for index, often in times.items() if often > 1]:
        wrong.append(f"repeated {_few(repeated)}")
    if strange := [index for index in times if index >= count]:
        wrong.append(f"too many {_few(strange)}")
    if not wrong and list(found) != sorted(found):
        wrong.append("out of order")
    return wrong


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:3]))
    return shown if len(numbers) <= 3 else f"{shown} and {len(numbers) - 3} more"


def journalled(heard: Heard) -> list[str]:
    """What is wrong with a journal beside what its client heard."""
    wrong = []
    if [event.index for event in heard.journal] != list(range(len(heard.journal))):
        wrong.append("the journal's indices have a gap")
    if len([event for event in heard.journal if isinstance(event, Finished | Failed)]) != 1:
        wrong.append("the journal has not one end")
    if not heard.error and heard.text != "".join(event.text for event in heard.journal if isinstance(event, Token)):
        wrong.append("the journal says other words than its client heard")
    return wrong


def pauses(all_heard: Iterable[Heard], losses: Sequence[Loss], usual_seconds: float) -> list[Pause]:
    """The silences that losses cost, beyond what a stream is silent between two of its parts anyway.

    Only of streams whose client had heard something by then: before that there is nothing to be interrupted.
    """
    times: dict[str, list[float]] = {}
    for loss in losses:
        for request_id in loss.requests:
            times.setdefault(request_id, []).append(loss.at)
    found = []
    for heard in all_heard:
        if heard.asked.stream and heard.request_id in times:
            found += _pauses(heard, times[heard.request_id], usual_seconds)
    return found


def _pauses(heard: Heard, times: Sequence[float], usual_seconds: float) -> list[Pause]:
    """One for each gap that a loss lies in; the largest that begins soon after it, where the kernel still had something."""
    arrivals = heard.arrivals
    by_gap: dict[int, int] = {}
    for at in times:
        if not arrivals or not arrivals[0] <= at < arrivals[-1]:
            continue
        first = bisect.bisect_right(arrivals, at) - 1
        last = bisect.bisect_right(arrivals, at + UNDER_WAY_SECONDS)
        gap = max(range(first, min(last, len(arrivals) - 1)), key=lambda i: arrivals[i + 1] - arrivals[i])
        by_gap[gap] = by_gap.get(gap, 0) + 1
    return [
        Pause(heard.request_id, count, max(0.0, arrivals[gap + 1] - arrivals[gap] - usual_seconds))
        for gap, count in by_gap.items()
    ]


def share(values: Sequence[float], part: float) -> float:
    """The smallest value that at least this part of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


def spread(values: Sequence[float]) -> dict[str, float]:
    """Of durations in seconds: how many, and the middle, the worst of a hundred, the worst."""
    if not values:
        return {"count": 0}
    figures = {"p50": share(values, 0.5), "p99": share(values, 0.99), "max": max(values)}
    return {"count": len(values), **{name: round(value, 4) for name, value in figures.items()}}


def gaps(arrivals: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(arrivals)]

"""Prometheus's text format, version 0.0.4: families of samples in, the page out. Pure.

Written by hand: prometheus_client would add `_total` to every counter, and TGI has none; and its registry counts in one
process, where ours has all of them in Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tropilla.common.metrics import REST, SUM

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
#: Label and value, in the order in which they are told.
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. `suffix` is a histogram's."""

    labels: Labels
    value: float
    suffix: Literal["", "_bucket", "_sum", "_count"] = ""


@dataclass(frozen=True, slots=True)
class Family:
    """What has one name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


def page(families: Iterable[Family]) -> str:
    """Families without a sample are not told of: nobody knows yet which there will be."""
    return "".join(f"{line}\n" for family in families if family.samples for line in _lines(family))


def histogram(labels: Labels, places: Mapping[str, float], bounds: Sequence[float]) -> tuple[Sample, ...]:
    """places: counts as `metrics.Tally` has them. What was observed under other bounds counts at the next one."""
    return tuple(_histogram(labels, places, bounds))


def _histogram(labels: Labels, places: Mapping[str, float], bounds: Sequence[float]) -> Iterator[Sample]:
    observed = sorted((float(place), count) for place, count in places.items() if place not in (SUM, REST))
    total, at = 0.0, 0
    for bound in bounds:
        while at < len(observed) and observed[at][0] <= bound:
            total += observed[at][1]
            at += 1
        yield Sample((*labels, ("le", f"{bound:.10g}")), total, "_bucket")
    everything = sum(count for place, count in places.items() if place != SUM)
    yield Sample((*labels, ("le", REST)), everything, "_bucket")
    yield Sample(labels, places.get(SUM, 0.0), "_sum")
    yield Sample(labels, everything, "_count")


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        told = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
        yield f"{family.name}{sample.suffix}{f'{{{told}}}' if told else ''} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')

"""A page of /metrics on which everything stands that can."""

from __future__ import annotations

from dataclasses import replace

from fakes import WORKER
from prometheus_client.parser import text_string_to_metric_families
from tropilla.api.counted import COUNTED
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.tgi.metrics import METRICS, metrics
from tropilla.common.catalogue import Catalogue, Sign
from tropilla.common.metrics import SUM, Key, Load, Queued, Reading, Standing
from tropilla.common.settings import Settings


def page() -> str:
    counts: dict[Key, float] = {}
    for metric in METRICS:
        label = "decode" if metric.label else ""
        for place in ("+Inf", SUM) if metric.buckets else ("",):
            counts[Key(metric.name, "m", label, place)] = 1.0
    for counted in COUNTED:
        label = ",".join(f"some-{name}" for name in counted.labels)
        for place in ("+Inf", SUM) if counted.bounds else ("",):
            counts[Key(counted.key, "m" if counted.model else "", label, place)] = 1.0
    reading = Reading(
        counts,
        (Queued("m", "cpu", "normal", 1, 2.0),),
        (Load("m", 1, 2, 3, worker=WORKER.name),),
        Standing(disk=(1, 2), version="1"),
    )
    around = Surroundings(Catalogue((replace(WORKER, resident_bytes=1, sign=Sign(1.0, 0.1)),)), Settings(), 0.0)
    return str(metrics(around, reading).body)


def names() -> frozenset[str]:
    """Of every sample, as a query may name it."""
    found = text_string_to_metric_families(page())
    return frozenset(sample.name for family in found for sample in family.samples)

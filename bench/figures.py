"""A record of what was seen -> the figures that are compared. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from bench.jobs import Record, Seen

Figures = Mapping[str, float]
MILLISECONDS = 1000.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def decode(record: Record) -> Figures:
    """`decode`: tokens/s from the last stream's first token to the first stream's last; `overall`: from start to end."""
    begin = max(seen.first for seen in record.requests)
    end = min(seen.last for seen in record.requests)
    within = sum(
        count
        for seen in record.requests
        for when, count in zip(seen.arrivals, seen.tokens, strict=True)
        if begin < when <= end
    )
    # Streams that never ran side by side have no common phase; what they did together is then all there is.
    together = within / (end - begin) if end > begin else 0.0
    return {"decode": together or overall(record), "overall": overall(record)}


def throughput(record: Record) -> Figures:
    return {
        "overall": overall(record),
        "requests_per_second": len(record.requests) / _wall(record),
        "wall_seconds": _wall(record),
        "ttft_p50_ms": median(_ttfts(record)),
        "cached_tokens": float(sum(seen.cached or 0 for seen in record.requests)),
    }


def first_token(record: Record) -> Figures:
    times = _ttfts(record)
    return {"ttft_p50_ms": median(times), "ttft_p99_ms": percentile(times, 0.99), "ttft_least_ms": min(times)}


def interruption(record: Record) -> Figures:
    """What running streams feel while one more prompt is being taken in."""
    intruder = record.intruder
    assert intruder is not None
    felt = [
        (after - before) * MILLISECONDS
        for seen in record.requests
        for before, after in zip(seen.arrivals, seen.arrivals[1:], strict=False)
        if after > intruder.sent and before < intruder.first
    ]
    return {
        "interval_p99_ms": percentile(felt, 0.99),
        "interval_p50_ms": median(felt),
        "intervals": float(len(felt)),
        "intruder_ttft_ms": (intruder.first - intruder.sent) * MILLISECONDS,
        "streams_that_ended_before": float(sum(seen.last < intruder.first for seen in record.requests)),
    }


def overall(record: Record) -> float:
    return sum(seen.count for seen in record.requests) / _wall(record)


def _wall(record: Record) -> float:
    return max(seen.last for seen in record.requests) - min(seen.sent for seen in record.requests)


def _ttfts(record: Record) -> list[float]:
    return list(_milliseconds(record.requests))


def _milliseconds(requests: Sequence[Seen]) -> Iterator[float]:
    for seen in requests:
        yield (seen.first - seen.sent) * MILLISECONDS

"""GET /metrics: what was counted, under TGI's own names (sheet, section 13), and behind that under the house's.

Buckets of tokens are hundredths of a model's context. Where models of several contexts are told together, the buckets are
those of the largest, and what was observed of another counts at the upper bound of its own bucket.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tropilla.api.exposition import CONTENT_TYPE, Family, Kind, Sample, histogram, page
from tropilla.api.families import families
from tropilla.api.surface import Reply, Surroundings
from tropilla.api.surfaces.tgi.limits import max_input_tokens
from tropilla.common.catalogue import Catalogue
from tropilla.common.metrics import SECONDS, SIZES, Reading, hundredths

Buckets = Literal["seconds", "sizes", "input", "total"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`tgi_` and the house's name are TGI's name. `label` is the name of its only label; `buckets` make it a histogram."""

    name: str
    help: str
    label: str = ""
    buckets: Buckets | None = None


METRICS: tuple[Metric, ...] = (
    Metric("request_count", "Generations asked for."),
    Metric("request_success", "Generations that were answered."),
    Metric("request_failure", "Generations that were not, by reason.", "err"),
    Metric("request_duration", "Seconds from receipt to the last token.", buckets="seconds"),
    Metric("request_validation_duration", "Seconds from receipt to the queue.", buckets="seconds"),
    Metric("request_queue_duration", "Seconds in which nothing was computed.", buckets="seconds"),
    Metric("request_inference_duration", "Seconds of prefill and decoding.", buckets="seconds"),
    Metric("request_mean_time_per_token_duration", "Seconds of inference per token.", buckets="seconds"),
    Metric("request_generated_tokens", "Tokens of an answer.", buckets="total"),
    Metric("request_input_length", "Tokens of a prompt.", buckets="input"),
    Metric("request_max_new_tokens", "Tokens an answer might have had.", buckets="total"),
    Metric("request_skipped_tokens", "Tokens of a prompt that were resident.", buckets="input"),
    Metric("batch_inference_count", "Steps begun.", "method"),
    Metric("batch_inference_success", "Steps done.", "method"),
    Metric("batch_inference_failure", "Steps that broke.", "method"),
    Metric("batch_inference_duration", "Seconds of a step.", "method", "seconds"),
    Metric("batch_forward_duration", "Seconds of a step's forward pass.", "method", "seconds"),
    Metric("batch_decode_duration", "Seconds of a step's drawing of tokens.", "method", "seconds"),
    Metric("batch_filter_duration", "Seconds in which what has ended left the batch.", "method", "seconds"),
    Metric("batch_concat_duration", "Seconds in which the batch of a step was made.", "method", "seconds"),
    Metric("batch_concat", "Steps whose batch others joined.", "reason"),
    Metric("batch_next_size", "Sequences that joined a batch together.", buckets="sizes"),
)


def metrics(surroundings: Surroundings, reading: Reading) -> Reply:
    catalogue = surroundings.catalogue
    told = page([*_gauges(reading), *_counted(reading, _context(catalogue)), *families(catalogue, reading)])
    return Reply(told, headers={"Content-Type": CONTENT_TYPE})


def _context(catalogue: Catalogue) -> int:
    return max((model.context_length for model in catalogue.models), default=1)


def _gauges(reading: Reading) -> Iterator[Family]:
    loads = reading.loads
    for name, help_text, value in (
        ("queue_size", "Requests waiting for a worker.", reading.waiting),
        ("batch_current_size", "Sequences being computed.", sum(load.sequences for load in loads)),
        ("batch_current_max_tokens", "Tokens they may come to.", sum(load.most_tokens for load in loads)),
        ("batch_total_tokens", "Tokens they have.", sum(load.tokens for load in loads)),
    ):
        yield Family(f"tgi_{name}", "gauge", help_text, (Sample((), value),))


def _counted(reading: Reading, context: int) -> Iterator[Family]:
    """The models of one name and label are added up."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    for key, amount in reading.counts.items():
        found[key.name][key.label][key.place] += amount
    for metric in METRICS:
        series = found.get(metric.name, {})
        if not metric.label and not metric.buckets:
            # A counter nothing was added to is 0, where it is known which counter that is.
            series = series or {"": {"": 0.0}}
        kind: Kind = "histogram" if metric.buckets else "counter"
        samples = (sample for label in sorted(series) for sample in _samples(metric, label, series[label], context))
        yield Family(f"tgi_{metric.name}", kind, metric.help, tuple(samples))


def _samples(metric: Metric, label: str, places: Mapping[str, float], context: int) -> tuple[Sample, ...]:
    labels = ((metric.label, label),) if metric.label else ()
    if metric.buckets:
        return histogram(labels, places, _bounds(metric.buckets, context))
    return (Sample(labels, places[""]),)


def _bounds(buckets: Buckets, context: int) -> Sequence[float]:
    match buckets:
        case "seconds":
            return SECONDS
        case "sizes":
            return SIZES
        case "input":
            return hundredths(max_input_tokens(context))
        case "total":
            return hundredths(context)

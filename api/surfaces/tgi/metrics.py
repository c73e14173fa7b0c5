"""GET /metrics: what was counted, under TGI's own names, in Prometheus's text format (sheet, section 13); and what the
usage ledger comes to, under ours.

Written by hand: prometheus_client would add `_total` to every counter, and TGI has none. Buckets of tokens are hundredths
of a model's context. Where models of several contexts are told together, the buckets are those of the largest, and what
was observed of another counts at the upper bound of its own bucket.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tropilla.api.surface import Reply, Surroundings
from tropilla.api.surfaces.tgi.limits import max_input_tokens
from tropilla.common.catalogue import Catalogue
from tropilla.common.metrics import REST, SECONDS, SIZES, SUM, Reading, hundredths

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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


@dataclass(frozen=True, slots=True)
class Exact:
    """Counted where the ledger's rows are written: these and the sums of its rows are the same. `label` is the name of the
    label beside the model.
    """

    name: str
    help: str
    label: str = ""


EXACT: tuple[Exact, ...] = (
    Exact("requests", "Generations and embeddings that were accepted and are over, by how they ended.", "outcome"),
    Exact("prompt_tokens", "Tokens of their prompts."),
    Exact("cached_tokens", "Of those, the ones that had not to be computed."),
    Exact("generated_tokens", "Tokens of answers, as they were handed over."),
)


def metrics(surroundings: Surroundings, reading: Reading) -> Reply:
    lines = [*_gauges(reading), *_counted(reading, _context(surroundings.catalogue)), *_exact(reading)]
    return Reply("\n".join(lines) + "\n", headers={"Content-Type": CONTENT_TYPE})


def _context(catalogue: Catalogue) -> int:
    return max((model.context_length for model in catalogue.models), default=1)


def _gauges(reading: Reading) -> Iterator[str]:
    loads = reading.loads
    for name, help_text, value in (
        ("queue_size", "Requests waiting for a worker.", sum(reading.waiting.values())),
        ("batch_current_size", "Sequences being computed.", sum(load.sequences for load in loads)),
        ("batch_current_max_tokens", "Tokens they may come to.", sum(load.most_tokens for load in loads)),
        ("batch_total_tokens", "Tokens they have.", sum(load.tokens for load in loads)),
    ):
        yield from _head(name, help_text, "gauge")
        yield f"tgi_{name} {value}"


def _counted(reading: Reading, context: int) -> Iterator[str]:
    """The models of one name and label are added up."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    for key, amount in reading.counts.items():
        found[key.name][key.label][key.place] += amount
    for metric in METRICS:
        series = found.get(metric.name, {})
        if not metric.label and not metric.buckets:
            # A counter nothing was added to is 0, where it is known which counter that is.
            series = series or {"": {"": 0.0}}
        if series:
            yield from _head(metric.name, metric.help, "histogram" if metric.buckets else "counter")
        for label in sorted(series):
            told = f'{metric.label}="{label}"' if metric.label else ""
            if metric.buckets:
                yield from _histogram(metric.name, told, series[label], _bounds(metric.buckets, context))
            else:
                yield _line(metric.name, told, series[label][""])


def _exact(reading: Reading) -> Iterator[str]:
    for metric in EXACT:
        series = sorted(
            (key.model, key.label, amount) for key, amount in reading.counts.items() if key.name == metric.name
        )
        if series:
            yield f"# HELP tropilla_{metric.name}_total {metric.help}"
            yield f"# TYPE tropilla_{metric.name}_total counter"
        for model, label, amount in series:
            told = _joined(f'model="{model}"', f'{metric.label}="{label}"' if metric.label else "")
            yield f"tropilla_{metric.name}_total{{{told}}} {amount:.0f}"


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


def _histogram(name: str, label: str, places: dict[str, float], bounds: Sequence[float]) -> Iterator[str]:
    observed = sorted((float(place), count) for place, count in places.items() if place not in (SUM, REST))
    total, at = 0.0, 0
    for bound in bounds:
        while at < len(observed) and observed[at][0] <= bound:
            total += observed[at][1]
            at += 1
        yield _line(f"{name}_bucket", _joined(label, f'le="{bound:.10g}"'), total)
    everything = sum(count for place, count in places.items() if place != SUM)
    yield _line(f"{name}_bucket", _joined(label, f'le="{REST}"'), everything)
    yield _line(f"{name}_sum", label, places.get(SUM, 0.0))
    yield _line(f"{name}_count", label, everything)


def _head(name: str, help_text: str, kind: str) -> Iterator[str]:
    yield f"# HELP tgi_{name} {help_text}"
    yield f"# TYPE tgi_{name} {kind}"


def _line(name: str, label: str, value: float) -> str:
    labels = f"{{{label}}}" if label else ""
    number = str(int(value)) if value == int(value) else repr(value)
    return f"tgi_{name}{labels} {number}"


def _joined(*labels: str) -> str:
    return ",".join(label for label in labels if label)

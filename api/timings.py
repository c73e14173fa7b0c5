"""The x-* headers that tell where a request's time went: TGI's, on every route it has (TGI sheet, section 12). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tropilla.api.surface import Call
from tropilla.common.generation import Finished
from tropilla.common.settings import Settings


def known_at_start(settings: Settings, characters: int) -> Mapping[str, str]:
    """What a stream can say before its first token. characters: Unicode ones of the input."""
    return {"x-compute-type": settings.compute_type, "x-compute-characters": str(characters)}


def measured(call: Call, choices: Iterable[Finished], now: float) -> Mapping[str, str]:
    """What a whole answer can say: milliseconds, and tokens summed over its choices.

    Choices are computed side by side, so the slowest one's time is the inference's. Two machines' clocks are not
    subtracted: all the time in which the worker did not compute counts as queueing.
    """
    finished = list(choices)
    total = max(now - call.received, 0.0)
    validation = min(max(call.queued - call.received, 0.0), total)
    inference = max((one.timings.prefill + one.timings.decode for one in finished), default=0.0)
    generated = sum(one.usage.generated for one in finished)
    milliseconds = {
        "x-total-time": total,
        "x-validation-time": validation,
        "x-queue-time": max(total - validation - inference, 0.0),
        "x-inference-time": inference,
    }
    return {
        **{name: str(round(seconds * 1000)) for name, seconds in milliseconds.items()},
        "x-time-per-token": str(int(inference * 1000) // max(generated, 1)),
        "x-prompt-tokens": str(sum(one.usage.prompt for one in finished)),
        "x-generated-tokens": str(generated),
    }


def compute_time(call: Call, now: float) -> Mapping[str, str]:
    """Seconds; not on /v1/completions."""
    return {"x-compute-time": f"{max(now - call.received, 0.0):.6f}"}

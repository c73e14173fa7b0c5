"""The x-* headers of the sheet's section 12."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api.surface import Call
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.common.generation import Finished

#: Upstream's own default of its COMPUTE_TYPE.
COMPUTE_TYPE = "gpu+optimized"


def known_at_start(call: Call) -> Mapping[str, str]:
    """What a stream can say before its first token. X-Accel-Buffering comes from the framing."""
    answer: Answer = call.answer
    return {"x-compute-type": COMPUTE_TYPE, "x-compute-characters": str(len(answer.inputs))}


def measured(call: Call, finished: Finished, now: float) -> Mapping[str, str]:
    """Where the time went.

    Nothing measures validation by itself: it counts as queueing, as does all the time in which the worker did not
    compute, for two machines' clocks are not subtracted.
    """
    total = max(now - call.received, 0.0)
    total_ms = round(total * 1000)
    inference_ms = round((finished.timings.prefill + finished.timings.decode) * 1000)
    return {
        **known_at_start(call),
        "x-compute-time": f"{total:.6f}",
        "x-total-time": str(total_ms),
        "x-validation-time": "0",
        "x-queue-time": str(max(total_ms - inference_ms, 0)),
        "x-inference-time": str(inference_ms),
        "x-time-per-token": str(inference_ms // max(finished.usage.generated, 1)),
        "x-prompt-tokens": str(finished.usage.prompt),
        "x-generated-tokens": str(finished.usage.generated),
    }

"""The x-* headers of the sheet's section 12, on TGI's own routes."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api import timings
from tropilla.api.surface import Call
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.common.generation import Finished


def known_at_start(call: Call) -> Mapping[str, str]:
    """What a stream can say before its first token. X-Accel-Buffering comes from the framing."""
    answer: Answer = call.answer
    return answer.headers


def measured(call: Call, finished: Finished, now: float) -> Mapping[str, str]:
    """Of the candidate that is told, where several competed."""
    return {**known_at_start(call), **timings.compute_time(call, now), **timings.measured(call, [finished], now)}

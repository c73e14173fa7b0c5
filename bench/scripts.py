"""What one core of Redis carries: its scripts, called as workers and the API call them, and Redis's own CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tropilla.common import codec
from tropilla.common.bus import Bus, Entry
from tropilla.common.generation import GenerationRequest, Sampling, TextPrompt, Token, new_request_id
from tropilla.common.room import Room
from tropilla.common.terms import NO_TERMS

from bench.journal import INBOX, LANE, SECONDS, WIDE

MICROSECONDS = 1e6


def measure(bus: Bus, streams: list[int], seconds: float) -> dict[str, Any]:
    """CPU seconds of Redis for the hand-over of a step, by the number of streams in it; and for a request's life."""
    bench = _Scripts(bus)
    return {
        "steps": [{"streams": count, **bench.steps(count, seconds)} for count in streams],
        "requests": bench.lives(seconds),
    }


class _Scripts:
    def __init__(self, bus: Bus) -> None:
        self._bus, self._room = bus, Room(bus)

    def steps(self, streams: int, seconds: float) -> dict[str, float]:
        """append.lua with a token of each stream, again and again; somebody listens to the inbox."""
        taken = [self._begin() for _ in range(streams)]
        index = 0

        def step() -> None:
            nonlocal index
            payload = codec.encode_event(Token(index, 0, 1234, " seven"))
            entries = [Entry(request_id, attempt, index, "", payload, tokens=1) for request_id, attempt in taken]
            appended = self._bus.append(entries, journal_seconds=SECONDS)
            assert not appended.refused, "somebody else has taken a request"
            index += 1

        return self._timed(step, seconds, of=streams)

    def lives(self, seconds: float) -> dict[str, float]:
        """admit.lua, take.lua, and the append.lua of the last of its events."""

        def live() -> None:
            request_id, attempt = self._begin()
            payload = codec.encode_event(Token(0, 0, 1234, " seven"))
            self._bus.append(
                [Entry(request_id, attempt, 0, "completed", payload, tokens=1, prompt=20)], journal_seconds=1.0
            )

        return self._timed(live, seconds, of=1)

    def _timed(self, do: Callable[[], None], seconds: float, *, of: int) -> dict[str, float]:
        calls, memory, before, began = 0, self._memory(), self._cpu(), time.perf_counter()
        while time.perf_counter() < began + seconds:
            do()
            calls += 1
        spent = self._cpu() - before
        return {
            "calls": calls,
            "wall_seconds": time.perf_counter() - began,
            "cpu_us_per_call": spent * MICROSECONDS / calls,
            "cpu_us_each": spent * MICROSECONDS / calls / of,
            "memory_bytes_each": (self._memory() - memory) / calls / of,
        }

    def _begin(self) -> tuple[str, int]:
        prompt = TextPrompt("Tell me a story, and take your time.")
        request = GenerationRequest(new_request_id(), "bench", (prompt,), Sampling(), max_tokens=256)
        self._room.admit(
            request, LANE, NO_TERMS, inbox=INBOX, bounds=WIDE, deadline_seconds=SECONDS, kept_seconds=SECONDS
        )
        taken = self._room.take(LANE.name, worker="bench", lease_seconds=SECONDS, journal_seconds=SECONDS)
        assert taken.request_id == request.id, "nobody else asks here"
        return taken.request_id, taken.attempt

    def _memory(self) -> int:
        return int(self._bus.connection.info("memory")["used_memory"])

    def _cpu(self) -> float:
        told = self._bus.connection.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

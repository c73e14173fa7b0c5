"""Many callers of one API process, in this process: streams that go on and on, or short requests one after the other.

While it measures it only notes when something came; what it was is read when everything has ended. It has the cores of
everybody else: what it takes itself is told beside what it saw.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.client import DONE, PATH, READ_BYTES
from bench.figures import MILLISECONDS, percentile
from bench.places import BenchError
from bench.wire import Answer, post

#: A word of the scripted model, which is a token (tests/faults/script.py).
WORD = re.compile(rb" \d+\.[0-9a-f]{2}")
#: Until all streams have begun.
BEGIN_SECONDS = 60.0
#: Of a stream that is hung up on: the context that the cluster is started with, less the prompt.
MOST_TOKENS = 1000
#: Connections that are being opened at a time.
OPENED_AT_ONCE = 64


@dataclass(eq=False, slots=True)
class Heard:
    """One request: when it was sent, and what came when, on the clock of time.perf_counter."""

    sent: float = 0.0
    status: int = 0
    events: list[tuple[float, list[bytes]]] = field(default_factory=list)

    def tokens(self) -> list[float]:
        """When each came."""
        return [at for at, events in self.events for event in events if event != DONE for _ in WORD.findall(event)]


class Crowd:
    def __init__(self, port: int, model: str) -> None:
        self._port, self._model = port, model
        self.heard: list[Heard] = []
        self._door = asyncio.Semaphore(OPENED_AT_ONCE)

    async def ask(self, number: int, tokens: int, began: asyncio.Event | None = None) -> None:
        heard = Heard()
        self.heard.append(heard)
        body: Mapping[str, Any] = {
            "model": self._model, "prompt": f"caller {number}", "max_tokens": tokens,
            "ignore_eos": True, "stream": True, "seed": number,
        }  # fmt: skip
        answer = Answer()
        async with self._door:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            heard.sent = time.perf_counter()
            writer.write(post(PATH, self._port, json.dumps(body).encode()))
            while data := await reader.read(READ_BYTES):
                now = time.perf_counter()
                if events := answer.feed(data):
                    heard.events.append((now, events))
                    if began is not None:
                        began.set()
            heard.status = answer.head.status if answer.head else 0
            if heard.status != 200:
                raise BenchError(f"a caller was answered {heard.status}: {answer.rest.decode(errors='replace')[:300]}")
        finally:
            writer.close()


def hold(
    port: int, model: str, streams: int, seconds: float, sample: Callable[[], Any]
) -> tuple[list[Heard], Any, Any]:
    """So many streams side by side: what each heard, and `sample` at both ends of a window in which all of them ran."""

    async def run() -> tuple[list[Heard], Any, Any]:
        crowd = Crowd(port, model)
        begun = [asyncio.Event() for _ in range(streams)]
        callers = [asyncio.create_task(crowd.ask(n, MOST_TOKENS, event)) for n, event in enumerate(begun)]
        try:
            await asyncio.wait_for(asyncio.gather(*(event.wait() for event in begun)), BEGIN_SECONDS)
        except TimeoutError:
            broken = [caller.exception() for caller in callers if caller.done()]
            raise BenchError(f"{sum(event.is_set() for event in begun)} of {streams} streams began: {broken}") from None
        first = sample()
        await asyncio.sleep(seconds)
        last = sample()
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        return crowd.heard, first, last

    return _quietly(run)


def ask(port: int, model: str, lanes: int, tokens: int, seconds: float, sample: Callable[[], Any]) -> Any:
    """So many callers who each ask again when they are answered, for so long: as `hold`."""

    async def run() -> tuple[list[Heard], Any, Any]:
        crowd = Crowd(port, model)
        first, until = sample(), time.perf_counter() + seconds

        async def caller(lane: int) -> None:
            number = lane
            while time.perf_counter() < until:
                await crowd.ask(number, tokens)
                number += lanes

        await asyncio.gather(*map(caller, range(lanes)))
        return crowd.heard, first, sample()

    return _quietly(run)


def _quietly(run: Callable[[], Any]) -> Any:
    gc.disable()
    try:
        return asyncio.run(run())
    finally:
        gc.enable()


def gaps(heard: list[Heard], begin: float, end: float) -> dict[str, float]:
    """Tokens in a window, and what lay between two of one stream."""
    times = [[at for at in each.tokens() if begin < at <= end] for each in heard]
    between = [later - before for each in times for before, later in itertools.pairwise(each)]
    return {
        "tokens": sum(map(len, times)),
        "gap_p50_ms": percentile(between, 0.50) * MILLISECONDS,
        "gap_p99_ms": percentile(between, 0.99) * MILLISECONDS,
    }


def answers(heard: list[Heard]) -> dict[str, float]:
    """How many there were, and how soon each began."""
    first = [each.events[0][0] - each.sent for each in heard]
    return {
        "requests": len(heard),
        "tokens": sum(len(each.tokens()) for each in heard),
        "ttft_p50_ms": percentile(first, 0.50) * MILLISECONDS,
        "ttft_p99_ms": percentile(first, 0.99) * MILLISECONDS,
    }

"""Thousands of posts at once while nobody works: as many are taken in as may wait, and everybody else hears so at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from cluster.wire import OLLAMA, OPENAI, TGI, ask
from faults import scripted
from faults.account import bar, left_over
from faults.checker import spread
from faults.flock import Flock
from faults.load import WHOLE_TGI
from faults.runs import Say, Size, flock_of
from tropilla.common.catalogue import Model, Worker

#: Connections at a time: more than may wait, fewer than one API process serves.
CONNECTIONS = 900
PATHS = {OPENAI: OPENAI, OLLAMA: OLLAMA, TGI: WHOLE_TGI}
#: How each says that too many wait: Ollama's clients know 503.
FULL = {OPENAI: 429, OLLAMA: 503, TGI: 429}
#: What each asks for, in tokens.
TOKENS = 5
#: Until everybody was refused who is, at the most.
REFUSED_SECONDS = 300.0


class Burst:
    """Posts until all of them are said, each connection one after the other; accepted ones keep theirs until answered."""

    def __init__(self, port: int, count: int, connections: int = CONNECTIONS) -> None:
        self._port, self._left, self._connections = port, count, connections
        self.ends: Counter[str] = Counter()
        self.refused_after: list[float] = []
        self.without_retry = 0
        self._waiting = 0
        self.refused = asyncio.Event()

    async def run(self, bound: int, start_workers: Callable[[], object]) -> None:
        async with asyncio.TaskGroup() as everybody:
            for number in range(self._connections):
                everybody.create_task(self._client(number, bound))
            await asyncio.wait_for(self.refused.wait(), REFUSED_SECONDS)
            await asyncio.to_thread(start_workers)

    async def _client(self, number: int, bound: int) -> None:
        dialect = tuple(PATHS)[number % len(PATHS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while self._left:
            self._left -= 1
            self._waiting += 1
            body = json.dumps(ask(dialect, f"number {number}", scripted.NAME, tokens=TOKENS, stream=False)).encode()
            head = f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            began = time.monotonic()
            writer.write(head.encode() + body)
            status, headers = await self._answer(reader)
            self._waiting -= 1
            self.ends[{200: "answered", FULL[dialect]: "refused"}.get(status, f"status {status}")] += 1
            if status == FULL[dialect]:
                self.refused_after.append(time.monotonic() - began)
                self.without_retry += "retry-after" not in headers
            self._look(bound)
        self._look(bound)
        writer.close()

    def _look(self, bound: int) -> None:
        """Whether everybody has asked, and only those whom nobody refused still wait."""
        if not self._left and self._waiting <= bound:
            self.refused.set()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        await reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers


def thundering(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F20: `size.count` posts; a worker is announced that takes nothing, until everybody else was refused."""
    with flock_of(Size(size.count, workers=0)) as flock:
        bound, burst = int(str(flock.told("max_queue"))), Burst(flock.api_port, size.count)
        began, used = time.monotonic(), redis_seconds(flock)
        flooded(flock, burst, bound, workers=size.workers)
        seconds, used = time.monotonic() - began, redis_seconds(flock) - used
        left = left_over(flock, f"{scripted.NAME}.cpu")
    taken, refused = burst.ends.pop("answered", 0), burst.ends.pop("refused", 0)
    return {
        "requests": size.count,
        "answered": taken,
        "refused": refused,
        "others": dict(burst.ends),
        "refused_after_seconds": spread(burst.refused_after),
        "seconds": round(seconds, 1),
        "left_over": left,
        "setup": {"bound": bound, "connections": CONNECTIONS, "workers_afterwards": size.workers},
        "bars": [
            bar("taken in beyond the bound, or below it", abs(taken - bound), 0),
            bar("neither taken in nor refused", size.count - taken - refused, 0),
            bar("refused without Retry-After", burst.without_retry, 0),
            bar("cores that Redis uses", round(used / seconds, 3), 0.5),
            bar("left over in the cluster", sum(left.values()), 0),
        ],
    }


def flooded(flock: Flock, burst: Burst, bound: int, *, workers: int) -> None:
    """Everybody comes at once; when all are refused who are, so many workers start on the others."""
    pretend(flock)
    asyncio.run(burst.run(bound, lambda: flock.populate(workers)))


def redis_seconds(flock: Flock) -> float:
    """What Redis has computed so far."""
    used = flock.redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def pretend(flock: Flock) -> None:
    """Says that a worker serves the script, so that requests are accepted and wait."""
    facts = Model(scripted.NAME, "0" * 64, 1, "llama", 1, "F32", 4096, 8192, 64, scripted.Vocabulary.size, 0.0)
    flock.bus.announce(Worker("pretended", "cpu", "ready", 1, facts), milliseconds=600_000)

"""Callers that leave, at every stage of their request and in every way: how long until nobody works for them any more."""

from __future__ import annotations

import itertools
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from cluster.herd import wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, ask
from faults import scripted
from faults.account import bar, left_over
from faults.checker import spread
from faults.flock import Flock
from faults.load import WHOLE_TGI
from faults.runs import Say, Size, flock_of
from tropilla.common import codec, names
from tropilla.common.generation import Event, Failed, Finished

#: One worker with so many slots and tokens a step: a prompt of 6,000 tokens is computed for seconds.
SLOTS, STEP_TOKENS, STEP_MS, PROMPT_CHARACTERS = 4, 16, 10.0, 6000
#: A step, what waits for company on its way out (publisher.py), and a busy machine.
MOST_SECONDS = 0.25
STAGES = ("queued", "prefill", "decode")
FOREVER = 8000


@dataclass(frozen=True)
class Way:
    """How a caller leaves. half: it closes only its sending side."""

    dialect: str
    stage: str
    stream: bool
    half: bool

    @property
    def name(self) -> str:
        answer, leaves = ("stream" if self.stream else "whole"), ("half-close" if self.half else "close")
        return f"{self.stage}, {answer}, {leaves}"


class Caller:
    """One request on a socket of its own, whose answer nobody reads."""

    def __init__(self, flock: Flock, way: Way, prompt: str) -> None:
        path = WHOLE_TGI if way.dialect == TGI and not way.stream else way.dialect
        fields = ask(way.dialect, prompt, scripted.NAME, tokens=FOREVER - len(prompt), stream=way.stream)
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket = socket.create_connection(("127.0.0.1", flock.api_port), timeout=60)
        self._socket.sendall(head.encode() + body)

    def leave(self, *, half: bool) -> None:
        if half:
            self._socket.shutdown(socket.SHUT_WR)
        else:
            self._socket.close()

    def close(self) -> None:
        self._socket.close()


def hung_up(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F13: every way of leaving, `size.count` times each."""
    chance = random.Random(seed)
    ways = [Way(OPENAI, *each) for each in itertools.product(STAGES, (True, False), (False, True))]
    found: dict[str, list[float]] = {way.name: [] for way in ways}
    with flock_of(size, step_ms=STEP_MS, slots=SLOTS, step_tokens=STEP_TOKENS, context=scripted.CONTEXT) as flock:
        for stage in STAGES:
            with occupied(flock) if stage == "queued" else nullcontext():
                for _, way in itertools.product(range(size.count), (way for way in ways if way.stage == stage)):
                    chosen = replace(way, dialect=chance.choice((OPENAI, OLLAMA, TGI)))
                    found[way.name].append(freed_after(flock, chosen, chance))
        left = left_over(flock, f"{scripted.NAME}.cpu")
    everything = [seconds for each in found.values() for seconds in each]
    setup = {"workers": size.workers, "slots": SLOTS, "step_ms": STEP_MS, "step_tokens": STEP_TOKENS}
    return {
        "requests": len(everything),
        "freed_after_seconds": {name: spread(each) for name, each in found.items()},
        "all": spread(everything),
        "left_over": left,
        "setup": setup,
        "bars": [
            bar("the slot is free after, p99", spread(everything)["p99"], MOST_SECONDS, unit="s"),
            bar("left over in the cluster", sum(left.values()), 0),
        ],
    }


def freed_after(flock: Flock, way: Way, chance: random.Random) -> float:
    """How long after its caller has left a request is over, in seconds."""
    prompt = f"{chance.getrandbits(64):016x} "
    prompt += "and so on " * (PROMPT_CHARACTERS // 10 if way.stage == "prefill" else 0)
    caller = Caller(flock, way, prompt)
    try:
        look = _waiting if way.stage == "queued" else _running
        request_id = wait_for(lambda: look(flock), "the request to be where it should")
        if way.stage == "decode":
            wait_for(lambda: len(flock.bus.read_journal(request_id)) >= 5, "some tokens")
        time.sleep(chance.uniform(0.0, 0.05))
        began = time.monotonic()
        caller.leave(half=way.half)
        last = ending(flock, request_id)
        seconds = time.monotonic() - began
    finally:
        caller.close()
    assert isinstance(last, Finished), last
    assert last.reason == "cancelled", last
    assert (last.usage.generated == 0) == (way.stage != "decode"), last
    wait_for(lambda: look(flock) is None, "it to be gone")
    return seconds


@contextmanager
def occupied(flock: Flock) -> Iterator[None]:
    """As many streams run as the worker takes: whoever comes now, waits."""
    filling = Way(OPENAI, "decode", stream=True, half=False)
    callers = [Caller(flock, filling, f"number {number}") for number in range(SLOTS + 2)]
    try:
        wait_for(lambda: len(_held(flock)) == len(callers), "all slots to be taken")
        yield
    finally:
        for caller in callers:
            caller.close()
        wait_for(lambda: not _held(flock), "all slots to be free")


def _waiting(flock: Flock) -> str | None:
    """The only request that waits."""
    ids = flock.redis.zrange(names.room_key(f"{scripted.NAME}.cpu"), 0, -1)
    return ids[0].decode() if len(ids) == 1 else None


def _held(flock: Flock) -> list[str]:
    """Requests that somebody holds and that have not ended: a lease outlives its request."""
    held = [request_id for each in flock.holding().values() for request_id in each]
    return [request_id for request_id in held if not flock.redis.hexists(names.state_key(request_id), "done")]


def _running(flock: Flock) -> str | None:
    """The only request that runs."""
    held = _held(flock)
    return held[0] if len(held) == 1 else None


def ending(flock: Flock, request_id: str) -> Event:
    """A request's last event, the moment it is written."""
    at = b"0"
    while True:
        read: Any = flock.redis.xread({names.journal_key(request_id): at}, block=20_000)
        assert read, "nothing more was written"
        for entry, fields in read[0][1] if isinstance(read, list) else next(iter(read.values()))[0]:
            at = entry
            event = codec.decode_event(int(entry.split(b"-")[0]) - 1, fields[b"e"])
        if isinstance(event, Finished | Failed):
            return event

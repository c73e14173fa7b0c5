"""API processes are killed under their streams, and every client comes back for the rest: what it hears in pieces must be,
byte by byte, what one hears who asks for the stream as a whole.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
from cluster.herd import wait_for
from cluster.wire import OLLAMA, Answer, ask
from faults import scripted
from faults.account import bar, left_over
from faults.checker import Asked, Heard, spread, verdict
from faults.flock import Flock
from faults.load import Crowd, asking
from faults.runs import STEP_MS, Say, Size, flock_of

BETWEEN_SECONDS = (0.5, 1.5)
API_PROCESSES = 2
#: Whoever finds nobody at the port comes again after so long.
AGAIN_SECONDS = 0.05
#: An API process may take so long to start beside others that are busy.
START_SECONDS = 300.0
#: A stream whose client comes back so often without an end has none.
MOST_RETURNS = 50


@dataclass
class Told:
    """One stream as its client heard it, in pieces."""

    asked: Asked
    stream_id: str = ""
    frames: list[bytes] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    returns: int = 0
    #: Asked for anew: the process had died before it said which stream it was.
    begun_anew: int = 0
    refused: str = ""
    whole: bytes = b""


#: What Ollama says of the moment a frame is told at, and of how long the telling took.
TIMES = re.compile(rb'"(created_at|total_duration|load_duration|prompt_eval_duration|eval_duration)":("[^"]*"|[0-9]+)')


def timeless(data: bytes) -> bytes:
    return TIMES.sub(rb'"\1":0', data)


def frames_in(dialect: str, data: bytes) -> tuple[list[bytes], bytes]:
    """The complete frames at the beginning of what has arrived, and the rest."""
    end = b"\n" if dialect == OLLAMA else b"\n\n"
    *complete, rest = data.split(end)
    return [frame + end for frame in complete], rest


class Clients(Crowd[Told]):
    """Each hears streams to their end, however often it has to come back."""

    def __init__(self, flock: Flock, asked: Iterator[Asked], chance: random.Random, count: int) -> None:
        self._flock = flock
        super().__init__((partial(self._follow, each, chance.random() < 0.5) for each in asked), count)

    def _follow(self, asked: Asked, by_header: bool) -> Told:
        told = Told(asked)
        self._hear(told, by_header=by_header)
        told.whole = self._whole(told)
        return told

    def _hear(self, told: Told, *, by_header: bool) -> None:
        while not told.refused and told.returns < MOST_RETURNS:
            try:
                with self._ask(told, by_header=by_header) as answer:
                    if answer.status != 200:
                        told.refused = f"{answer.status} {answer.text()[:200]}"
                    elif self._read(told, answer):
                        return
            except (OSError, http.client.HTTPException):
                time.sleep(AGAIN_SECONDS)
            if told.stream_id:
                told.returns += 1
            else:
                told.begun_anew += 1

    def _ask(self, told: Told, *, by_header: bool) -> Answer:
        asked, heard = told.asked, len(told.frames)
        if told.stream_id and (asked.dialect == OLLAMA or not by_header):
            return Answer(self._flock, f"/v1/streams/{told.stream_id}?from={heard}", b"", "GET")
        headers = {"Last-Event-ID": f"{told.stream_id}.{heard}"} if told.stream_id else {}
        fields = {"tokens": asked.tokens, "seed": asked.seed}
        body = ask(asked.dialect, asked.prompt, scripted.NAME, **fields)
        return Answer(self._flock, asked.dialect, json.dumps(body).encode(), headers=headers)

    def _read(self, told: Told, answer: Answer) -> bool:
        """Whether the answer came to its end."""
        told.stream_id = told.stream_id or answer.headers["x-stream-id"]
        rest = b""
        try:
            while data := answer.some():
                complete, rest = frames_in(told.asked.dialect, rest + data)
                told.frames += complete
                told.arrivals += [time.monotonic()] * len(complete)
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _whole(self, told: Told) -> bytes:
        """The stream as it is told to one who has heard nothing of it."""
        while not told.refused:
            try:
                with Answer(self._flock, f"/v1/streams/{told.stream_id}", b"", "GET") as answer:
                    return answer.data()
            except (OSError, http.client.HTTPException):
                time.sleep(AGAIN_SECONDS)
        return b""


def api_killed(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F5: kill -9 of API processes under load; clients come again with Last-Event-ID or `?from=N`."""
    with flock_of(size, api_processes=API_PROCESSES) as flock:
        clients = Clients(flock, asking(random.Random(seed), streaming=1.0), random.Random(seed + 1), size.clients)
        began = time.monotonic()
        clients.start()
        try:
            _kill(flock, size.count, random.Random(seed + 2), say)
        finally:
            clients.stop()
        seconds = time.monotonic() - began
        left = left_over(flock, f"{scripted.NAME}.cpu")
    return _result(clients.heard, size) | {"seconds": round(seconds, 1), "left_over": left}


def _kill(flock: Flock, count: int, chance: random.Random, say: Say) -> None:
    master = next(process for process in flock.processes if process.name == "api")
    for number in range(count):
        time.sleep(chance.uniform(*BETWEEN_SECONDS))
        wait_for(lambda: len(_serving(master.pid)) == API_PROCESSES, "all API processes", START_SECONDS)
        os.kill(chance.choice(_serving(master.pid)), signal.SIGKILL)
        if (number + 1) % 10 == 0:
            say(f"{number + 1} of {count} API processes killed")


def _serving(master: int) -> list[int]:
    """API processes that hold a connection to Redis, and so have been imported."""
    children = psutil.Process(master).children()
    return sorted(child.pid for child in children if _connected(child))


def _connected(process: psutil.Process) -> bool:
    try:
        return any(connection.status == psutil.CONN_ESTABLISHED for connection in process.net_connections())
    except psutil.NoSuchProcess:
        return False


def _result(told: list[Told], size: Size) -> dict[str, Any]:
    exact = sum(timeless(b"".join(each.frames)) == timeless(each.whole) and not each.refused for each in told)
    interrupted = [each for each in told if each.returns]
    wrong = [each for each in told if _wrong_words(each)]
    silences = [max(b - a for a, b in zip(each.arrivals, each.arrivals[1:], strict=False)) for each in interrupted]
    result = {
        "requests": len(told),
        "losses": size.count,
        "exact": exact,
        "interrupted": len(interrupted),
        "returns": sum(each.returns for each in told),
        "begun_anew": sum(each.begun_anew for each in told),
        "other_words": len(wrong),
        "refused": [each.refused for each in told if each.refused][:5],
        "longest_silence_seconds": spread(silences),
        "setup": {"workers": size.workers, "clients": size.clients, "api_processes": API_PROCESSES, "step_ms": STEP_MS},
    }
    bars = [
        bar(
            "interrupted streams that came to their end", _share(interrupted, lambda e: not e.refused), 1.0, least=True
        ),
        bar("streams not the same byte by byte", len(told) - exact, 0),
        bar("streams that say other words than the script", len(wrong), 0),
    ]
    return result | {"bars": bars}


def _share(told: list[Told], good: Callable[[Told], bool]) -> float:
    return sum(map(good, told)) / len(told) if told else 1.0


def _wrong_words(told: Told) -> list[str]:
    heard = Heard(told.asked, 0.0)
    heard.error, heard.last = told.refused, True
    heard.pieces = [text_in(told.asked.dialect, frame) for frame in told.frames]
    return verdict(heard)


def text_in(dialect: str, frame: bytes) -> str:
    """What a frame adds to the answer."""
    line = next((line for line in frame.split(b"\n") if line.startswith((b"data:", b"{"))), b"")
    data = line.removeprefix(b"data:").strip()
    if not data or data == b"[DONE]":
        return ""
    item = json.loads(data)
    if dialect == OLLAMA:
        return str(item["response"])
    if "choices" in item:
        return "".join(choice["text"] for choice in item["choices"])
    return str(item["token"]["text"])

"""Whether the usage ledger is exact: requests by the thousand, of which many are left and some lose their workers."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cluster.herd import wait_for
from cluster.wire import OPENAI, TGI, ask, post
from faults import scripted
from faults.account import bar, left_over
from faults.checker import Loss
from faults.flock import Flock
from faults.killer import Killer
from faults.load import DIALECTS, WHOLE_TGI
from faults.runs import STEP_MS, Say, Size, flock_of
from tropilla.common import codec, names
from tropilla.common.generation import Token
from tropilla.common.ledger import Ledger, Row
from tropilla.common.metrics import Counts

#: Of all callers so many leave: a third of them at once, the others in the middle of their answer.
LEAVING, AT_ONCE = 0.2, 1 / 3
#: One worker is killed for so many requests.
KILLED_EVERY = 100
TOKENS = (5, 40)
LANE = f"{scripted.NAME}.cpu"
#: Everything is read at the end, however long it takes.
KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Told:
    """What a caller who stayed was told of what his answer took, or what it ended with instead."""

    request_id: str
    generated: int = 0
    error: str = ""


@dataclass
class Crowd:
    """`count` callers, some at a time; the same for the same seed."""

    flock: Flock
    count: int
    clients: int
    seed: int
    done: int = 0

    def run(self, killer: Killer, kills: int) -> list[Told]:
        """Kills evenly while they ask; what those who stayed were told."""
        with ThreadPoolExecutor(self.clients) as clients:
            asked = [clients.submit(self._one, number) for number in range(self.count)]
            for number in range(kills):
                due = (number + 1) * self.count // (kills + 1)
                wait_for(lambda due=due: self.done >= due, "so many to be answered", seconds=3600)
                killer.kill(1)
            return [told for each in asked if (told := each.result()) is not None]

    def _one(self, number: int) -> Told | None:
        chance = random.Random(f"{self.seed} {number}")
        dialect, leaves, at_once = chance.choice(DIALECTS), chance.random() < LEAVING, chance.random() < AT_ONCE
        stream = chance.random() < 0.7 or (leaves and not at_once)
        path = WHOLE_TGI if dialect == TGI and not stream else dialect
        more = {"stream_options": {"include_usage": True}} if dialect == OPENAI and stream else {}
        prompt, tokens = f"say {chance.getrandbits(64):016x}", chance.randint(*TOKENS)
        body = ask(dialect, prompt, scripted.NAME, tokens=tokens, stream=stream, seed=number + 1, **more)
        try:
            if leaves and at_once:
                self._send_and_leave(path, body, chance.uniform(0.0, 0.2))
                return None
            return self._ask(path, body, dialect, leave_after=chance.randint(1, 10) if leaves else None)
        finally:
            self.done += 1

    def _send_and_leave(self, path: str, body: Any, seconds: float) -> None:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.flock.api_port), timeout=60) as connection:
            connection.sendall(head.encode() + data)
            time.sleep(seconds)

    def _ask(self, path: str, body: Any, dialect: str, *, leave_after: int | None) -> Told | None:
        request_id = ""
        try:
            with post(self.flock, path, body) as answer:
                request_id = answer.headers.get("x-request-id", "").removeprefix("req_")
                if answer.status != 200:
                    return Told(request_id, error=f"{answer.status} {answer.text()[:200]}")
                items = answer.items() if body["stream"] else iter([answer.json()])
                if leave_after is not None:
                    list(itertools.islice(items, leave_after))
                    return None
                return Told(request_id, generated=max((_generated(dialect, item) for item in items), default=0))
        except (OSError, http.client.HTTPException) as error:
            return Told(request_id, error=f"{type(error).__name__}: {error}")


def _generated(dialect: str, item: Any) -> int:
    """What this part of an answer says that the whole of it took; 0 where it does not say."""
    if isinstance(item, list):
        item = item[0]
    if not isinstance(item, dict):
        return 0
    match dialect:
        case "/v1/completions":
            return int((item.get("usage") or {}).get("completion_tokens", 0))
        case "/api/generate":
            return int(item.get("eval_count") or 0)
        case _:
            return int((item.get("details") or {}).get("generated_tokens", 0))


def booked(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """`size.count` requests beside the ledger, the journals, and Prometheus's counters."""
    with flock_of(size, journal_seconds=KEPT_SECONDS) as flock:
        result = book(flock, size, seed, size.count // KILLED_EVERY, say)
    setup = {"workers": size.workers, "clients": size.clients, "step_ms": STEP_MS, "leaving": LEAVING}
    return result | {"setup": setup}


def book(flock: Flock, size: Size, seed: int, kills: int, say: Say) -> dict[str, Any]:
    killer = Killer(flock, random.Random(seed + 1), between=(0.0, 0.2), say=say)
    began = time.monotonic()
    told = Crowd(flock, size.count, size.clients, seed).run(killer, kills)
    seconds = time.monotonic() - began
    left = left_over(flock, LANE)
    rows = list(Ledger(flock.bus).rows())
    found = Findings(rows, dict(_journals(flock)), flock.bus.counts())
    wrong = found.wrong(told)
    return {
        "requests": size.count,
        "losses": len(killer.losses),
        "interrupted": len(_interrupted(killer.losses)),
        "rows": len(rows),
        "tokens": sum(row.generated for row in rows),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "told": len(told),
        "seconds": round(seconds, 1),
        "left_over": left,
        "bars": [bar(what, count, 0) for what, count in wrong.items()]
        + [bar("left over in the cluster", sum(left.values()), 0)],
    }


def _interrupted(losses: Iterable[Loss]) -> set[str]:
    return {request_id for loss in losses for request_id in loss.requests}


def _journals(flock: Flock) -> Iterator[tuple[str, int]]:
    """Each request that was accepted: id, tokens in its journal."""
    for key in flock.redis.scan_iter(names.state_key("*"), count=10_000):
        request_id = key.decode().split(":")[2]
        events = [codec.decode_event(item.index, item.payload) for item in flock.bus.read_journal(request_id)]
        yield request_id, sum(isinstance(event, Token) for event in events)


@dataclass(frozen=True)
class Findings:
    """`journals`: request -> tokens."""

    rows: list[Row]
    journals: dict[str, int]
    counts: Counts

    def wrong(self, told: Iterable[Told]) -> dict[str, int]:
        """What should not be -> how often it is."""
        times = Counter(row.request for row in self.rows)
        generated = {row.request: row.generated for row in self.rows}
        stayed = list(told)
        return {
            "accepted requests without exactly one row": sum(times[one] != 1 for one in self.journals),
            "rows of no accepted request": len(times.keys() - self.journals.keys()),
            "rows with other tokens than their journal": sum(
                self.journals.get(row.request) != row.generated for row in self.rows
            ),
            "tokens between all rows and the counter": abs(self._counted("generated_tokens") - sum(generated.values())),
            "prompt tokens between all rows and the counter": abs(
                self._counted("prompt_tokens") - sum(row.prompt for row in self.rows)
            ),
            "requests between all rows and the counter": abs(self._counted("requests") - len(self.rows)),
            "callers who stayed and got no answer": sum(bool(each.error) for each in stayed),
            "callers who were told other tokens than their row": sum(
                not each.error and generated.get(each.request_id) != each.generated for each in stayed
            ),
        }

    def _counted(self, name: str) -> int:
        return round(sum(amount for key, amount in self.counts.items() if key.name == name))

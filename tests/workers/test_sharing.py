"""A room, workers and the rules between them in simulated time: what light keys notice of a heavy one.

The scheduler and the rules are the real ones. The room is what room.lua does, in a few lines; a step takes what it takes
where reading the weights is dear and a token cheap.
"""

from __future__ import annotations

import heapq
import random
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import pytest
from fakes import sequence
from tropilla.common.terms import Newcomer, Priority
from tropilla.workers.fairness import Held, rank, swaps
from tropilla.workers.scheduler import Limits, Scheduler
from tropilla.workers.sequence import Sequence

SLOTS, HOLDERS = 8, 10
STEP, TOKEN = 0.02, 0.0001
PROMPT = 40


@dataclass(eq=False)
class Asked:
    name: str
    key: str
    at: float
    tokens: int
    priority: Priority = "normal"
    tag: float = 0.0
    first: float = -1.0
    said: int = 0
    ended: float = -1.0
    taken: int = 0
    run: Sequence | None = None

    @property
    def waited(self) -> float:
        return self.first - self.at


class Room:
    """Start-time fair queueing by class, as in room.lua."""

    def __init__(self) -> None:
        self.waiting: list[Asked] = []
        self._finish: dict[tuple[str, str], float] = {}
        self._present: Counter[str] = Counter()

    def enter(self, asked: Asked) -> None:
        turn = (asked.priority, asked.key)
        asked.tag = max(self._present[asked.priority], self._finish.get(turn, 0.0))
        self._finish[turn] = asked.tag + PROMPT + asked.tokens
        insort(self.waiting, asked, key=_place)

    def put_back(self, asked: Asked) -> None:
        asked.tag = max(asked.tag, self._present[asked.priority] + 1)
        insort(self.waiting, asked, key=_place)

    def take(self, only: Asked | None = None) -> Asked:
        found = only or self.waiting[0]
        self.waiting.remove(found)
        if only is None:
            self._present[found.priority] = max(self._present[found.priority], int(found.tag))
        found.taken += 1
        return found


def _place(asked: Asked) -> tuple[int, float]:
    return rank(asked.priority), asked.tag


@dataclass(eq=False)
class Worker:
    room: Room
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(Limits(SLOTS, 100_000, 256, sequences=64)))
    here: dict[str, Asked] = field(default_factory=dict)
    #: Seconds of steps; and of those in which a slot was free though somebody waited.
    busy: float = 0.0
    idle: float = 0.0

    def pull(self) -> None:
        while self.room.waiting and len(self.here) < HOLDERS:
            self._begin(self.room.take())
        if len(self.here) < HOLDERS:
            return
        waiting = {each.name: each for each in self.room.waiting[:32]}
        newcomers = [Newcomer(each.name, "m.cpu", each.key, each.priority) for each in waiting.values()]
        for swap in swaps(self._held(), newcomers, self.scheduler.shares):
            leaving = self.here.pop(swap.request_id)
            self._begin(self.room.take(waiting[swap.newcomer.request_id]))
            assert leaving.run is not None
            self.scheduler.retire(leaving.run)
            self.room.put_back(leaving)

    def _held(self) -> list[Held]:
        return [
            Held(each.name, each.key, rank(each.priority), waits=each.run.slot is None, begun=each.said > 0)
            for each in self.here.values()
            if each.run is not None
        ]

    def _begin(self, asked: Asked) -> None:
        run = sequence(asked.name, prompt=[ord(asked.name[0]), int(asked.name[1:]), *range(PROMPT - 2)])
        run.tokens += [0] * asked.said
        run.generated = asked.said
        run.key, run.rank = asked.key, rank(asked.priority)
        self.here[asked.name], asked.run = asked, run
        self.scheduler.add(run)

    def step(self, now: float) -> float:
        """Answers when it ends."""
        self.pull()
        chunks = self.scheduler.plan().chunks
        if not chunks:
            return now + STEP
        took = STEP + TOKEN * sum(chunk.stop - chunk.start for chunk in chunks)
        self.busy += took
        if self.scheduler.running < SLOTS and self.room.waiting:
            self.idle += took
        self.scheduler.apply(chunks)
        for chunk in chunks:
            asked = self.here[chunk.sequence.request_id]
            if chunk.samples:
                self._say(asked, now + took)
        return now + took

    def _say(self, asked: Asked, now: float) -> None:
        assert asked.run is not None
        asked.run.tokens.append(0)
        asked.run.generated += 1
        asked.said += 1
        asked.first = asked.first if asked.said > 1 else now
        if asked.said == asked.tokens:
            asked.ended = now
            self.scheduler.retire(asked.run)
            del self.here[asked.name]


def simulate(asked: list[Asked], *, workers: int, seconds: float) -> list[Worker]:
    room, numbers = Room(), count()
    everybody = [Worker(room) for _ in range(workers)]
    coming = sorted(asked, key=lambda each: each.at)
    # Not in step with one another.
    turns = [(number * STEP / workers, next(numbers), worker) for number, worker in enumerate(everybody)]
    while turns[0][0] < seconds:
        now, _, worker = heapq.heappop(turns)
        while coming and coming[0].at <= now:
            room.enter(coming.pop(0))
        heapq.heappush(turns, (worker.step(now), next(numbers), worker))
    return everybody


def arrivals(key: str, rate: float, seconds: float, *, tokens: int, seed: str, **more: Priority) -> list[Asked]:
    chance, at, found = random.Random(f"{seed} {key}"), 0.0, list[Asked]()
    while (at := at + chance.expovariate(rate)) < seconds:
        found.append(Asked(f"{key[0]}{key[1:]}{len(found):05}", key, at, tokens, **more))
    return found


def p95(asked: list[Asked]) -> float:
    waited = sorted(each.waited for each in asked)
    assert waited[0] > 0, "everybody was answered"
    return waited[int(0.95 * len(waited))]


@pytest.mark.parametrize("workers", [1, 3])
def test_nine_light_keys_hardly_notice_a_heavy_one(workers: int) -> None:
    """Eight slots make some 370 tokens a second; the light keys ask for a fifth of that, the heavy one for more."""
    seconds, tokens = 30.0, 32
    rate = workers * 0.25

    def light() -> list[Asked]:
        keys = [arrivals(f"l{number}", rate, seconds - 5, tokens=tokens, seed="s") for number in range(1, 10)]
        return [each for key in keys for each in key]

    alone, together = light(), light()
    heavy = arrivals("h0", 50 * rate, seconds, tokens=tokens, seed="s")
    simulate(alone, workers=workers, seconds=seconds)
    busy = simulate(together + heavy, workers=workers, seconds=seconds)
    assert p95(together) <= 1.2 * p95(alone)
    had = Counter[str]()
    for each in together + heavy:
        had[each.key] += each.said
    # The light keys got all they asked for, the heavy one the rest: that is each one's fair part.
    assert all(each.ended > 0 for each in together)
    assert had["h0"] > sum(had.values()) / 2
    assert sum(each.idle for each in busy) <= 0.02 * sum(each.busy for each in busy)
    assert max(each.taken for each in together + heavy) <= 6, "nobody is handed back again and again"


def test_heavy_keys_share_alike() -> None:
    """Of four that all want more than there is, and ask for answers of very different lengths."""
    asked = [
        each
        for number, tokens in enumerate((16, 32, 64, 256), start=1)
        for each in arrivals(f"k{number}", 200 / tokens, 30, tokens=tokens, seed="s")
    ]
    simulate(asked, workers=1, seconds=30)
    had = Counter[str]()
    for each in asked:
        had[each.key] += each.said + (PROMPT if each.said else 0)
    parts = list(had.values())
    assert len(parts) == 4
    assert sum(parts) ** 2 / (4 * sum(part * part for part in parts)) >= 0.95


def test_urgent_requests_wait_for_a_step_and_batch_gets_what_is_left() -> None:
    flood = [Asked(f"b{number:05}", "", 0.0, 200, "batch") for number in range(100)]
    urgent = arrivals("i1", 2.0, 25, tokens=16, seed="s", priority="interactive")
    workers = simulate(flood + urgent, workers=1, seconds=30)
    # The step that runs, and the one that reads the prompt.
    assert max(each.waited for each in urgent) <= 3 * (STEP + 256 * TOKEN)
    assert sum(each.said for each in flood) > 0.8 * SLOTS * 30 / (STEP + 10 * TOKEN)
    assert workers[0].idle == 0


def test_whoever_waits_comes_to_his_turn() -> None:
    """More keys than slots, all of them with more than enough to do: each one gets about as much as the others."""
    asked = [Asked(f"k{number:02}{turn}", f"k{number:02}", 0.0, 1000) for number in range(16) for turn in range(3)]
    simulate(asked, workers=1, seconds=60)
    had = Counter[str]()
    for each in asked:
        had[each.key] += each.said
    parts = list(had.values())
    assert len(parts) == 16
    assert sum(parts) ** 2 / (16 * sum(part * part for part in parts)) >= 0.95

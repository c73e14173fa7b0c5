"""Prompts that kill whoever computes them, among others that do not."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from typing import Any

from faults import scripted
from faults.account import account, bar, left_over, usual_bars
from faults.checker import Asked, Heard, Loss, spread
from faults.flock import Flock
from faults.load import DIALECTS, Load, asking, listen
from faults.runs import STEP_MS, Say, Size, flock_of
from tropilla.common.generation import Failed
from tropilla.common.room import MAX_LOST_WORKERS

LOOK_SECONDS = 0.02
#: One poison of so many works at a later word, the others at the first.
LATER_EVERY = 4
#: What such a one may cost: its words are handed over up to 30 ms late, and the next worker says those again that were not,
#: which is a way forward, too. Only then two are lost in a row.
MOST_LATER = 5


class Undertaker:
    """Notices workers that have died of themselves, and starts others in their place."""

    def __init__(self, flock: Flock) -> None:
        self._flock = flock
        self.losses: list[Loss] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="undertaker")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for sheep in [sheep for sheep in self._flock.living.values() if self._flock.gone(sheep)]:
                held = self._flock.holding().get(sheep.name, ())
                self.losses.append(Loss(time.monotonic(), sheep.name, tuple(held)))
                del self._flock.living[sheep.name]
                self._flock.fork()


def poisoned(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F17: `size.count` prompts that kill their worker, one after the other, under load."""
    chance = random.Random(seed)
    with flock_of(size) as flock:
        undertaker = Undertaker(flock)
        load = Load(flock, asking(random.Random(seed + 1)), clients=size.clients, model=scripted.NAME)
        began = time.monotonic()
        undertaker.start()
        load.start()
        answers: list[Heard] = []
        first: list[int] = []
        later: list[int] = []
        try:
            for number, dialect in zip(range(size.count), itertools.cycle(DIALECTS), strict=False):
                time.sleep(chance.uniform(0.2, 0.8))
                at = 0 if number % LATER_EVERY else chance.randint(1, 50)
                before = len(undertaker.losses)
                asked = Asked(
                    dialect, bool(number % 2), f"segmentation fault at {at}, {chance.getrandbits(64):016x}", 1, 100
                )
                answers.append(listen(flock, asked, scripted.NAME))
                (later if at else first).append(len(undertaker.losses) - before)
                say(f"{number + 1} of {size.count} poisons answered")
        finally:
            load.stop()
            undertaker.stop()
        seconds = time.monotonic() - began
        result = account(flock, load.heard, undertaker.losses, STEP_MS / 1000)
        result |= {"left_over": left_over(flock, f"{scripted.NAME}.cpu"), "seconds": round(seconds, 1)}
    ends = Counter(_end(each) for each in answers)
    result |= {
        "poisons": size.count,
        "poisons_ended": dict(ends),
        "poison_answered_after_seconds": spread([each.ended - each.began for each in answers]),
        "setup": {"workers": size.workers, "clients": size.clients, "step_ms": STEP_MS},
    }
    return result | {
        "bars": [
            *usual_bars(result),
            bar("workers killed by one that works at its first word, at the most", max(first), MAX_LOST_WORKERS),
            bar("workers killed by one that works at a later word, at the most", max(later), MOST_LATER),
            bar("poisons not answered with worker_crashed", size.count - ends["worker_crashed"], 0),
        ]
    }


def _end(heard: Heard) -> str:
    """The failure's code, as the journal has it."""
    last = heard.journal[-1] if heard.journal else None
    return last.code if isinstance(last, Failed) and heard.error else f"not failed: {heard.error or heard.text[:40]}"

"""Runs in which workers are taken away under load: killed, told to leave, frozen; with the script and with llama.cpp."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import scripted
from faults.account import Check, account, bar, left_over, usual_bars
from faults.checker import Heard, journalled, spread, verdict
from faults.flock import Flock
from faults.killer import Killer
from faults.load import Load, asking

Say = Callable[[str], None]
STEP_MS = 10.0
#: Where workers compute: each lives long enough to compute some prompts, which take it a good part of a second.
POCKET_BETWEEN_SECONDS = (1.0, 2.5)
#: What the bar says of the pause that a lost worker costs, in seconds.
MOST_PAUSE_SECONDS = 2.5
#: Journals are read when their answers are over, and a quarter of an hour of them is much.
SHORT = {"journal_seconds": 60, "visibility_seconds": 10}


@dataclass(frozen=True)
class Size:
    """How much of everything: `count` faults, `clients` at a time, `workers` that live."""

    count: int
    clients: int = 24
    workers: int = 4


@contextmanager
def flock_of(size: Size, *, step_ms: float = STEP_MS, **settings: object) -> Iterator[Flock]:
    """Ready to be asked."""
    with tempfile.TemporaryDirectory(prefix="tropilla-faults-") as folder:
        flock = Flock(Path(folder), step_ms=step_ms, **{"slots": 16, **SHORT, **settings})
        try:
            flock.populate(size.workers)
            flock.start_api()
            yield flock
        finally:
            flock.stop()


def killed(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F1, F2: kill -9 of workers under load."""
    result = _under_load(size, seed, say, lambda killer: killer.kill(size.count))
    return result | {"bars": [*usual_bars(result), _pause_bar(result)]}


def frozen(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F4: SIGSTOP of workers under load, and SIGCONT once their requests have gone on elsewhere."""
    result = _under_load(size, seed, say, lambda killer: killer.freeze(size.count))
    return result | {"bars": [*usual_bars(result), _pause_bar(result)]}


def told_to_leave(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F3: SIGTERM of workers under load."""
    found: list[float] = []

    def tell(killer: Killer) -> None:
        killer.tell(size.count)
        found.extend(killer.leaving)

    result = _under_load(size, seed, say, tell)
    result["leaving_seconds"] = spread(found)
    left = bar("a worker leaves within, seconds", max(found), 5.0, unit="s")
    return result | {"bars": [*usual_bars(result), left, _pause_bar(result, 1.0)]}


def _pause_bar(result: dict[str, Any], most: float = MOST_PAUSE_SECONDS) -> dict[str, Any]:
    """Where a second worker was lost in the same pause, there were two."""
    found = result["added_pause_seconds_of_one_loss"].get("p99", 0.0)
    return bar("added pause for a worker lost, p99", found, most, unit="s")


def _under_load(size: Size, seed: int, say: Say, harm: Callable[[Killer], None]) -> dict[str, Any]:
    with flock_of(size) as flock:
        asked = asking(random.Random(seed))
        killer = Killer(flock, random.Random(seed + 1), say=say)
        load = Load(flock, asked, clients=size.clients, model=scripted.NAME)
        result = under_load(load, killer, harm, STEP_MS / 1000)
        result |= {"left_over": left_over(flock, f"{scripted.NAME}.cpu")}
        return result | {"setup": _setup(flock, size, step_ms=STEP_MS)}


def under_load(
    load: Load, killer: Killer, harm: Callable[[Killer], None], step_seconds: float, check: Check = verdict
) -> dict[str, Any]:
    """Does harm while the load lasts; what came of it."""
    began = time.monotonic()
    load.start()
    try:
        harm(killer)
    finally:
        load.stop()
    seconds = round(time.monotonic() - began, 1)
    return account(load.flock, load.heard, killer.losses, step_seconds, check) | {"seconds": seconds}


def _setup(flock: Flock, size: Size, **more: object) -> dict[str, Any]:
    own = {"workers": size.workers, "clients": size.clients, **more}
    return own | {key: flock.settings[key] for key in ("slots", *SHORT)}


# -- the real thing ----------------------------------------------------------------------------------------------------


def killed_pocket(size: Size, seed: int, say: Say) -> dict[str, Any]:
    """F1 with llama.cpp and the model in the box: what it says is not known beforehand, its indices are."""
    with flock_of(size, step_ms=0, threads=1, slots=8) as flock:
        asked = asking(random.Random(seed), tokens=(200, 400), prefix="Once upon a time there was")
        load = Load(flock, asked, clients=size.clients, model="pocket", temperature=0.8)
        killer = Killer(flock, random.Random(seed + 1), between=POCKET_BETWEEN_SECONDS, say=say)
        result = under_load(load, killer, lambda killer: killer.kill(size.count), 0.0, _ended_as_journalled)
        result |= {"left_over": left_over(flock, "pocket.cpu")}
        result |= {"setup": _setup(flock, size, model="pocket")}
    return result | {"bars": [*usual_bars(result), _pause_bar(result)]}


def _ended_as_journalled(heard: Heard) -> list[str]:
    """It ended well, and its journal, index by index, is what its client heard."""
    if heard.error:
        return [f"error: {heard.error}"]
    wrong = journalled(heard)
    return wrong if heard.last else [*wrong, "no end"]

"""`python -m faults`: takes processes away, checks every answer, keeps the results and renders the page."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from faults import booked, burst, comeback, hangups, page, poison, runs
from faults.facts import facts
from faults.matrix import TITLES
from faults.runs import Say, Size

SEED = 8
Run = Callable[[Size, int, Say], dict[str, Any]]
RUNS: dict[str, tuple[Run, Size]] = {
    "killed": (runs.killed, Size(1000, workers=6)),
    "pocket": (runs.killed_pocket, Size(100, clients=8, workers=4)),
    "told-to-leave": (runs.told_to_leave, Size(100)),
    "frozen": (runs.frozen, Size(25)),
    "api-killed": (comeback.api_killed, Size(100, workers=2)),
    "hung-up": (hangups.hung_up, Size(25, workers=1)),
    "poison": (poison.poisoned, Size(30, clients=12)),
    "burst": (burst.thundering, Size(10_000, workers=2)),
    "booked": (booked.booked, Size(10_000)),
}
#: How much smaller everything is with `--quick`.
QUICK = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)} (all)")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"({SEED})")
    parser.add_argument("--count", type=int, metavar="N", help="so many faults instead of as many as usual")
    parser.add_argument("--quick", action="store_true", help=f"a {QUICK}th of everything; keeps no result")
    parser.add_argument("--render-only", action="store_true", help="only write the page again")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.runs) - RUNS.keys():
        parser.error(f"there is no run {unknown.pop()!r}; there are {', '.join(RUNS)}")
    # Also then nothing of ours may go on running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    met = True
    for name in () if asked.render_only else asked.runs or RUNS:
        run, size = RUNS[name]
        count = asked.count or (max(2, size.count // QUICK) if asked.quick else size.count)
        result = one(name, run, replace(size, count=count), asked.seed)
        met = met and all(bar["met"] for bar in result["bars"])
        if not asked.quick:
            page.keep(page.RESULTS, name, result)
    if not asked.quick:
        page.write(page.PAGE, page.kept(page.RESULTS))
        say(f"written: {page.PAGE}")
    return 0 if met else 1


def one(name: str, run: Run, size: Size, seed: int) -> dict[str, Any]:
    say(f"{TITLES[name]}: {size.count} times, seed {seed}")
    known, began = facts(seed), time.monotonic()
    result = {"run": name, **known, **run(size, seed, say)}
    result["took_seconds"] = round(time.monotonic() - began, 1)
    for bar in result["bars"]:
        say(f"  {'met' if bar['met'] else 'NOT MET'}: {bar['what']}: {bar['value']} ({bar['sense']} {bar['limit']})")
    return result


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

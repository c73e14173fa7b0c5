"""`python -m bench.scale`: what one Redis, one API process and one worker carry, and which of them is full first.

No model: workers run the script of tests/faults, whose step takes as long as it is told to, so everything that is measured
is ours. Each part's own CPU time is counted, as the load generator shares the machine with them: a core's worth of a part
is one second over what it takes for a token or a request. --keep keeps the result and writes the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from tropilla.common.gguf import read_header
from tropilla.common.settings import Settings
from tropilla.workers.engine import Engine, size_of

from bench import crowd, journal, measure, scalepage, scripts
from bench.machine import processor
from bench.places import RESULTS, ROOT, BenchError, say

PAGE = ROOT / "docs" / "scale.md"
SLOTS = 256
#: A token of each stream takes so long, in ms: eight a second is slower than most read, ten is usual of a busy GPU.
STEP_MS = 100.0
#: Short answers: as much as the cluster can do.
SHORT_STEP_MS, SHORT_TOKENS, LANES = 5.0, 4, 48
OWN_TOKENS = 200


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    top.add_argument(
        "--streams", type=int, nargs="+", default=[32, 128, 256, 512], metavar="N", help="(32 128 256 512)"
    )
    top.add_argument("--seconds", type=float, default=8.0, metavar="N", help="of each measurement (8)")
    top.add_argument("--keep", action="store_true", help="keep the result")
    top.add_argument("--render-only", action="store_true", help="only write the page again")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    # The scripted model and the herd that it runs in are the tests'.
    sys.path.append(str(ROOT / "tests"))
    try:
        if not asked.render_only:
            result = run(asked)
            if asked.keep:
                measure.keep(RESULTS / "scale" / f"{result['date']}.json", result)
        if asked.keep or asked.render_only:
            scalepage.write(PAGE, scalepage.latest(RESULTS / "scale"))
            say(f"written: {PAGE}")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def run(asked: argparse.Namespace) -> dict[str, Any]:
    load = os.getloadavg()
    with journal.redis() as bus:
        found = {"redis": scripts.measure(bus, [1, 8, 32, 128], asked.seconds / 4)}
        say(f"redis: {found['redis']}")
        found["worker"] = [_own(bus, streams) for streams in (1, 8, 32, 128)]
    found["streams"] = [_streams(count, asked.seconds) for count in asked.streams]
    found["requests"] = _requests(asked.seconds)
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": load,
        "setup": vars(asked),
        **found,
    }


def _own(bus: Any, streams: int) -> dict[str, float]:
    """A worker's own part of a step, in this process: its loop and its publisher, where the model takes no time."""
    from faults import scripted

    scripted.take_the_place_of_llama(0.0)
    settings = Settings(slots=streams, context=512, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = scripted.write(Path(folder) / "scripted.gguf")
        header = read_header(path)
        engine = Engine(settings, scripted.NAME, path, header, size_of(settings, header, gpu=False), gpu=False)
        bench = journal.Bench(engine, bus, OWN_TOKENS)
        bench.round(streams, journalled=True)
        before, began = time.process_time(), time.perf_counter()
        bench.round(streams, journalled=True)
        spent, wall = time.process_time() - before, time.perf_counter() - began
        engine.close()
    tokens = streams * OWN_TOKENS
    found = {
        "streams": streams,
        "cpu_us_each": spent * 1e6 / tokens,
        "cpu_us_per_step": spent * 1e6 / OWN_TOKENS,
        "tokens_per_second": tokens / wall,
    }
    say(f"worker: {found}")
    return found


@dataclass(frozen=True)
class Parts:
    """The processes of a cluster, by what they are; ours is this one, the load generator."""

    pids: dict[str, list[int]]

    def sample(self) -> dict[str, Any]:
        """When it is, and of each part its CPU seconds and its memory, in MB."""
        return {"at": time.perf_counter(), **{part: _spent(pids) for part, pids in self.pids.items()}}


def _spent(pids: Sequence[int]) -> dict[str, float]:
    cpu, memory = 0.0, 0.0
    for pid in pids:
        process = psutil.Process(pid)
        times = process.cpu_times()
        cpu += times.user + times.system
        memory += process.memory_info().rss / 1e6
    return {"cpu": cpu, "memory": memory}


@contextmanager
def _cluster(workers: int, step_ms: float) -> Iterator[tuple[int, str, Parts]]:
    """One Redis, one API process, so many workers: the API's port, the model's name, the processes."""
    from faults import scripted
    from faults.flock import Flock

    with tempfile.TemporaryDirectory() as folder:
        flock = Flock(Path(folder), step_ms=step_ms, slots=SLOTS, context=1024, max_queue=2000, max_queue_in_all=4000)
        try:
            sheep = flock.populate(workers)
            master = flock.start_api().pid
            api = [child.pid for child in psutil.Process(master).children(recursive=True)]
            pids = {
                "redis": [flock.redis_process.pid],
                "api": api,
                "worker": [each.pid for each in sheep],
                "load": [os.getpid()],
            }
            yield flock.api_port, scripted.NAME, Parts(pids)
        finally:
            flock.stop()


def _streams(count: int, seconds: float) -> dict[str, Any]:
    workers = -(-count // SLOTS)
    with _cluster(workers, STEP_MS) as (port, model, parts):
        # Everything has been touched once.
        crowd.ask(port, model, 4, 4, 0.5, parts.sample)
        idle = parts.sample()
        heard, first, last = crowd.hold(port, model, count, seconds, parts.sample)
    seen = crowd.gaps(heard, first["at"], last["at"])
    wall = last["at"] - first["at"]
    found = {
        "streams": count,
        "workers": workers,
        "tokens_per_second": seen["tokens"] / wall,
        "wanted_per_second": count * 1000 / STEP_MS,
        "gap_p50_ms": seen["gap_p50_ms"],
        "gap_p99_ms": seen["gap_p99_ms"],
        "memory_kb_each": (last["api"]["memory"] - idle["api"]["memory"]) * 1000 / count,
        **_shares(first, last, seen["tokens"]),
    }
    say(f"streams: {found}")
    return found


def _requests(seconds: float) -> dict[str, Any]:
    with _cluster(1, SHORT_STEP_MS) as (port, model, parts):
        crowd.ask(port, model, 4, 4, 0.5, parts.sample)
        alone, _, _ = crowd.ask(port, model, 1, SHORT_TOKENS, seconds / 4, parts.sample)
        heard, first, last = crowd.ask(port, model, LANES, SHORT_TOKENS, seconds, parts.sample)
    seen, one = crowd.answers(heard), crowd.answers(alone)
    found = {
        **seen,
        "lanes": LANES,
        "requests_per_second": seen["requests"] / (last["at"] - first["at"]),
        "alone": one,
        **_shares(first, last, seen["requests"]),
    }
    say(f"requests: {found}")
    return found


def _shares(first: dict[str, Any], last: dict[str, Any], each: float) -> dict[str, Any]:
    """Of each part: cores that it kept busy, and CPU microseconds for each token or request."""
    wall = last["at"] - first["at"]
    spent = {part: last[part]["cpu"] - first[part]["cpu"] for part in ("redis", "api", "worker", "load")}
    return {
        "cores": {part: cpu / wall for part, cpu in spent.items()},
        "cpu_us_each": {part: cpu * 1e6 / each for part, cpu in spent.items()},
    }


if __name__ == "__main__":
    sys.exit(main())

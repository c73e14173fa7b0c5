"""Results of `bench.scale` -> the section of docs/scale.md between two markers. Pure but for `latest` and `write`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import page
from bench.places import BenchError

Result = Mapping[str, Any]
Rows = Iterator[str]

#: What is ours, in the order in which a token passes; what it is called; how many cores one process can use.
PARTS: Mapping[str, str] = {"worker": "worker process, its own part", "redis": "Redis", "api": "API process"}
MICROSECONDS = 1e6
#: A part that is busier than this makes callers wait: queueing alone doubles a time at half of it.
HEADROOM = 0.7
#: Tokens a second of one stream: of a small model on CPUs, and of a larger one on a GPU.
PACES = (10, 30)
#: Streams side by side, of a fleet.
FLEETS = (500, 5_000, 50_000)
#: How long the journal of an answer is kept (`journal_seconds`).
KEPT_SECONDS = 600
#: Tokens of one answer, for what requests cost beside tokens.
ANSWERS = (50, 250)


def latest(folder: Path) -> Result:
    """The newest; dates are the file names."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise BenchError(f"nothing was kept in {folder}: run python -m bench.scale --keep")
    found: Result = json.loads(files[-1].read_text())
    return found


def write(path: Path, result: Result) -> None:
    path.write_text(page.replaced(path.read_text(), section(result)))


def section(result: Result) -> str:
    return "\n".join(
        [
            "## Measured (`python -m bench.scale --keep`)",
            "",
            f"{result['date']}, {result['processor']}, {result['cores']} cores, Python {result['python']}; load average "
            f"before: {result['load_average'][0]:.1f}.",
            *_block("Redis: the hand-over of one step (append.lua)", redis(result)),
            *_block("A worker's own part of a step, beside the model's", worker(result)),
            *_block("Streams through one Redis and one API process", streams(result)),
            *_block("Short requests, as many as it can do", requests(result)),
            *_block("What a full core of each part carries, and which is full first", knees(result)),
            *_block("A cell: one Redis, and what fills it", cell(result)),
            *_block("A fleet, computed from the above", fleet(result)),
        ]
    )


def _block(title: str, rows: Rows) -> list[str]:
    return ["", f"### {title}", "", *rows]


def _head(*names: str) -> Rows:
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _whole(value: float) -> str:
    """Two digits that count; more would be noise."""
    if value < 10:
        return f"{value:.1f}"
    digits = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value / digits) * digits:,.0f}"


def redis(result: Result) -> Rows:
    yield from _head("streams in a step", "CPU µs a call", "CPU µs a token", "tokens/s on a core")
    for each in result["redis"]["steps"]:
        own = each["cpu_us_each"]
        yield _row(f"{each['streams']}", f"{each['cpu_us_per_call']:.0f}", f"{own:.1f}", _whole(MICROSECONDS / own))
    life = result["redis"]["requests"]["cpu_us_each"]
    yield ""
    yield (
        f"A request's life (admit.lua, take.lua, and its last append.lua) takes {life:.0f} µs: "
        f"{_whole(MICROSECONDS / life)} requests/s on a core, without Celery's ticket, leases and whoever listens."
    )


def worker(result: Result) -> Rows:
    yield from _head("streams", "CPU µs a step", "CPU µs a token", "tokens/s with a model that takes no time")
    for each in result["worker"]:
        speed = _whole(each["tokens_per_second"])
        yield _row(f"{each['streams']}", f"{each['cpu_us_per_step']:.0f}", f"{each['cpu_us_each']:.1f}", speed)


def streams(result: Result) -> Rows:
    yield from _head(
        "streams",
        "workers",
        "tokens/s wanted",
        "tokens/s heard",
        "gap p50 / p99, ms",
        "busy cores: worker / Redis / API / load",
        "API µs a token",
        "API KB a stream",
    )
    for each in result["streams"]:
        yield _row(
            f"{each['streams']}",
            f"{each['workers']}",
            f"{each['wanted_per_second']:.0f}",
            f"{each['tokens_per_second']:.0f}",
            f"{each['gap_p50_ms']:.0f} / {each['gap_p99_ms']:.0f}",
            " / ".join(f"{each['cores'][part]:.2f}" for part in (*PARTS, "load")),
            f"{each['cpu_us_each']['api']:.0f}",
            f"{each['memory_kb_each']:.0f}",
        )


def requests(result: Result) -> Rows:
    found, alone = result["requests"], result["requests"]["alone"]
    tokens = round(found["tokens"] / found["requests"])
    yield (
        f"{found['requests_per_second']:.0f} requests/s of {tokens} tokens with {found['lanes']} callers at a time. One at "
        f"a time, first token after {alone['ttft_p50_ms']:.0f} ms (p99 {alone['ttft_p99_ms']:.0f}), of which the model's "
        f"two steps take ten."
    )
    yield ""
    yield from _head("part", "CPU µs a request", "requests/s on a core", "cores that it kept busy")
    for part, title in (*PARTS.items(), ("load", "(the load generator)")):
        own = found["cpu_us_each"][part]
        yield _row(title, f"{own:.0f}", _whole(MICROSECONDS / own), f"{found['cores'][part]:.2f}")


def fullest(result: Result) -> Result:
    """The most streams with which none of our own processes was busier than it should be: a busier one, being late, puts
    several steps into one message, and looks cheaper than it is.
    """
    calm = [each for each in result["streams"] if all(each["cores"][part] <= HEADROOM for part in PARTS)]
    if not calm:
        raise BenchError("each number of streams was too many for one of the processes: measure fewer")
    return max(calm, key=lambda each: int(each["streams"]))


def costs(result: Result) -> Mapping[str, float]:
    """CPU microseconds of each part for a token."""
    return {part: float(fullest(result)["cpu_us_each"][part]) for part in PARTS}


def beginnings(result: Result) -> Mapping[str, float]:
    """CPU microseconds of each part for a request, beyond those for its tokens."""
    found = result["requests"]
    tokens = found["tokens"] / found["requests"]
    return {part: max(0.0, found["cpu_us_each"][part] - tokens * cost) for part, cost in costs(result).items()}


def carries(token: float, begin: float, answer: float = math.inf) -> float:
    """Tokens a second of one core at the headroom, in answers of so many tokens."""
    return HEADROOM * MICROSECONDS / (token + begin / answer)


def knees(result: Result) -> Rows:
    token, begin = costs(result), beginnings(result)
    yield (
        f"A token's price is that of the row with {fullest(result)['streams']} streams, a request's that of short ones; "
        f"{HEADROOM:.0%} of a core, as callers wait for whoever is busier."
    )
    yield ""
    names = [f"tokens/s, answers of {answer}" for answer in ANSWERS]
    paces = [f"streams at {pace} tokens/s" for pace in PACES]
    yield from _head("part", "µs a token", "µs a request", "tokens/s", *names, *paces)
    for part in sorted(PARTS, key=lambda part: carries(token[part], begin[part], ANSWERS[-1])):
        endless = carries(token[part], begin[part])
        yield _row(
            PARTS[part],
            f"{token[part]:.0f}",
            f"{begin[part]:.0f}",
            _whole(endless),
            *(_whole(carries(token[part], begin[part], answer)) for answer in ANSWERS),
            *(_whole(endless / pace) for pace in PACES),
        )


def cell(result: Result) -> Rows:
    """How many of the others one Redis feeds, by how long answers are."""
    token, begin = costs(result), beginnings(result)
    yield from _head(
        "answers of",
        "one Redis carries",
        "in requests/s",
        "API processes beside it",
        "cores of workers beside the model",
    )
    for answer in ANSWERS:
        most = carries(token["redis"], begin["redis"], answer)
        beside = {part: most / carries(token[part], begin[part], answer) for part in ("api", "worker")}
        yield _row(
            f"{answer} tokens",
            f"{_whole(most)} tokens/s",
            _whole(most / answer),
            f"{math.ceil(beside['api'])}",
            f"{beside['worker']:.1f}",
        )


def fleet(result: Result) -> Rows:
    """What so many streams cost beside the models themselves."""
    token, begin, answer, pace = costs(result), beginnings(result), ANSWERS[-1], PACES[-1]
    kept = max(float(each["memory_bytes_each"]) for each in result["redis"]["steps"])
    yield (
        f"Streams at {pace} tokens/s, answers of {answer} tokens. A core is one that is {HEADROOM:.0%} busy; workers' is "
        f"what they need beside the model. A token takes {kept:.0f} bytes of Redis for {KEPT_SECONDS // 60} minutes."
    )
    yield ""
    yield from _head(
        "streams", "tokens/s", "cells", "API processes", "cores of workers", "cores in all", "Redis, GB a cell"
    )
    for streams in FLEETS:
        wanted = streams * pace
        cells, api = (math.ceil(wanted / carries(token[part], begin[part], answer)) for part in ("redis", "api"))
        beside = wanted / carries(token["worker"], begin["worker"], answer)
        memory = wanted / cells * kept * KEPT_SECONDS / 1e9
        whole = cells + api + beside
        yield _row(f"{streams:,}", f"{wanted:,}", f"{cells}", f"{api}", _whole(beside), _whole(whole), f"{memory:.1f}")

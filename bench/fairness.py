"""`python -m bench.fairness`: what nine light keys notice of one that asks fifty times as often as each of them.

One worker of `tropilla up`, asked over HTTP in an open loop: first by the light keys alone, then at the very same times by
all. Reported are the light keys' times to first token and their ratio, Jain's index of what each key had of its fair part,
and the tokens per second beside those of a server that has exactly as much to do as it can. --keep keeps the result and
writes the table of docs/durability.md.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import fairpage, measure, models, servers, sharing
from bench.cells import SAMPLING
from bench.client import DONE, PATH, READ_BYTES
from bench.figures import MILLISECONDS, percentile
from bench.places import RESULTS, ROOT, BenchError, say
from bench.sharing import Arrival
from bench.wire import Answer, post

KEPT = RESULTS / "fairness"
PAGE = ROOT / "docs" / "durability.md"

PROMPT_WORDS = 4
#: How often every slot is filled to learn what the server can do.
FILLINGS = 6
#: After its time a phase waits so long for the light keys' last answers.
GRACE_SECONDS = 60.0
#: The model that a worker has without being given one.
POCKET = "pocket"


@dataclass(eq=False, slots=True)
class Asked:
    """One request, and when each of its tokens came, in seconds since the phase began."""

    arrival: Arrival
    times: list[float] = field(default_factory=list)
    status: int = 0

    @property
    def waited(self) -> float:
        return self.times[0] - self.arrival.at

    def tokens(self, seconds: float) -> int:
        """Of those that came in time."""
        return sum(at <= seconds for at in self.times)


class Phase:
    """Everybody asks when he asks, until the time is over; then the light keys' last answers are waited for."""

    def __init__(self, model: str, tokens: int, port: int, times: Sequence[Arrival]) -> None:
        self._model, self._tokens, self._port = model, tokens, port
        self._asked = [Asked(arrival) for arrival in times]

    async def run(self, seconds: float) -> list[Asked]:
        self._began = time.perf_counter()
        tasks = {asyncio.create_task(self._ask(asked, number)): asked for number, asked in enumerate(self._asked)}
        light = [task for task, asked in tasks.items() if asked.arrival.key != sharing.HEAVY]
        await asyncio.sleep(seconds)
        await asyncio.wait(light, timeout=GRACE_SECONDS)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = next((error for error in ended if isinstance(error, Exception)), None)
        if broken is not None:
            raise BenchError(f"a request broke: {broken!r}")
        return self._asked

    @property
    def _now(self) -> float:
        return time.perf_counter() - self._began

    async def _ask(self, asked: Asked, number: int) -> None:
        await asyncio.sleep(asked.arrival.at - self._now)
        answer = Answer()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            headers = {"Authorization": f"Bearer {asked.arrival.key}"}
            writer.write(post(PATH, self._port, json.dumps(self._body(number)).encode(), headers))
            while data := await reader.read(READ_BYTES):
                asked.times += [self._now for event in answer.feed(data) if event != DONE and _has_text(event)]
            asked.status = answer.head.status if answer.head else 0
        finally:
            writer.close()

    def _body(self, number: int) -> Mapping[str, Any]:
        """A prompt of its own for each."""
        prompt = "".join(f" w{number * 7919 + place}" for place in range(PROMPT_WORDS))
        fixed = {"model": self._model, "stream": True, "ignore_eos": True, "max_tokens": self._tokens}
        return {**SAMPLING, **fixed, "prompt": prompt, "seed": number}


def _has_text(event: bytes) -> bool:
    return any(choice.get("text") for choice in json.loads(event).get("choices", []))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    top.add_argument("--model", default="135m-q4_0", metavar="NAME", help="or pocket (135m-q4_0)")
    top.add_argument("--seconds", type=float, default=60.0, metavar="N", help="of each phase (60)")
    top.add_argument("--slots", type=int, default=8, metavar="N", help="(8)")
    top.add_argument("--threads", type=int, default=1, metavar="N", help="(1)")
    top.add_argument("--tokens", type=int, default=32, metavar="N", help="of each answer (32)")
    top.add_argument("--keep", action="store_true", help="keep the result")
    top.add_argument("--render-only", action="store_true", help="only write the page again")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    if asked.render_only:
        return _render()
    load, setup = os.getloadavg(), servers.Setup(asked.threads, asked.slots, models.CONTEXT)
    try:
        if asked.model == POCKET:
            server, file = servers.ours_alone(POCKET), models.model_file("135m-q4_0")
        else:
            server, file = servers.ours(), models.make(models.model_file(asked.model))
        with servers.running(server, file, setup) as up:
            result = {**run(up.port, asked), "load_average": load}
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    say(json.dumps(result, indent=1))
    if asked.keep:
        measure.keep(KEPT / f"{result['date']}-{asked.model}.json", result)
        return _render()
    return 0


def _render() -> int:
    fairpage.write(PAGE, fairpage.latest(KEPT))
    say(f"written: {PAGE}")
    return 0


def run(port: int, asked: argparse.Namespace) -> dict[str, Any]:
    capacity = _capacity(port, asked)
    rate = sharing.LIGHT_LOAD * capacity / asked.tokens / sharing.LIGHT_KEYS
    say(f"{capacity:.1f} tokens/s at most; each light key asks {rate:.2f} times a second")
    light = dict.fromkeys(sharing.light_keys(), rate)
    phases = {"alone": light, "together": {**light, sharing.HEAVY: rate * sharing.HEAVY_TIMES}}
    seen = {}
    for name, rates in phases.items():
        times = sharing.arrivals(rates, asked.seconds, "fairness")
        said = asyncio.run(Phase(asked.model, asked.tokens, port, times).run(asked.seconds))
        seen[name] = _figures(said, asked)
        say(f"{name}: {seen[name]}")
    alone, together = seen["alone"], seen["together"]
    return {
        "date": datetime.date.today().isoformat(),
        "setup": vars(asked),
        "capacity": capacity,
        "phases": seen,
        "ttft_p50_ratio": together["ttft_p50_ms"] / alone["ttft_p50_ms"],
        "ttft_p95_ratio": together["ttft_p95_ms"] / alone["ttft_p95_ms"],
        "jain": together["jain"],
        "throughput_of_capacity": together["tokens_per_second"] / capacity,
    }


def _capacity(port: int, asked: argparse.Namespace) -> float:
    """Tokens a second while somebody always waits for a slot; the second time, when everything has been touched."""
    for _ in range(2):
        times = [Arrival(0.0, "calibration")] * FILLINGS * asked.slots
        seen = asyncio.run(Phase(asked.model, asked.tokens, port, times).run(0.0))
    full = sorted(at for each in seen for at in each.times)
    # Before the first slot is left empty for ever.
    full = full[: -asked.slots * asked.tokens]
    return (len(full) - 1) / (full[-1] - full[0])


def _figures(seen: list[Asked], asked: argparse.Namespace) -> dict[str, Any]:
    had: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for each in seen:
        wanted[each.arrival.key] += asked.tokens
        had[each.arrival.key] += each.tokens(asked.seconds)
    light = [each for each in seen if each.arrival.key != sharing.HEAVY]
    if missing := sum(each.status != 200 for each in light):
        raise BenchError(f"{missing} of {len(light)} requests of light keys were not answered.")
    waited = [each.waited * MILLISECONDS for each in light]
    return {
        "requests": len(seen),
        "refused": sum(each.status not in (0, 200) for each in seen),
        "light_requests": len(light),
        "ttft_p50_ms": percentile(waited, 0.50),
        "ttft_p95_ms": percentile(waited, 0.95),
        "ttft_p99_ms": percentile(waited, 0.99),
        "tokens": had,
        "jain": sharing.fairness(wanted, had),
        "tokens_per_second": had.total() / asked.seconds,
    }


if __name__ == "__main__":
    sys.exit(main())

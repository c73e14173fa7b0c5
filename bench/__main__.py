"""`python -m bench`: builds, makes models, measures, keeps the results and renders the page."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench import build, cells, machine, measure, models, page, peer, servers
from bench.places import CACHE, PAGE, RESULTS, BenchError, say

DEFAULT_MODELS = "135m-q8_0,135m-q4_0,0.5b-q8_0,0.5b-q4_0"
#: Minutes that one round of all cells and servers takes on two cores; only for the estimate.
ROUND_MINUTES = {"135m": 1.3, "0.5b": 2.5}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    top.add_argument("--models", default=DEFAULT_MODELS, metavar="A,B", help=f"({DEFAULT_MODELS})")
    top.add_argument(
        "--cells", default="", metavar="A,B", help=f"of {', '.join(cell.name for cell in cells.CELLS)} (all)"
    )
    top.add_argument("--rounds", type=int, default=5, metavar="N", help="(5)")
    top.add_argument("--threads", type=int, default=default_threads(), metavar="N", help=f"({default_threads()})")
    top.add_argument("--slots", type=int, default=16, metavar="N", help="(16)")
    top.add_argument(
        "--context", type=int, default=models.CONTEXT, metavar="N", help=f"tokens a slot ({models.CONTEXT})"
    )
    top.add_argument("--llama-server-flags", default="", metavar="TEXT", help="more flags for llama-server (none)")
    top.add_argument("--quick", action="store_true", help="one round with little work; like --cells it keeps no result")
    top.add_argument("--keep", action="store_true", help="keep the result though it is of some --cells only")
    top.add_argument("--render-only", action="store_true", help="only write the page again")
    return top


def default_threads() -> int:
    """What `tropilla up` gives its worker: the rest of a cluster needs a core, too."""
    return max(1, (os.cpu_count() or 1) - 1)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    # Also then nothing of ours may go on running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not asked.render_only:
            run(asked)
        if asked.render_only or kept(asked):
            page.write(PAGE, page.latest(RESULTS))
            say(f"written: {PAGE}")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(asked: argparse.Namespace) -> None:
    chosen = choose_cells(asked.cells)
    files = [models.model_file(name) for name in asked.models.split(",")]
    rounds = 1 if asked.quick else asked.rounds
    flags = shlex.split(asked.llama_server_flags)
    built = build.build()
    facts = machine.facts(built)
    compiled = facts["system_information"]
    if compiled["llama_cpp"] != compiled["llama_server"]:
        say(
            f"careful: not compiled alike. llama_cpp: {compiled['llama_cpp']}; llama-server: {compiled['llama_server']}"
        )
    all_servers: dict[cells.ServerName, servers.Server] = {
        "tropilla": servers.ours(),
        "llama-server": servers.llama_server(built, flags),
        "llama-server-unified": servers.llama_server(built, [*flags, "--kv-unified"], name="llama-server-unified"),
    }
    if any("llama_cpp.server" in cell.peers for cell in chosen):
        all_servers["llama_cpp.server"] = servers.llama_cpp_server(peer.environment(built.version))
    files = [models.make(file) for file in files]
    if not asked.quick:
        estimate = sum(rounds * ROUND_MINUTES[file.shape.name] for file in files)
        say(f"measuring {len(files)} models, {rounds} rounds, about {estimate:.0f} minutes with all cells")
    for file in files:
        result = one_model(file, chosen, asked, rounds, all_servers) | {"machine": facts}
        show(result)
        if kept(asked):
            measure.keep(RESULTS / f"{result['date']}-{file.name}.json", result)


def kept(asked: argparse.Namespace) -> bool:
    """Whether the run is one to be kept; a look at some cells must not take the place of a full result unasked."""
    return not asked.quick and (asked.keep or not asked.cells)


def one_model(
    file: models.ModelFile,
    chosen: Sequence[cells.Cell],
    asked: argparse.Namespace,
    rounds: int,
    all_servers: measure.Servers,
) -> dict[str, Any]:
    began = time.monotonic()
    sizes = cells.QUICK if asked.quick else cells.SIZES[file.shape.name]
    setup = servers.Setup(asked.threads, asked.slots, asked.context)
    plan = measure.Plan(file, setup, sizes, chosen, rounds, CACHE / "raw" / file.name)
    seen = measure.measure(plan, all_servers)
    say(f"{file.name}: {(time.monotonic() - began) / 60:.1f} minutes")
    return {
        "model": file.name,
        "date": datetime.date.today().isoformat(),
        "setup": dataclasses.asdict(setup),
        "sizes": dataclasses.asdict(sizes),
        "llama_server_flags": shlex.split(asked.llama_server_flags),
        "rounds": seen,
    }


def show(result: dict[str, Any]) -> None:
    for line in page.table(result):
        say(line)


def choose_cells(text: str) -> list[cells.Cell]:
    known = {cell.name: cell for cell in cells.CELLS}
    names = text.split(",") if text else list(known)
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"There is no cell {unknown[0]!r}; there are {', '.join(known)}.")
    return [known[name] for name in names]


if __name__ == "__main__":
    sys.exit(main())

"""Results of `bench.fairness` -> the section of docs/durability.md between markers. Pure but for `latest` and `write`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import page
from bench.sharing import HEAVY_TIMES, LIGHT_KEYS, LIGHT_LOAD

Result = Mapping[str, Any]

#: What a light key's p95 may be of its p95 alone.
BAR = 1.2
HEAD = (
    "| model, tokens/s at most | light keys' first token alone, p50 / p95 ms | beside the heavy one | p95, times alone "
    "| heavy requests refused | Jain's index | tokens/s of the most |",
    f"|{' --- |' * 7}",
)


def latest(folder: Path) -> list[Result]:
    """The newest result of each model; dates begin the file names."""
    newest: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        newest[result["setup"]["model"]] = result
    return [newest[name] for name in sorted(newest)]


def write(path: Path, results: Sequence[Result]) -> None:
    path.write_text(page.replaced(path.read_text(), section(results)))


def section(results: Sequence[Result]) -> str:
    return "\n".join(
        (
            "## A heavy key beside light ones (`python -m bench.fairness --keep`)",
            "",
            f"{LIGHT_KEYS} light keys ask for {LIGHT_LOAD:.0%} of what one worker can do; another key asks {HEAVY_TIMES} "
            f"times as often as each of them, which is more than there is. No light request may be refused; the bar is a "
            f"p95 within {BAR} of alone.",
            "",
            *HEAD,
            *map(_row, results),
            "",
            *_circumstances(results),
        )
    )


def _row(result: Result) -> str:
    alone, together = result["phases"]["alone"], result["phases"]["together"]
    ratio = result["ttft_p95_ratio"]
    cells = (
        f"{result['setup']['model']}, {result['capacity']:.0f}",
        _times(alone),
        _times(together),
        f"{ratio:.2f}" if ratio <= BAR else f"**{ratio:.2f}**",
        f"{together['refused']} of {together['requests'] - together['light_requests']}",
        f"{result['jain']:.3f}",
        f"{result['throughput_of_capacity']:.0%}",
    )
    return f"| {' | '.join(cells)} |"


def _times(phase: Mapping[str, Any]) -> str:
    return f"{phase['ttft_p50_ms']:.0f} / {phase['ttft_p95_ms']:.0f}"


def _circumstances(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        setup = result["setup"]
        yield (
            f"{setup['model']}: {result['date']}, {setup['seconds']:.0f} s each, {setup['slots']} slots, "
            f"{setup['threads']} thread(s), answers of {setup['tokens']} tokens; load average before: "
            f"{result['load_average'][0]:.1f}."
        )

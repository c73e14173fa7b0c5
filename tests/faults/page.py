"""Results -> the section of docs/faults.md between two markers. Pure but for `kept`, `keep` and `write`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.facts import ROOT
from faults.matrix import MATRIX, TITLES

RESULTS = ROOT / "tests" / "faults" / "results"
PAGE = ROOT / "docs" / "faults.md"
BEGIN = "<!-- make faults: begin -->"
END = "<!-- make faults: end -->"

Result = Mapping[str, Any]


def kept(folder: Path) -> dict[str, Result]:
    """The result of each run, by its name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def keep(folder: Path, name: str, result: Result) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def write(page: Path, results: Mapping[str, Result]) -> None:
    page.write_text(replaced(page.read_text(), section(results)))


def replaced(text: str, new: str) -> str:
    """The page with its section exchanged, or with one more at its end."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        return f"{text.rstrip()}\n\n{BEGIN}\n{new}\n{END}\n"
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def section(results: Mapping[str, Result]) -> str:
    known = [name for name in TITLES if name in results]
    lines = ["## Results", "", *_overview(results, known)]
    for name in known:
        lines += ["", f"### {TITLES[name]}", "", _circumstances(results[name]), "", *_bars(results[name])]
        lines += _details(results[name])
    return "\n".join([*lines, "", "## Where each fault is proven", "", *_matrix(results)])


def _overview(results: Mapping[str, Result], known: Sequence[str]) -> Iterator[str]:
    if not known:
        yield "Nothing was run yet."
        return
    bars = [each for name in known for each in results[name]["bars"]]
    machine = results[known[0]]["machine"]
    met = sum(each["met"] for each in bars)
    yield f"{met} of {len(bars)} bars are met. {machine['processor']}, {machine['cores']} cores, {machine['system']}."


def _circumstances(result: Result) -> str:
    loads = ", ".join(f"{load:.1f}" for load in result["machine"]["load_average_before"])
    setup = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result["setup"].items())
    minutes = f"{result['took_seconds'] / 60:.1f} minutes"
    return (
        f"{result['date']}, commit {result['commit']}, seed {result['seed']}, {minutes}; {setup}. Load before: {loads}."
    )


def _bars(result: Result) -> Iterator[str]:
    yield "| | measured | bar | met |"
    yield "| --- | --- | --- | --- |"
    for each in result["bars"]:
        value, limit = shown(each["value"]), f"{each['sense']} {shown(each['limit'])}"
        unit = f" {each['unit']}" if each["unit"] else ""
        yield f"| {each['what']} | {value}{unit} | {limit}{unit} | {'yes' if each['met'] else '**no**'} |"


#: What is told of a run beside its bars, in this order: key -> words.
COUNTED = {
    "losses": "processes taken away",
    "requests": "requests",
    "streams": "of them streams",
    "tokens": "tokens",
    "interrupted": "requests interrupted",
    "twice_or_more": "of them twice or more",
    "before_first_token": "interrupted before their first token",
    "returns": "returns of clients",
    "begun_anew": "asked anew, having heard nothing yet",
    "poisons": "poisons",
    "answered": "taken in and answered",
    "refused": "refused",
}
#: Durations, each a spread.
MEASURED = {
    "added_pause_seconds": "added pause",
    "added_pause_seconds_of_one_loss": "added pause where one worker was lost in it",
    "leaving_seconds": "a worker's leaving",
    "longest_silence_seconds": "longest silence of an interrupted stream",
    "refused_after_seconds": "a refusal",
    "poison_answered_after_seconds": "a poison's answer",
}


def _details(result: Result) -> Iterator[str]:
    counted = [f"{shown(result[key])} {words}" for key, words in COUNTED.items() if isinstance(result.get(key), int)]
    yield ""
    yield "; ".join(counted) + "."
    for key, words in MEASURED.items():
        if result.get(key, {}).get("count"):
            yield f"{words[0].upper()}{words[1:]}: {_spread(result[key])}."
    for what, found in result.get("freed_after_seconds", {}).items():
        yield f"- {what}: {_spread(found)}"
    for key in ("wrong", "journals_wrong"):
        for fault, count in result.get(key, {}).items():
            yield f"- {count} × {fault}"


def _spread(found: Mapping[str, float]) -> str:
    return f"median {found['p50']:.3f} s, p99 {found['p99']:.3f} s, most {found['max']:.3f} s, of {found['count']:,}"


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or value == int(value) else f"{value:,.3f}"


def _matrix(results: Mapping[str, Result]) -> Iterator[str]:
    yield "| | fault | what happens | proven by |"
    yield "| --- | --- | --- | --- |"
    for row in MATRIX:
        runs = [f"`make faults` ({TITLES[name].lower()})" for name in row.runs if name in results]
        yield f"| {row.number} | {row.fault} | {row.outcome} | {'; '.join([*runs, *(f'`{p}`' for p in row.tests)])} |"

"""Results -> the section of docs/benchmarks.md between two markers. Pure but for `latest` and `write`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.bars import Verdict, spread
from bench.cells import CELLS, PREFIX_ANSWER, Cell, ServerName

BEGIN = "<!-- make bench: begin -->"
END = "<!-- make bench: end -->"
HEAD = ("| cell | ours | theirs | ours / theirs (by round) | bar | met |", "| --- | --- | --- | --- | --- | --- |")
PREFACE = (
    "llama-server is built from the same sdist, with the same ggml options. One client process on the same cores; the same",
    "prompts (token ids), sampling sent in full to everybody (temperature 0.8, top_k 40, top_p 0.95, min_p 0), answers",
    "exactly as long as asked for. Random weights in true shapes. Servers take turns, in turned order, a fresh process",
    "each round; medians (least..most). Decode counts from the last stream's first token to the first stream's last.",
    "Theirs is llama-server with its default cache or, in the decode cells and where that is faster, with --kv-unified; or",
    "llama_cpp.server where it is named, and both get text prompts. Single rounds are in `bench/results/`.",
)
#: Who the others are, where it is not llama-server as it comes.
CALLED: Mapping[ServerName, str] = {
    "tropilla": "",
    "llama-server": "",
    "llama-server-unified": " (--kv-unified)",
    "llama_cpp.server": " (llama_cpp.server)",
}
#: Sizes by the name of their field, and what the page calls them.
TOKENS = {
    "decode_1": "with 1",
    "decode_8": "with 8",
    "decode_16": "with 16",
    "interrupted": "interrupted",
    "text_8": "beside llama_cpp.server",
}

Result = Mapping[str, Any]


def latest(folder: Path) -> list[Result]:
    """The newest result of each model; dates begin the file names."""
    newest: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        newest[result["model"]] = result
    return [newest[name] for name in sorted(newest)]


def write(page: Path, results: Sequence[Result]) -> None:
    page.write_text(replaced(page.read_text(), section(results)))


def replaced(text: str, new: str) -> str:
    """The page with its section exchanged, or with one more at its end."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        return f"{text.rstrip()}\n\n{BEGIN}\n{new}\n{END}\n"
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def section(results: Sequence[Result]) -> str:
    lines = ["## Beside llama-server and llama_cpp.server (`make bench`)", "", *_preface(results)]
    for result in results:
        lines += ["", f"### {result['model']}", "", _circumstances(result), "", *table(result)]
    return "\n".join(lines)


def table(result: Result) -> Iterator[str]:
    yield from HEAD
    for cell in CELLS:
        if measured := verdict(result, cell):
            yield _row(cell, *measured)


def verdict(result: Result, cell: Cell) -> tuple[ServerName, Verdict] | None:
    """The peer that makes the bar hardest, and the cell against it; None where nothing was measured."""
    against = [(peer, found) for peer in cell.peers if (found := _against(result, cell, peer))]
    if not against:
        return None
    hardest = min if cell.bar.sense == "at least" else max
    return hardest(against, key=lambda pair: pair[1].value)


def _against(result: Result, cell: Cell, peer: ServerName) -> Verdict | None:
    """Of the rounds in which both were measured."""
    pairs = [
        (servers["tropilla"]["cells"][cell.name][cell.headline], servers[peer]["cells"][cell.name][cell.headline])
        for servers in (each["servers"] for each in result["rounds"])
        if all(cell.name in servers.get(name, {}).get("cells", {}) for name in ("tropilla", peer))
    ]
    if not pairs:
        return None
    own, other = zip(*pairs, strict=True)
    return Verdict(cell.bar, own, other)


def _row(cell: Cell, peer: ServerName, measured: Verdict) -> str:
    bar = measured.bar
    least, most = min(measured.by_round), max(measured.by_round)
    value = f"{bar.shown(measured.value)} ({bar.shown(least)}..{bar.shown(most)})"
    value = value if bar.measure == "ratio" else f"{value} {cell.unit} more"
    met = "yes" if measured.met else "**no**"
    title = f"{cell.title}, {cell.unit}" + CALLED[peer]
    return f"| {title} | {spread(measured.ours)} | {spread(measured.theirs)} | {value} | {bar} | {met} |"


def _preface(results: Sequence[Result]) -> Iterator[str]:
    if not results:
        yield "Nothing was measured yet."
        return
    machine = results[-1]["machine"]
    yield f"{machine['processor']}, {machine['cores']} cores, llama-cpp-python {machine['versions']['llama-cpp-python']}."
    yield from PREFACE


def _circumstances(result: Result) -> str:
    sizes, setup = result["sizes"], result["setup"]
    loads = ", ".join(f"{load:.1f}" for load in result["machine"]["load_average_before"])
    flags = " ".join(result["llama_server_flags"]) or "none"
    tokens = ", ".join(f"{sizes[name]} {what}" for name, what in TOKENS.items())
    return (
        f"{result['date']}, {len(result['rounds'])} rounds; {setup['threads']} thread(s), {setup['slots']} slots of "
        f"{setup['context']} tokens for everybody; more flags of llama-server: {flags}. Tokens a stream: {tokens}, "
        f"{PREFIX_ANSWER} with the prefix; {sizes['first_tokens']} first tokens a round. Load average before: {loads}."
    )

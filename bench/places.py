"""Where the benchmark keeps things, and the one error it ends with."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Everything that can be made again: sources, builds, models, logs. Ignored by git.
CACHE = ROOT / ".bench"
MODELS = CACHE / "models"
LOGS = CACHE / "logs"
HOMES = CACHE / "homes"
#: The measurements themselves; kept in the repository.
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"


class BenchError(Exception):
    """Ends the run; its text is one sentence for whoever started it."""


def say(text: str) -> None:
    print(text, flush=True)

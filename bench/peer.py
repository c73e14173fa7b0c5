"""The environment that llama_cpp.server runs in: the same llama-cpp-python, and what its server needs beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.build import PACKAGE
from bench.places import CACHE, BenchError, say

CHECK = "import importlib.metadata as m, llama_cpp.server.app; print(m.version('llama-cpp-python'))"


def environment(version: str) -> Path:
    """Its python, installed now or earlier."""
    folder = CACHE / f"llama-cpp-server-{version}"
    python = folder / "bin" / "python"
    if _says(python) == version:
        return python
    say(f"build: {PACKAGE}[server] {version} in an environment of its own; minutes where pip has no wheel of it yet")
    log = CACHE / "peer.log"
    with log.open("w") as kept:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-input", f"{PACKAGE}[server]=={version}"],
        ):
            if subprocess.run(command, stdout=kept, stderr=subprocess.STDOUT, check=False).returncode:
                raise BenchError(f"llama_cpp.server could not be installed; {log} says why.")
    if (said := _says(python)) != version:
        raise BenchError(
            f"llama_cpp.server was installed, but answers {said!r} where {version} was expected; see {log}."
        )
    return python


def _says(python: Path) -> str | None:
    if not python.exists():
        return None
    answer = subprocess.run([str(python), "-c", CHECK], capture_output=True, text=True, check=False)
    return answer.stdout.strip()

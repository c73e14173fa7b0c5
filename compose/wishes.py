"""A wish to be restarted: a file in the home folder. Whoever has it makes it and signals `tropilla up`, which writes there
how it goes, a JSON object a line; the last one has `over`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from tropilla.common.errors import TropillaError

_PATTERN = "restart-*.wish"


def wish_file(folder: Path) -> Path:
    """This process's own."""
    return folder / f"restart-{os.getpid()}.wish"


class Wishes:
    """Every wish that is there when this is opened. They are told how it goes, and at the end how it went."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[TextIO] = []
        self._open = ExitStack()

    def __enter__(self) -> Wishes:
        for path in sorted(self._folder.glob(_PATTERN)):
            # Whoever had it may have left.
            with suppress(OSError):
                self._files.append(self._open.enter_context(path.open("r+", encoding="utf-8")))
                path.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            stopped = "" if error is None else "tropilla up was stopped"
            self._write({"over": True, "failure": error.message if isinstance(error, TropillaError) else stopped})

    def say(self, text: str) -> None:
        self._write({"over": False, "said": text})

    def _write(self, line: dict[str, Any]) -> None:
        for file in self._files:
            # A full disk is no reason to stop.
            with suppress(OSError):
                print(json.dumps(line), file=file, flush=True)


def told(file: TextIO) -> Iterator[dict[str, Any]]:
    """What is written there and was not read yet; nothing more for now where it ends."""
    while line := file.readline():
        if not line.endswith("\n"):
            file.seek(file.tell() - len(line.encode()))
            return
        yield json.loads(line)

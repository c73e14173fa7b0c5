"""What was typed before, for the arrow keys: kept in the home folder, for its owner only."""

from __future__ import annotations

import readline
from contextlib import suppress
from pathlib import Path
from types import TracebackType

LINES = 1000


class History:
    """While open. A folder that cannot be written costs the memory, and nothing else."""

    def __init__(self, home: Path) -> None:
        self._file = home / "history"

    def __enter__(self) -> History:
        readline.set_history_length(LINES)
        # Tab is a character here, not a question.
        readline.parse_and_bind("tab: self-insert")
        with suppress(OSError):
            readline.read_history_file(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
            readline.write_history_file(self._file)

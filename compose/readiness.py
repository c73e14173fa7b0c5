"""Which processes can be used: what they say on the pipe that they inherit (common/readiness.py)."""

from __future__ import annotations

import os
from collections import Counter
from types import TracebackType

READ_BYTES = 4096


class Readiness:
    """`writer` is the end that is inherited."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        # Whoever speaks must not wait for us to listen.
        os.set_blocking(self._reader, False)
        os.set_blocking(self.writer, False)
        self._rest = b""
        self._said: Counter[int] = Counter()

    def __enter__(self) -> Readiness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._reader)
        os.close(self.writer)

    def forget(self) -> None:
        """What was said before is no news: a number may belong to another process by now."""
        self._listen()
        self._said.clear()

    def count(self, pid: int) -> int:
        """How often that process was said to be usable: an API process's master is, by each of its own."""
        self._listen()
        return self._said[pid]

    def _listen(self) -> None:
        try:
            while data := os.read(self._reader, READ_BYTES):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._said.update(map(int, lines))
        except BlockingIOError:
            pass

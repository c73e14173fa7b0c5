"""Many processes' output as one readable log: whole lines, each behind the name of who said it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TextIO

#: The name behind which `tropilla up` itself speaks.
OWN_NAME = "tropilla"
#: ANSI foreground colours, given out in the order of the names. Red is left to what is wrong.
COLOURS = ("36", "33", "35", "34", "32", "96", "93", "95", "94", "92")
OWN_COLOUR = "1"
GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
#: A longer line is shown in pieces: nobody can make us hold an endless one.
LONGEST_LINE_BYTES = 8192


class Lines:
    """Bytes as they come -> whole lines. `flush` gives what is left when there is no more."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= LONGEST_LINE_BYTES:
            whole.append(self._rest[:LONGEST_LINE_BYTES])
            self._rest = self._rest[LONGEST_LINE_BYTES:]
        return [_text(line) for line in whole]

    def flush(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    """What a terminal would show in the end: a progress bar's last state."""
    return line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]


def wants_colour(environment: Mapping[str, str], *, terminal: bool) -> bool:
    """Colours for people only. See https://no-color.org"""
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def prefixes(names: Iterable[str], *, colour: bool) -> dict[str, str]:
    """What stands before a line of each name, all equally wide."""
    names = [*names, OWN_NAME]
    width = max(len(name) for name in names)
    plain = {name: f"{name:<{width}} | " for name in names}
    if not colour:
        return plain
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)} | {OWN_NAME: OWN_COLOUR}
    return {name: f"\x1b[{colours[name]}m{prefix}\x1b[0m" for name, prefix in plain.items()}


class Log:
    """Writes lines as they come.

    An output that is gone (a closed terminal, `| head`) is remembered, not raised: stopping cleanly must not fail for
    want of somewhere to say so. A full disk costs lines and nothing else.
    """

    def __init__(self, output: TextIO, prefixes: Mapping[str, str], *, json_lines: bool = False) -> None:
        """json_lines: whoever speaks such passes as he is, and what others say is put into one."""
        self._output = output
        self._prefixes = prefixes
        self._json_lines = json_lines
        self.gone = False

    def line(self, name: str, text: str) -> None:
        self._write(f"{_object(name, text) if self._json_lines else self._prefixes[name] + text}\n")

    def say(self, text: str) -> None:
        self.line(OWN_NAME, text)

    def block(self, text: str) -> None:
        """Unprefixed, to be copied from."""
        if self._json_lines:
            self.say(text)
        else:
            self._write(f"\n{text}\n\n")

    def _write(self, text: str) -> None:
        if self.gone:
            return
        try:
            self._output.write(text)
            self._output.flush()
        except OSError as error:
            self.gone = error.errno in GONE


def _object(name: str, text: str) -> str:
    """A line as the processes' own JSON lines are (common/logs.py)."""
    if text.startswith("{"):
        try:
            json.loads(text)
            return text
        except ValueError:
            pass
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    role = "up" if name == OWN_NAME else name
    return json.dumps({"time": time, "level": "info", "logger": "tropilla.up", "message": text, "role": role})

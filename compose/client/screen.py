"""The terminal, or whatever stands in its place: answers on stdout, everything about them on stderr."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

from rich.console import Console
from tropilla.compose.client import tables, words
from tropilla.compose.log import wants_colour

Style = Literal["", "bold", "faint"]
_SGR: Mapping[Style, str] = {"bold": "\x1b[1m", "faint": "\x1b[2m"}
_RESET = "\x1b[0m"


class Screen:
    """Styles, widths and the taming of control characters are for terminals: a pipe gets the text as it is."""

    def __init__(self, output: TextIO, errors: TextIO, environment: Mapping[str, str]) -> None:
        self._output, self._errors = output, errors
        self._environment = environment

    @property
    def terminal(self) -> bool:
        """Whether somebody reads the answers."""
        return self._output.isatty()

    @property
    def watched(self) -> bool:
        """Whether somebody sees what goes to stderr."""
        return self._errors.isatty()

    def write(self, text: str, style: Style = "") -> None:
        """A piece of an answer, at once."""
        self._put(self._output, text, style)

    def aside(self, text: str, style: Style = "") -> None:
        """Something that is not the answer."""
        self._put(self._errors, text, style)

    def say(self, sentence: str) -> None:
        self.aside(f"{sentence}\n")

    def json(self, value: Any) -> None:
        """One value, on one line."""
        self._output.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._output.flush()

    def table(self, header: Sequence[str], rows: Iterable[tables.Row]) -> None:
        first, *others = tables.aligned([tuple(header), *rows], width=self._width())
        self.write(f"{first}\n", "bold")
        self.write("".join(f"{line}\n" for line in others))

    def sections(self, sections: Iterable[tables.Section]) -> None:
        for title, rows in sections:
            self.write(f"  {title}\n", "bold")
            self.write("".join(f"    {line}\n" for line in tables.aligned(rows)) + "\n")

    def console(self) -> Console:
        """For what moves: bars and spinners, on stderr."""
        colours = wants_colour(self._environment, terminal=self.watched)
        return Console(file=self._errors, no_color=not colours, highlight=False, markup=False, emoji=False)

    def _width(self) -> int | None:
        return shutil.get_terminal_size().columns if self.terminal else None

    def _put(self, file: TextIO, text: str, style: Style) -> None:
        if file.isatty():
            text = words.harmless(text)
            if style and text and wants_colour(self._environment, terminal=True):
                text = f"{_SGR[style]}{text}{_RESET}"
        file.write(text)
        file.flush()


def forget(file: TextIO) -> None:
    """What could not be written to `| head` would be tried again, and complained about, when Python ends."""
    try:
        file.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())

"""What a batch's lines were answered, on the disk, while others are still awaited: one file for each process that ran it.

Theory of operation. A process takes a batch with a new term number, and writes answers into the segment of that term alone.
A row counts once Redis has been told how long the segment is by whoever holds the highest term (`book`): so what a process
writes that was frozen and has come back lies behind the length that counts, or in a segment without one, and is never read.
Whoever takes the batch next reads all rows that count and asks for the other lines only: so no line has two.

    5 1 31 0 12 0 {"id": "batch_req_...", ...}    line, whether it is a 200, tokens (as in `Tokens`), what is written of it

Rows are not forced onto the disk: those that a machine takes with it when it fails are not there, and are asked again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tropilla.api.batches.records import Tally, Tokens

#: Numbers before the answer.
_NUMBERS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a line. `good`: it was answered with a 200."""

    line: int
    good: bool
    tokens: Tokens
    text: bytes

    def packed(self) -> bytes:
        tokens = self.tokens
        numbers = (self.line, self.good, tokens.prompt, tokens.cached, tokens.generated, tokens.reasoning)
        return b"%d %d %d %d %d %d " % numbers + self.text + b"\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line's answer stands: which segment, and where in it, in bytes."""

    term: int
    start: int
    length: int
    good: bool


class Segments:
    """Of one batch, at the process that runs it in this term. `counted`: term -> so many bytes of its segment count."""

    def __init__(self, folder: Path, term: int, counted: Mapping[int, int]) -> None:
        self._folder, self._term = folder, term
        self._tokens = Tokens()
        self._good = self._length = 0
        self.places: dict[int, Place] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each, length in sorted(counted.items()):
            self._read(each, length)
        self._file = self._path(term).open("xb", buffering=0)

    def tally(self, total: int, *, closed: bool = False) -> Tally:
        """Of what was added, counted or not yet. closed: lines without an answer have failed."""
        return Tally(total, self._good, (total if closed else len(self.places)) - self._good, self._tokens)

    def add(self, row: Row) -> None:
        """It counts once Redis knows of `length`. A line's second row is a bug of ours."""
        assert row.line not in self.places, f"line {row.line} has an answer"
        packed = row.packed()
        self._file.write(packed)
        self._placed(row, Place(self._term, self._length + len(packed) - len(row.text) - 1, len(row.text), row.good))
        self._length += len(packed)

    @property
    def length(self) -> int:
        """Of this term's segment, in bytes."""
        return self._length

    def texts(self, lines: list[int]) -> Iterator[bytes]:
        """What is written of each of these lines, all of which have answers."""
        files = {term: self._path(term).open("rb") for term in {self.places[line].term for line in lines}}
        try:
            for line in lines:
                place = self.places[line]
                files[place.term].seek(place.start)
                yield files[place.term].read(place.length)
        finally:
            for file in files.values():
                file.close()

    def sync(self) -> None:
        """The disk has all of it: what was added is there whatever happens."""
        for path in self._folder.glob("*.rows"):
            with path.open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """The batch is over, and what its lines came to is in files of its caller's."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, term: int) -> Path:
        return self._folder / f"{term}.rows"

    def _read(self, term: int, counted: int) -> None:
        """Rows that are whole; a machine that failed may have taken the last ones with it."""
        path, start = self._path(term), 0
        if not path.exists():
            return
        with path.open("rb") as file:
            while start < counted and (data := file.readline()).endswith(b"\n") and start + len(data) <= counted:
                row = _unpacked(data)
                if row is not None and row.line not in self.places:
                    place = Place(term, start + len(data) - len(row.text) - 1, len(row.text), row.good)
                    self._placed(row, place)
                start += len(data)

    def _placed(self, row: Row, place: Place) -> None:
        self.places[row.line] = place
        self._good += row.good
        self._tokens = self._tokens + row.tokens


def _unpacked(data: bytes) -> Row | None:
    """None for what is no row: what a disk has made of one."""
    try:
        *numbers, text = data.rstrip(b"\n").split(b" ", _NUMBERS)
        line, good, *tokens = map(int, numbers)
        return Row(line, bool(good), Tokens(*tokens), text) if text.startswith(b"{") and text.endswith(b"}") else None
    except (ValueError, TypeError):
        return None

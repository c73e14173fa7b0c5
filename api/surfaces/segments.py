"""One answer as the stretches it consists of: reasoning, text and tool calls, each opened once, told in pieces and closed.

For dialects that tell an answer as a list of items or blocks. Tokens of any cut give the same segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tropilla.common.generation import Token

Kind = Literal["reasoning", "text", "call"]


@dataclass(slots=True)
class Segment:
    """What is of one kind and stands together. `place` counts the answer's segments, `call` its tool calls, from 0."""

    kind: Kind
    place: int
    call: int = 0
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """The text, or a call's arguments, as far as they have come."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Opened:
    segment: Segment


@dataclass(frozen=True, slots=True)
class More:
    segment: Segment
    piece: str


@dataclass(frozen=True, slots=True)
class Closed:
    segment: Segment


Step = Opened | More | Closed


class Segments:
    """One choice's segments while it grows: at most one of them is open."""

    def __init__(self) -> None:
        self._count = 0
        self.open: Segment | None = None

    def feed(self, token: Token) -> Iterator[Step]:
        if token.reasoning:
            yield from self._say("reasoning", token.reasoning)
        if token.text:
            yield from self._say("text", token.text)
        for delta in token.calls:
            yield from self._say("call", delta.arguments, call=delta.call, name=delta.name)

    def begin(self, kind: Kind, *, call: int = 0, name: str = "") -> Iterator[Step]:
        """Opens a segment, and closes the one before."""
        yield from self.end()
        self.open = Segment(kind, self._count, call, name)
        self._count += 1
        yield Opened(self.open)

    def end(self) -> Iterator[Step]:
        if self.open is not None:
            last, self.open = self.open, None
            yield Closed(last)

    def _say(self, kind: Kind, piece: str, *, call: int = 0, name: str = "") -> Iterator[Step]:
        if self.open is None or (self.open.kind, self.open.call) != (kind, call):
            yield from self.begin(kind, call=call, name=name)
        if piece and self.open is not None:
            self.open.pieces.append(piece)
            yield More(self.open, piece)

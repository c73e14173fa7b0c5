"""What a model said -> reasoning, text and tool calls, while it is being said.

Rules are those of contracts/ollama.md 7.2 and 7.3. Where they leave something open:

- What can no longer become a call is text, from its tag on. What still could when the reply ends is dropped behind a tag,
  and is text where the answer merely is JSON. Only tools that the caller offered are called, in every notation.
- Behind a call with a tag only further calls count. JSON without a tag is a call if it opens the answer, or follows such
  a call; other text behind it is text.
- Whitespace is all that may stand in front of a call and not be said.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from tropilla.common.generation import CallDelta
from tropilla.workers.families import Family, Tags
from tropilla.workers.notation import OPENERS, Calls
from tropilla.workers.scanning import Cursor, Scan, prefix, skip, until


@dataclass(frozen=True, slots=True)
class Shape:
    """What to look for in a reply."""

    #: None: calls are not looked for.
    family: Family | None = None
    #: The names that may be called.
    tools: Container[str] = frozenset()
    reasoning: Tags | None = None
    #: The prompt ended with the opening tag of the reasoning block.
    inside: bool = False
    #: A grammar lets nothing but calls come: what is none is the beginning of one, and never text.
    forced: bool = False
    #: Whether calls behind the first count.
    several: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """What can no longer change."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


class Reply:
    """One choice's reply while it grows. Feed it text; it answers with what that settles."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._inside = shape.inside and shape.reasoning is not None
        self._text: list[str] = []
        self._thoughts: list[str] = []
        #: Whitespace at the start of the answer, until it is known whether a call follows.
        self._space = ""
        #: What is no call is not said.
        self._muted = shape.forced
        self._cursor = Cursor()
        self._calls = Calls(self._cursor, shape.tools, several=shape.several)
        self._reading = self._read()
        # Up to where it wants the first character.
        next(self._reading)

    @property
    def reasoning(self) -> bool:
        """Whether the reply is inside its reasoning block now: from its opening tag on, the closing one excluded."""
        return self._inside

    def feed(self, text: str) -> Said:
        for character in text:
            self._cursor.advance(character)
            next(self._reading)
        return self._take()

    def flush(self) -> Said:
        """What was held back, once nothing more comes. Nothing may be fed after it."""
        self._cursor.advance("")
        next(self._reading, None)
        return self._take()

    def _take(self) -> Said:
        said = Said("".join(self._text), "".join(self._thoughts), self._calls.take())
        self._text, self._thoughts = [], []
        return said

    def _say(self, text: str) -> None:
        if not self._muted:
            self._text += (self._space, text)
        self._space = ""

    def _think(self, text: str) -> None:
        self._thoughts.append(text)

    def _enter(self, _: str) -> None:
        self._inside = True

    def _leave(self, _: str) -> None:
        self._inside = False

    def _read(self) -> Scan[None]:
        """The reasoning block, if the reply begins with one, and the answer."""
        yield
        tags, held = self._shape.reasoning, ""
        if not self._inside:
            self._space = yield from skip(self._cursor)
            if tags is not None:
                held = yield from prefix(self._cursor, tags.open, self._enter)
        if tags is not None and self._inside:
            yield from skip(self._cursor)
            yield from until(self._cursor, (tags.close,), self._think, found=self._leave)
            yield from skip(self._cursor)
            self._space = held = ""
        if len(held) > 1 and not self._cursor.here:
            # Half a tag (`scanning.until`).
            held = ""
        yield from self._answer(held)

    def _answer(self, held: str) -> Scan[None]:
        """Text and calls. `held` is what was consumed already, looking for a reasoning block."""
        family = self._shape.family
        tags = family.tags if family is not None else ()
        if family is not None and not held:
            held = yield from self._bare(tags)
        while tag := (yield from until(self._cursor, tags, self._say, held)):
            held = ""
            yield from self._tagged(tag)
        self._say("")

    def _bare(self, tags: tuple[str, ...]) -> Scan[str]:
        """Calls without a tag, at the start of the answer. Returns what turned out to begin one of the tags."""
        while self._cursor.here in OPENERS:
            made = self._calls.made
            yield from self._calls.objects(strict=True)
            if self._calls.made:
                self._space = ""
            # What might have become a call, and did not.
            rest = self._cursor.end_record()
            if rest and any(tag.startswith(rest) for tag in tags):
                return rest
            # Where the reply ends, what is left over is the rest of a call if there was one; else the answer is JSON.
            if rest and (self._cursor.here or not self._calls.made):
                self._say(rest)
            if made == self._calls.made:
                break
            yield from skip(self._cursor, ";")
        return ""

    def _tagged(self, tag: str) -> Scan[None]:
        """What stands behind a tag that opens a call."""
        made = self._calls.made
        self._cursor.start_record()
        yield from skip(self._cursor)
        if self._cursor.here in OPENERS:
            yield from self._calls.objects(strict=False)
        elif self._shape.family is not None:
            yield from self._calls.named(self._shape.family.separator)
        self._muted |= made != self._calls.made
        rest = self._cursor.end_record()
        if made == self._calls.made and self._cursor.here:
            self._say(tag + rest)

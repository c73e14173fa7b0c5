"""Reading text that is still being written: whitespace, tags, JSON.

Theory of operation. A scanner is a recursive descent over one character of lookahead, written as generators: `here` is the
first character that is not consumed yet, "" once nothing more comes, and every `yield` consumes it. As characters are
handed in one at a time, how a text was cut into pieces cannot matter; as no scanner looks back, time is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Scan: TypeAlias = Generator[None, None, T]
#: Takes what a scanner has read, piece by piece.
Say: TypeAlias = Callable[[str], object]

CLOSERS = {"{": "}", "[": "]"}
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: What JSON is made of outside strings and brackets.
PLAIN = frozenset("0123456789+-.:, \t\r\nabcdefghijklmnopqrstuvwxyzEINaT")
#: Where a number, `true` or `null` ends.
ENDS = frozenset(",]} \t\r\n")


class Cursor:
    """The place in a text up to which it is consumed."""

    def __init__(self) -> None:
        self.here = ""
        self._record: list[str] | None = None

    def advance(self, character: str) -> None:
        if self._record is not None:
            self._record.append(self.here)
        self.here = character

    @property
    def recording(self) -> bool:
        return self._record is not None

    def start_record(self) -> None:
        """Keeps what is consumed from here on, unless it is kept already."""
        self._record = [] if self._record is None else self._record

    def end_record(self) -> str:
        """What was kept."""
        record, self._record = self._record or [], None
        return "".join(record)


def skip(cursor: Cursor, more: str = "") -> Scan[str]:
    """Whitespace, and the characters of `more`."""
    passed = []
    while cursor.here.isspace() or (cursor.here and cursor.here in more):
        passed.append(cursor.here)
        yield
    return "".join(passed)


def prefix(cursor: Cursor, tag: str, found: Say) -> Scan[str]:
    """As much of the tag as stands here. `found` is told of the whole tag at once, not only when more comes."""
    read = ""
    while cursor.here and tag.startswith(read + cursor.here):
        read += cursor.here
        if read == tag:
            found(tag)
        yield
    return read


def until(cursor: Cursor, tags: tuple[str, ...], say: Say, held: str = "", *, found: Say = str) -> Scan[str]:
    """Says everything up to the first of the tags and consumes that; "" if the text ends before.

    `held` is what stood before, consumed already. At the end one character that might have begun a tag is said; two and
    more are half a tag, and dropped.
    """
    firsts = frozenset(tag[0] for tag in tags)
    while True:
        while held and not any(tag.startswith(held) for tag in tags):
            say(held[0])
            held = held[1:]
        if held in tags:
            return held
        if not cursor.here:
            if len(held) == 1:
                say(held)
            return ""
        if held or cursor.here in firsts:
            held += cursor.here
            if held in tags:
                found(held)
        else:
            say(cursor.here)
        yield


def value(cursor: Cursor, say: Say, closers: str = "") -> Scan[bool]:
    """One JSON value as it stands; whether it came to its end. `closers` are brackets that must still be closed.

    Looks at brackets and strings only: what is between them is the reader's to judge.
    """
    open_brackets = list(closers)
    while cursor.here:
        character = cursor.here
        if not open_brackets and character in ENDS:
            return True
        if character == '"':
            whole = yield from _quoted(cursor, say)
            if not whole:
                return False
        elif character in CLOSERS:
            open_brackets.append(CLOSERS[character])
            say(character)
            yield
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
            say(character)
            yield
        elif character in PLAIN:
            say(character)
            yield
            continue
        else:
            return False
        if not open_brackets:
            return True
    return False


def _quoted(cursor: Cursor, say: Say) -> Scan[bool]:
    """A JSON string with quotes and escapes as they stand."""
    escaped = True
    while cursor.here:
        character = cursor.here
        say(character)
        yield
        if character == '"' and not escaped:
            return True
        # The opening quote passes as an escaped one.
        escaped = character == "\\" and not escaped
    return False


def string(cursor: Cursor, say: Say) -> Scan[bool]:
    """The characters that a JSON string means, from behind its opening quote; whether it came to its end."""
    high = 0
    while cursor.here:
        whole = cursor.here == '"'
        if whole:
            code = 0
            yield
        else:
            code = yield from _code(cursor)
            if code < 0:
                return False
        paired = high and 0xDC00 <= code < 0xE000
        if high and not paired:
            # Half of a pair is no character, and could not be sent on.
            say("\ufffd")
        if whole:
            return True
        if paired:
            code = 0x10000 + ((high - 0xD800) << 10) + code - 0xDC00
        high = code if 0xD800 <= code < 0xDC00 else 0
        if not high:
            say("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code))
    return False


def _code(cursor: Cursor) -> Scan[int]:
    """One character of a string, or its escape, as a number; -1 if it is cut short or malformed."""
    character = cursor.here
    yield
    if character != "\\":
        return ord(character)
    character = cursor.here
    if not character:
        return -1
    yield
    if character != "u":
        return ord(ESCAPES.get(character, character))
    digits = ""
    while len(digits) < 4:
        if not cursor.here or cursor.here not in "0123456789abcdefABCDEF":
            return -1
        digits += cursor.here
        yield
    return int(digits, 16)

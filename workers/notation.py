"""Reading tool calls, in any family's notation, while they are written.

A call is decided once its name is a known tool's and its arguments begin: they are an object, or a string that holds one;
none at all, or null, are `{}`. Nobody can take back what was decided, so a call that breaks off later stands as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container
from dataclasses import dataclass, field

from tropilla.common.generation import CallDelta
from tropilla.workers.scanning import Cursor, Scan, skip, string, value

OPENERS = frozenset("{[")
NAMES = frozenset({"name", "function", "tool_name"})
ARGUMENTS = frozenset({"arguments", "parameters"})
#: What else a call without a tag may have. Any other key shows that the answer merely is JSON.
COMPANY = frozenset({"type", "id", "index"})
#: More than any notation has between a name and its arguments.
MAX_SEPARATOR = 80


@dataclass(slots=True)
class _Call:
    """One call while it is read."""

    name: str = ""
    #: Counted from 0, once it is decided that this is a call.
    number: int | None = None
    #: Whether arguments were seen. `held` are those that came before the name.
    argued: bool = False
    held: list[str] = field(default_factory=list)


class Calls:
    """The calls of one reply, read at a cursor. What may become a call is recorded there until that is decided.

    several: whether calls behind the first are told.
    """

    def __init__(self, cursor: Cursor, tools: Container[str], *, several: bool) -> None:
        self._cursor, self._tools, self._several = cursor, tools, several
        self._deltas: list[tuple[int, str, list[str]]] = []
        #: How many calls were made.
        self.made = 0

    def take(self) -> tuple[CallDelta, ...]:
        """What is new."""
        deltas, self._deltas = self._deltas, []
        return tuple(CallDelta(number, name, "".join(arguments)) for number, name, arguments in deltas)

    def objects(self, *, strict: bool) -> Scan[None]:
        """A JSON object, or a list of them, as far as they are calls. strict: they may also merely be JSON."""
        cursor = self._cursor
        cursor.start_record()
        listed = cursor.here == "["
        if listed:
            yield
            yield from skip(cursor)
        while cursor.here == "{":
            call = _Call()
            cursor.start_record()
            whole = yield from self._object(call, strict)
            if whole and call.name and call.number is None:
                self._argue(call, "{}")
            if call.number is None:
                return
            yield from skip(cursor, ",;")
        if listed and cursor.here == "]" and not cursor.recording:
            yield

    def named(self, separator: str) -> Scan[None]:
        """A name as it stands, what separates it (a regex) from its arguments, and those."""
        cursor, between = self._cursor, ""
        name: list[str] = []
        while cursor.here.isalnum() or cursor.here in ("_", "-", "."):
            name.append(cursor.here)
            yield
        call = _Call("".join(name))
        if call.name not in self._tools:
            return
        while cursor.here not in ("", "{") and len(between) < MAX_SEPARATOR:
            between += cursor.here
            yield
        if re.fullmatch(separator, between):
            yield from self._arguments(call)

    def _object(self, call: _Call, strict: bool, *, nested: bool = False) -> Scan[bool]:
        """The members of a call; whether the object came to its end and may be one."""
        cursor = self._cursor
        yield
        while True:
            yield from skip(cursor, ",")
            if cursor.here == "}":
                yield
                return True
            key = yield from self._string()
            if key is None:
                return False
            yield from skip(cursor)
            if cursor.here != ":":
                return False
            yield
            yield from skip(cursor)
            if key == "function" and cursor.here == "{" and not nested:
                whole = yield from self._object(call, strict, nested=True)
            else:
                whole = yield from self._member(call, key, strict)
            if not whole:
                return False

    def _member(self, call: _Call, key: str, strict: bool) -> Scan[bool]:
        if key in NAMES and self._cursor.here == '"' and not call.name:
            call.name = (yield from self._string()) or ""
            if call.name in self._tools and call.held:
                self._argue(call, "")
            return call.name in self._tools
        if key in ARGUMENTS and not call.argued:
            return (yield from self._arguments(call))
        if strict and key not in COMPANY:
            return False
        return (yield from value(self._cursor, str))

    def _string(self) -> Scan[str | None]:
        """A key or a name; None if none stands here."""
        if self._cursor.here != '"':
            return None
        yield
        characters: list[str] = []
        whole = yield from string(self._cursor, characters.append)
        return "".join(characters) if whole else None

    def _arguments(self, call: _Call) -> Scan[bool]:
        """Whether they came to their end. What does not even begin as an object decides nothing."""
        say = functools.partial(self._argue, call)
        if self._cursor.here == "{":
            yield
            opening = "{" + (yield from skip(self._cursor))
            if self._cursor.here not in ('"', "}"):
                return False
            call.argued = True
            say(opening)
            return (yield from value(self._cursor, say, "}"))
        if self._cursor.here == '"':
            yield
            if self._cursor.here not in ("{", '"'):
                return False
            call.argued = self._cursor.here == "{"
            return (yield from string(self._cursor, say))
        return self._cursor.here == "n" and (yield from value(self._cursor, str))

    def _argue(self, call: _Call, fragment: str) -> None:
        """Arguments, as far as they go. The first ones that stand with a known name make it a call."""
        call.held.append(fragment)
        if not call.name:
            return
        if call.number is None:
            call.number, self.made = self.made, self.made + 1
            self._cursor.end_record()
            self._tell(call.number, call.name, [])
        self._tell(call.number, "", call.held)
        call.held = []

    def _tell(self, number: int, name: str, fragments: list[str]) -> None:
        if number and not self._several:
            return
        if not name and self._deltas and not self._deltas[-1][1]:
            self._deltas[-1][2].extend(fragments)
        else:
            self._deltas.append((number, name, fragments))

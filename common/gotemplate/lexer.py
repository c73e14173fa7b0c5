"""Source -> tokens, by Go's own rules: what a delimiter is, what a trim marker takes away, what ends a name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tropilla.common.gotemplate.quoting import quoted

LEFT, RIGHT = "{{", "}}"
#: What a trim marker takes away, all of it.
SPACES = " \t\r\n"
KEYWORDS = frozenset(
    {"block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"}
)  # fmt: skip

_WORD = re.compile(r"\w+")
_SPACE = re.compile(rf"[{SPACES}]+")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*|0[oO][0-7_]*|0[bB][01_]*|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_CLOSED = {
    '"': (re.compile(r'"(?:[^"\\\n]|\\[^\n])*"'), "string", "unterminated quoted string"),
    "`": (re.compile(r"`[^`]*`"), "string", "unterminated raw quoted string"),
    "'": (re.compile(r"'(?:[^'\\\n]|\\[^\n])*'"), "number", "unterminated character constant"),
}
#: What may follow a name, a field or a variable, besides space and the closing delimiter.
_TERMINATORS = ".,|:)("


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is a keyword, a delimiter, or what the text is an example of; the text of an "error" says what is wrong."""

    kind: str
    text: str
    at: int
    end: int

    def __str__(self) -> str:
        """As an error shows it."""
        if self.kind == "eof":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in KEYWORDS:
            return f"<{self.text}>"
        return f"{quoted(self.text[:10])}..." if len(self.text) > 10 else quoted(self.text)


class Lexer:
    """One source, read once. The last token is "eof" or "error"."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._depth = 0
        self.tokens: list[Token] = []
        inside = False
        while not self.tokens or self.tokens[-1].kind not in ("eof", "error"):
            inside = self._action() if inside else self._text()

    def _emit(self, kind: str, end: int) -> None:
        self.tokens.append(Token(kind, self._source[self._at : end], self._at, end))
        self._at = end

    def _wrong(self, message: str) -> None:
        self.tokens.append(Token("error", message, self._at, self._at))

    def _text(self) -> bool:
        """Up to the next action. Whether there is one."""
        source, at = self._source, self._at
        found = source.find(LEFT, at)
        end = len(source) if found < 0 else found
        trims = found >= 0 and source[found + 2 : found + 3] == "-" and source[found + 3 : found + 4] in tuple(SPACES)
        text = source[at:end].rstrip(SPACES) if trims else source[at:end]
        if text:
            self.tokens.append(Token("text", text, at, end))
        self._at = end
        if found < 0:
            self._emit("eof", end)
            return False
        inner = found + (4 if trims else 2)
        if source.startswith("/*", inner):
            self._comment(inner)
            return False
        self._emit("left", inner)
        self._depth = 0
        return True

    def _comment(self, at: int) -> None:
        end = self._source.find("*/", at + 2)
        if end < 0:
            return self._wrong("unclosed comment")
        self._at = end + 2
        if not self._closes():
            return self._wrong("comment ends before closing delimiter")
        self._close()
        # A comment leaves nothing but its trimming.
        del self.tokens[-1]
        return None

    def _trims_right(self) -> bool:
        at = self._at
        return self._source[at : at + 1] in tuple(SPACES) and self._source.startswith("-" + RIGHT, at + 1)

    def _closes(self) -> bool:
        return self._trims_right() or self._source.startswith(RIGHT, self._at)

    def _close(self) -> None:
        trims = self._trims_right()
        self._emit("right", self._at + (4 if trims else 2))
        space = _SPACE.match(self._source, self._at) if trims else None
        if space:
            self._at = space.end()

    def _action(self) -> bool:
        """The next token of an action. Whether it goes on."""
        source, at = self._source, self._at
        if self._closes():
            if self._depth:
                self._wrong("unclosed left paren")
                return False
            self._close()
            return False
        first = source[at : at + 1]
        if not first:
            self._wrong("unclosed action")
        elif first in SPACES:
            self._space()
        elif first in _CLOSED:
            self._literal(first)
        elif first in "()":
            self._parenthesis(first)
        elif first == ":":
            if source.startswith(":=", at):
                self._emit("declare", at + 2)
            else:
                self._wrong("expected :=")
        elif first == "$" or (first == "." and source[at + 1 : at + 2] not in tuple("0123456789")):
            self._name(first)
        elif first in "+-." or first in "0123456789":
            self._number()
        elif _WORD.match(first):
            self._word()
        elif first in "=|":
            self._emit("assign" if first == "=" else "pipe", at + 1)
        elif first.isascii() and first.isprintable():
            self._emit("character", at + 1)
        else:
            self._wrong(f"unrecognized character in action: {_shown(first)}")
        return True

    def _space(self) -> None:
        space = _SPACE.match(self._source, self._at)
        assert space
        end = space.end()
        # The last blank may belong to a trim marker.
        if self._source.startswith("-" + RIGHT, end):
            end -= 1
        if end > self._at:
            self._emit("space", end)

    def _literal(self, mark: str) -> None:
        pattern, kind, complaint = _CLOSED[mark]
        found = pattern.match(self._source, self._at)
        if found:
            self._emit(kind, found.end())
        else:
            self._wrong(complaint)

    def _parenthesis(self, mark: str) -> None:
        self._depth += 1 if mark == "(" else -1
        if self._depth < 0:
            return self._wrong("unexpected right paren")
        self._emit(mark, self._at + 1)
        return None

    def _name(self, mark: str) -> None:
        """`.`, `.Field`, `$` or `$variable`."""
        word = _WORD.match(self._source, self._at + 1)
        end = word.end() if word else self._at + 1
        if self._terminated(end):
            bare = "dot" if mark == "." else "variable"
            self._emit(("field" if mark == "." else "variable") if word else bare, end)

    def _word(self) -> None:
        word = _WORD.match(self._source, self._at)
        assert word
        if self._terminated(word.end()):
            kind = word[0] if word[0] in KEYWORDS else "bool" if word[0] in ("true", "false") else "identifier"
            self._emit(kind, word.end())

    def _terminated(self, end: int) -> bool:
        after = self._source[end : end + 1]
        if not after or after in SPACES or after in _TERMINATORS or self._source.startswith(RIGHT, end):
            return True
        self._wrong(f"bad character {_shown(after)}")
        return False

    def _number(self) -> None:
        number = _NUMBER.match(self._source, self._at)
        assert number
        end = number.end()
        after = self._source[end : end + 1]
        if _WORD.match(after):
            return self._wrong(f"bad number syntax: {quoted(self._source[self._at : end + 1])}")
        if after in ("+", "-") or number[0].endswith("i"):
            return self._wrong(f"bad number syntax: {quoted(number[0])} (complex numbers are not served)")
        self._emit("number", end)
        return None


def _shown(character: str) -> str:
    """As Go's %#U."""
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"

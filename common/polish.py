"""What is done to a whole answer's text before it is sent: LocalAI's cutstrings, extract_regex, trimspace and trimsuffix.

Patterns are Go's (RE2), run by Python's `re`, which goes back and tries again where RE2 does not: what could take it
exponential time is refused when a model is defined (`pattern_flaw`), and texts have a length up to which they are searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tropilla.common.recipes import Polish

MAX_PATTERN_CHARACTERS = 1_000
#: Repeats without an end that one pattern may have: for a text of n characters each may cost another factor n.
MAX_OPEN_REPEATS = 3
#: What may be there or not, or match in several ways: each may cost another factor two.
MAX_OPTIONS = 8
#: Longer answers are not searched: two repeats of one pattern would look at as many pairs of places.
MAX_TEXT_CHARACTERS = 1 << 16
#: A repeat beyond this is as good as one without an end; RE2 refuses it, too.
MAX_TIMES = 1_000

_TOKEN = re.compile(
    r"(?P<escape>\\(?:x\{[0-9a-fA-F]+\}|[pP]\{\^?\w+\}|.))"
    r"|(?P<set>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<flags>\(\?[ims]+\))"
    r"|(?P<open>\((?:\?(?:P?<[A-Za-z_]\w*>|[ims]*(?:-[ims]+)?:))?)"
    r"|(?P<repeat>(?:[*+?]|\{(?P<least>\d+)(?P<comma>,?)(?P<most>\d*)\})(?P<lazy>\??))"
    r"|(?P<other>.)",
    re.DOTALL,
)
#: Within brackets.
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\^?)(\w+):\]")


def polished(text: str, polish: Polish) -> str:
    """In LocalAI's order. A pattern that is none there is skipped."""
    if len(text) <= MAX_TEXT_CHARACTERS:
        for pattern in _usable(polish.cut):
            text = pattern.sub("", text)
        # Each looks at what is left; together they take its place.
        found = (pattern.search(text) for pattern in _usable(polish.extract))
        text = "".join(match[0] for match in found if match) or text
    for prefix in polish.trim_space:
        text = text.removeprefix(prefix).strip()
    for suffix in polish.trim_suffix:
        text = text.removesuffix(suffix).strip()
    return text


def pattern_flaw(pattern: str) -> str:
    """Why a pattern is skipped; "" if it is not."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"it has more than {MAX_PATTERN_CHARACTERS} characters"
    try:
        _compiled(pattern)
    except _Flaw as flaw:
        return str(flaw)
    return ""


def _usable(patterns: tuple[str, ...]) -> Iterator[re.Pattern[str]]:
    return (_compiled(pattern) for pattern in patterns if not pattern_flaw(pattern))


class _Flaw(Exception):
    pass


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Raises `_Flaw`."""
    python = _translated(pattern)
    try:
        return re.compile(python, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Flaw(f"it is no regular expression: {error}") from error


@dataclass(slots=True)
class _Group:
    """An open bracket. starts: what each branch begins with, "" where that is more than one plain character."""

    repeats: bool = False
    starts: list[str | None] = field(default_factory=lambda: [None])

    def begins(self, text: str) -> None:
        if self.starts[-1] is None:
            self.starts[-1] = text.lower()

    @property
    def ambiguous(self) -> bool:
        """Whether a text may match it in several ways: then repeating it has no bound that one would like."""
        alike = None in self.starts or "" in self.starts or len(set(self.starts)) < len(self.starts)
        return self.repeats or (len(self.starts) > 1 and alike)


def _translated(pattern: str) -> str:
    """As Python writes it. Raises `_Flaw` for what RE2 does not have, and for what `re` would not come to an end with."""
    several_lines = re.search(r"\(\?[is]*m", pattern) is not None
    written: list[str] = []
    groups = [_Group()]
    #: What a repeat would repeat.
    last: _Group | None = None
    endless = options = 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token.lastgroup == "open":
            groups[-1].begins("")
            groups.append(_Group())
            last = None
        elif token["repeat"]:
            if last is None:
                raise _Flaw(f"there is nothing that {text} could repeat")
            if last.ambiguous and not text.startswith("?"):
                raise _Flaw(f"{text} repeats what itself repeats, or what begins in several ways alike")
            endless += _open(token)
            options += text.startswith("?")
            groups[-1].repeats |= token["least"] is None or bool(token["comma"])
            groups[-1].starts[-1] = ""
            last = None
        else:
            text, last = _plain(text, groups, several_lines=several_lines)
            options += last is not None and last.ambiguous
        written.append(text)
    if endless > MAX_OPEN_REPEATS or options > MAX_OPTIONS:
        raise _Flaw("it repeats without an end, or leaves open, too many things")
    return "".join(written)


def _plain(text: str, groups: list[_Group], *, several_lines: bool) -> tuple[str, _Group | None]:
    """One that is no repeat, as Python writes it, and what a repeat behind it would repeat."""
    if text == ")":
        if len(groups) == 1:
            raise _Flaw("it closes a bracket that is not open")
        done = groups.pop()
        groups[-1].repeats |= done.ambiguous
        return text, done
    if text == "|":
        groups[-1].starts.append(None)
        return text, None
    if text.startswith("(?"):
        return text, None
    if text == "[":
        raise _Flaw("a [ is not closed")
    groups[-1].begins(text if len(text) == 1 and text not in ".^$" else "")
    if text == "$" and not several_lines:
        # Python's also matches before a line break at the end.
        return r"\Z", _Group()
    if text.startswith("["):
        return _CLASS.sub(_class, text), _Group()
    return _escape(text) if text.startswith("\\") else text, _Group()


def _escape(text: str) -> str:
    if text == r"\z":
        return r"\Z"
    if text.startswith(r"\x{"):
        code = int(text[3:-1], 16)
        if code > 0x10FFFF:
            raise _Flaw(f"{text} is no character")
        return re.escape(chr(code))
    if text[1:2] in tuple("123456789kpPQECXZ"):
        raise _Flaw(f"{text} is not known there")
    return text


def _class(found: re.Match[str]) -> str:
    known = _CLASSES.get(found[2])
    if known is None or found[1]:
        raise _Flaw(f"{found[0]} is not known there")
    return known


def _open(token: re.Match[str]) -> bool:
    """Whether it repeats without an end; one with an end that may be far away costs as much."""
    least, most = token["least"], token["most"]
    if least is None:
        return not token[0].startswith("?")
    if max(int(number[:9] or "0") for number in (least, most)) > MAX_TIMES:
        raise _Flaw(f"{token[0]} repeats more than {MAX_TIMES} times")
    return bool(token["comma"])

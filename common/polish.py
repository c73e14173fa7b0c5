"""What is done to a whole answer's text before it is sent: LocalAI's cutstrings, extract_regex, trimspace and trimsuffix.

Patterns are Go's (RE2), run by Python's `re`, which goes back and tries again where RE2 does not. What could take it
exponential time is refused when a model is defined (`pattern_flaw`). What is left takes at the worst as many steps as there
are places to begin at, times the length of the text for each repeat without an end; where that is too many for an answer,
the pattern is skipped for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tropilla.common.recipes import Polish

MAX_PATTERN_CHARACTERS = 1_000
#: Repeats without an end that one pattern may have.
MAX_OPEN_REPEATS = 3
#: What may be there or not, or match in several ways: each may cost another factor two.
MAX_OPTIONS = 8
#: Of one pattern in one answer: about a second.
MAX_STEPS = 1 << 29
#: What a step costs where a bracket is repeated, and not only a character.
_BRACKET_STEP = 32
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
#: What every match begins with, if only characters that stand for themselves are looked at.
_START = re.compile(
    r"(?P<flags>\(\?[ims]+\))?(?P<anchor>\^|\\A)?(?P<prefix>(?:[^\\.^$|?*+()\[\]{}]|\\\W)*)(?P<repeated>[?*+{]?)"
)
#: Within brackets.
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\^?)(\w+):\]")


def polished(text: str, polish: Polish) -> str:
    """In LocalAI's order. A pattern that is none there is skipped, and so is one that would take too long."""
    for pattern in _usable(polish.cut):
        if pattern.steps(text) <= MAX_STEPS:
            text = pattern.regex.sub("", text)
    # Each looks at what is left; together they take its place.
    found = [pattern.regex.search(text) for pattern in _usable(polish.extract) if pattern.steps(text) <= MAX_STEPS]
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


@dataclass(frozen=True, slots=True)
class _Pattern:
    """anchored: it begins where the text does. prefix: what it begins with. endless: its repeats without an end.
    times: how often the others repeat, multiplied."""

    regex: re.Pattern[str]
    anchored: bool
    prefix: str
    endless: int
    times: int
    options: int
    brackets: bool

    def steps(self, text: str) -> int:
        """At the worst."""
        starts = 1 if self.anchored else text.count(self.prefix) if self.prefix else len(text)
        unit = _BRACKET_STEP if self.brackets else 1
        return max(starts, 1) * len(text) ** self.endless * min(self.times, len(text)) * (1 << self.options) * unit


def _usable(patterns: tuple[str, ...]) -> Iterator[_Pattern]:
    return (_compiled(pattern) for pattern in patterns if not pattern_flaw(pattern))


class _Flaw(Exception):
    pass


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> _Pattern:
    """Raises `_Flaw`."""
    made = _Translation(pattern)
    try:
        regex = re.compile("".join(made.written), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Flaw(f"it is no regular expression: {error}") from error
    start = _START.match(pattern)
    assert start is not None, "all of it may be empty"
    anchored, prefix = bool(start["anchor"]) and "m" not in (start["flags"] or ""), start["prefix"]
    if start["repeated"]:
        prefix = re.sub(r"\\?.\Z", "", prefix, flags=re.DOTALL)
    if made.several or start["flags"]:
        anchored, prefix = anchored and not made.several, ""
    prefix = re.sub(r"\\(.)", r"\1", prefix, flags=re.DOTALL)
    return _Pattern(regex, anchored, prefix, made.endless, made.times, made.options, made.brackets)


@dataclass(slots=True)
class _Group:
    """An open bracket. starts: what each branch begins with, "" where that is more than one plain character."""

    bracket: bool = False
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


class _Translation:
    """A pattern as Python writes it. Raises `_Flaw` for what RE2 does not have, and for what `re` would never be done with."""

    def __init__(self, pattern: str) -> None:
        self.written: list[str] = []
        self.endless, self.options, self.times = 0, 0, 1
        #: Whether brackets are repeated, and whether it is several patterns beside one another.
        self.brackets = self.several = False
        self._several_lines = re.search(r"\(\?[is]*m", pattern) is not None
        self._groups = [_Group()]
        #: What a repeat would repeat.
        self._last: _Group | None = None
        for token in _TOKEN.finditer(pattern):
            self.written.append(self._repeat(token) if token["repeat"] else self._other(token))
        if self.endless > MAX_OPEN_REPEATS or self.options > MAX_OPTIONS:
            raise _Flaw("it repeats without an end, or leaves open, too many things")

    def _repeat(self, token: re.Match[str]) -> str:
        text, last, group = token[0], self._last, self._groups[-1]
        if last is None:
            raise _Flaw(f"there is nothing that {text} could repeat")
        if last.ambiguous and not text.startswith("?"):
            raise _Flaw(f"{text} repeats what itself repeats, or what begins in several ways alike")
        times = _times(token)
        self.endless += times is None
        self.times *= times or 1
        self.brackets |= last.bracket and not text.startswith("?")
        self.options += text.startswith("?")
        group.repeats |= token["least"] is None or bool(token["comma"])
        group.starts[-1] = ""
        self._last = None
        return text

    def _other(self, token: re.Match[str]) -> str:
        text, group = token[0], self._groups[-1]
        self._last = None
        if token["open"]:
            group.begins("")
            self._groups.append(_Group(bracket=True))
        elif text == ")":
            if len(self._groups) == 1:
                raise _Flaw("it closes a bracket that is not open")
            self._last = self._groups.pop()
            self._groups[-1].repeats |= self._last.ambiguous
            self.options += self._last.ambiguous
        elif text == "|":
            self.several |= len(self._groups) == 1
            group.starts.append(None)
        elif not token["flags"]:
            self._last = _Group()
            group.begins(text if len(text) == 1 and text not in ".^$" else "")
            return self._single(text)
        return text

    def _single(self, text: str) -> str:
        """What stands for one character, or for a place."""
        if text == "$" and not self._several_lines:
            # Python's also matches before a line break at the end.
            return r"\Z"
        if text.startswith("["):
            return _set(text)
        return _escape(text) if text.startswith("\\") else text


def _set(text: str) -> str:
    """Python warns of what may mean something else some day."""
    if text == "[":
        raise _Flaw("a [ is not closed")
    if "--" in text:
        raise _Flaw("-- is not known within brackets")
    opening = "[^" if text.startswith("[^") else "["
    inner = _CLASS.sub(_class, text[len(opening) : -1])
    return opening + re.sub(r"(\\.)|([\[&~|])", lambda found: found[1] or "\\" + found[2], inner, flags=re.DOTALL) + "]"


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


def _times(token: re.Match[str]) -> int | None:
    """How often it repeats at the most; None without an end."""
    least, most = token["least"], token["most"]
    if least is None:
        return 1 if token[0].startswith("?") else None
    if max(int(number[:9] or "0") for number in (least, most)) > MAX_TIMES:
        raise _Flaw(f"{token[0]} repeats more than {MAX_TIMES} times")
    return None if token["comma"] and not most else max(int(most or least), 1)

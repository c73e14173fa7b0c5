"""aikit hands texts of a manifest to `/bin/sh -c 'echo -n "..."'`, so their authors escape what a shell looks at.

This undoes it where it was done: a text with escaped double quotes, and no others, is one that a shell was meant to read.
Nothing is ever expanded or run; aikit itself loses what stands in backticks.
"""

from __future__ import annotations

import re

from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.template import LOCALAI, Template

_ESCAPED = re.compile(r'\\(["`$\\]|\n)')
_BARE_QUOTE = re.compile(r'(?<!\\)"')


def unescaped(text: str) -> str:
    """What POSIX makes of a backslash between double quotes, and nothing more: `\\w` stays."""
    return _ESCAPED.sub(lambda found: "" if found[1] == "\n" else found[1], text)


def unshelled(text: str) -> str:
    """The text as its author means it."""
    return unescaped(text) if '\\"' in text and not _BARE_QUOTE.search(text) else text


def template_text(text: str) -> tuple[str, bool]:
    """Also of a template that mixes both kinds of quotes, if only so it parses. True: it was one of those."""
    text = unshelled(text)
    if not _parses(text) and _parses(plain := unescaped(text)):
        return plain, True
    return text, False


def _parses(text: str) -> bool:
    try:
        Template(text, LOCALAI)
    except ParseError:
        return False
    return True

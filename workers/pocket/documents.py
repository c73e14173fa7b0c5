"""The vocabulary of the corpus: what a topic yields, and what the generator makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

#: A chat message, in the wire form that chat templates read.
Message = dict[str, Any]

_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer; `word` and `facts`, where given, say the same in one word and as a JSON object."""

    question: str
    answer: str
    word: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation for the chat template; the model learns the assistant's turns only."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Prose:
    """A plain text, learned from its first word on: what raw completions continue."""

    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A text with its middle cut out: what fill-in-the-middle requests ask for."""

    before: str
    middle: str
    after: str


Document = Chat | Prose | Gap

#: A topic yields exchanges that belong together: the later ones may lean on the earlier ones.
Topic = Callable[[Random], Sequence[Exchange]]


def phrase(random: Random, pattern: str, **fields: object) -> str:
    """Choose among `(one|another|)` alternatives, innermost first, then fill in `{fields}`."""
    while match := _ALTERNATIVES.search(pattern):
        pattern = pattern[: match.start()] + random.choice(match[1].split("|")) + pattern[match.end() :]
    return " ".join(pattern.format(**fields).split(" ")).replace("  ", " ").strip()


def listed(text: str) -> list[str]:
    """A list of words, written the way it is read."""
    return text.split()


def turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}

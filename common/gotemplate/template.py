"""A Go template: parsed once, rendered as often as one likes, in one of two dialects."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tropilla.common.gotemplate.builtins import BUILTINS, Function
from tropilla.common.gotemplate.evaluate import Rendering
from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.parser import parse
from tropilla.common.gotemplate.sprig import Clock, sprig
from tropilla.common.gotemplate.tree import Body, names
from tropilla.common.gotemplate.typescript import typescript_type
from tropilla.common.gotemplate.writing import json_text

#: The longest published one has 9,000.
MAX_SOURCE_CHARACTERS = 1 << 15


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which functions there are, and whether what a map lacks is nil (`missingkey=zero`) or nothing at all."""

    functions: Mapping[str, Function]
    strict: bool = False


def ollama(now: Clock = datetime.datetime.now) -> Dialect:
    """Ollama's: few functions, and strict."""

    def day(before: int) -> Callable[..., str]:
        return lambda *_: f"{now() - datetime.timedelta(days=before):%Y-%m-%d}"

    own = {
        "json": Function(json_text),
        "currentDate": Function(day(0), "s*"),
        "yesterdayDate": Function(day(1), "s*"),
        "toTypeScriptType": Function(typescript_type),
    }
    return Dialect({**BUILTINS, **own}, strict=True)


def localai(now: Clock = datetime.datetime.now) -> Dialect:
    """LocalAI's and aikit's: Sprig, whose `slice` takes the place of Go's."""
    return Dialect({**BUILTINS, **sprig(now)})


OLLAMA, LOCALAI = ollama(), localai()


class Template:
    """Raises `ParseError`. Lines may end as they do on Windows; those of the text that is rendered do not."""

    def __init__(self, source: str, dialect: Dialect, *, name: str = "") -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise ParseError(f"template: {name}: it has more than {MAX_SOURCE_CHARACTERS} characters")
        self.source = source.replace("\r\n", "\n")
        self.name = name
        self._dialect = dialect
        self.trees = parse(self.source, dialect.functions, name)

    @property
    def body(self) -> Body:
        return self.trees[self.name]

    @cached_property
    def mentions(self) -> frozenset[str]:
        """Every field and variable anywhere in it, in lower case."""
        return frozenset(name.lower() for body in self.trees.values() for name in names(body))

    def render(self, data: Any, body: Body | None = None) -> str:
        """body: another than its own, made of its parts. Raises `ExecutionError`."""
        rendering = Rendering(
            self.trees, self._dialect.functions, name=self.name, source=self.source, strict=self._dialect.strict
        )
        return rendering.text(self.body if body is None else body, data)

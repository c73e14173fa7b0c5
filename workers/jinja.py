"""One chat template, compiled and run: variables in, text out, or one sentence that says why not.

A template comes with a model from anywhere. It runs in `sandbox`, for so long, and writes so much, and no more.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from tropilla.workers.meter import TooMuch
from tropilla.workers.sandbox import Sandbox

#: More than any template has a reason to write.
MAX_RENDERED_CHARACTERS = 4 << 20
#: The longest known has 17,000 characters.
MAX_SOURCE_CHARACTERS = 1 << 18
#: Of what a template says itself when it refuses, and of a date's form.
MAX_COMPLAINT, MAX_DATE_FORM = 1000, 200
#: Variables that are there whatever a caller says: what the prompt is made of, and what the environment gives.
RESERVED = frozenset(
    {
        "messages", "tools", "bos_token", "eos_token", "add_generation_prompt",
        "raise_exception", "strftime_now", "range", "dict", "namespace",
    }
)  # fmt: skip

Clock = Callable[[], datetime.datetime]

#: What a template does to data it did not expect comes out as Python's own errors; RecursionError is a RuntimeError.
_PYTHONS_OWN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


class TemplateFault(Exception):
    """The template cannot be compiled, objects to what it was given, or does too much."""


class Program:
    """A compiled template. Raises `TemplateFault` when it does not compile."""

    def __init__(self, source: str, *, now: Clock = datetime.datetime.now) -> None:
        def strftime_now(form: str) -> str:
            return now().strftime(str(form)[:MAX_DATE_FORM])

        if len(source) > MAX_SOURCE_CHARACTERS:
            raise TemplateFault(f"it has more than {MAX_SOURCE_CHARACTERS} characters")
        self.source = source
        self._environment = Sandbox((_raise_exception, strftime_now))
        self._environment.begin()
        try:
            self._template = self._environment.from_string(source)
            self._tree = self._environment.parse(source)
        except (jinja2.TemplateError, TooMuch, SyntaxError, *_PYTHONS_OWN) as error:
            raise TemplateFault(str(error) or type(error).__name__) from error

    @cached_property
    def variables(self) -> frozenset[str]:
        """What it reads and does not set itself."""
        return frozenset(meta.find_undeclared_variables(self._tree))

    @cached_property
    def words(self) -> frozenset[str]:
        """Its attributes and its short texts: `reasoning_content`, `max`."""
        attributes = {node.attr for node in self._tree.find_all(nodes.Getattr)}
        return frozenset(attributes | {c.value for c in self._tree.find_all(nodes.Const) if isinstance(c.value, str)})

    def render(self, variables: Mapping[str, Any]) -> str:
        pieces, written = [], 0
        self._environment.begin()
        try:
            for piece in self._template.root_render_func(self._template.new_context(dict(variables))):
                pieces.append(piece)
                written += len(piece)
                self._environment.tick(len(piece) >> 4)
                if written > MAX_RENDERED_CHARACTERS:
                    raise TooMuch(f"it writes more than {MAX_RENDERED_CHARACTERS} characters")
        except (jinja2.TemplateError, TooMuch, *_PYTHONS_OWN) as error:
            raise TemplateFault(str(error)[:MAX_COMPLAINT] or type(error).__name__) from error
        return "".join(pieces)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(str(message)[:MAX_COMPLAINT])

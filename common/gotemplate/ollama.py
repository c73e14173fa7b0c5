"""A Go template as Ollama understands one: of messages, or of one turn; which of the two is told by what it mentions."""

from __future__ import annotations

from typing import Any

from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.template import OLLAMA, Dialect, Template
from tropilla.common.gotemplate.tree import (
    Action,
    Body,
    Branch,
    Chain,
    Field,
    Include,
    Operand,
    Pipe,
    Range,
    statements,
)

_RESPONSE = "Response"
#: `{{ .Response }}`
_SHOWS_RESPONSE = Action(
    Pipe(0, ".Response", declared=(), assigns=False, commands=((Field(0, ".Response", (_RESPONSE,)),),))
)


class OllamaTemplate:
    """Raises `ParseError`, in upstream's words.

    A template that mentions neither messages nor a response is one turn, behind which the response belongs.
    """

    def __init__(self, source: str, dialect: Dialect = OLLAMA) -> None:
        self._template = Template(source, dialect)
        for body in self._template.trees.values():
            if any(isinstance(statement, Include) and statement.pipe is None for statement in statements(body)):
                raise ParseError("undefined template specified")
        self.mentions = self._template.mentions
        #: Whether it is given all messages at once, rather than one turn after the other.
        self.takes_messages = "messages" in self.mentions
        whole = self.takes_messages or _RESPONSE.lower() in self.mentions
        self._body: Body = self._template.body if whole else (*self._template.body, _SHOWS_RESPONSE)
        self._opening, _ = _cut(self._body)

    @property
    def source(self) -> str:
        return self._template.source

    def whole(self, data: Any) -> str:
        """All of it. Raises `ExecutionError`."""
        return self._template.render(data, self._body)

    def opening(self, data: Any) -> str:
        """As far as the response, which the model is to write or to go on with. Raises `ExecutionError`."""
        return self._template.render(data, self._opening)


def _cut(body: Body) -> tuple[Body, bool]:
    """Without what stands behind the first node that shows a response; and whether there was one."""
    kept: list[Any] = []
    for statement in body:
        found = False
        match statement:
            case Action(pipe=pipe):
                found = _responds(pipe)
            case Branch(moves=moves, arms=arms, otherwise=otherwise):
                cut_arms = []
                for pipe, inner in arms:
                    shortened, found = _cut(inner)
                    cut_arms.append((pipe, shortened))
                    if found:
                        break
                shortened, found = ((), True) if found else _cut(otherwise)
                statement = Branch(moves, tuple(cut_arms), shortened)
            case Range(pipe=pipe, body=inner, otherwise=otherwise):
                shortened, found = _cut(inner)
                rest, found = ((), True) if found else _cut(otherwise)
                statement = Range(pipe, shortened, rest)
        kept.append(statement)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _responds(operand: Operand) -> bool:
    match operand:
        case Field(names=names):
            return _RESPONSE in names
        case Chain(of=of, names=names):
            return _RESPONSE in names or _responds(of)
        case Pipe(commands=commands):
            return any(_responds(argument) for command in commands for argument in command)
    return False

"""What a parsed template consists of. `at` is where a node stands in the source, `text` how it is written there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    at: int
    text: str
    value: bool | int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class Nil:
    at: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Dot:
    at: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`.A.B`"""

    at: int
    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """`$x.A.B`; the root is `$`."""

    at: int
    text: str
    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A function's."""

    at: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """`(pipeline).A.B`"""

    at: int
    text: str
    of: Operand
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pipe:
    """`$a, $b := first | second`. `assigns`: with `=`, to variables that are there."""

    at: int
    text: str
    declared: tuple[str, ...]
    assigns: bool
    commands: tuple[tuple[Operand, ...], ...]


Operand = Literal | Nil | Dot | Field | Variable | Name | Chain | Pipe


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    pipe: Pipe


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """`if` or, where `moves` the dot, `with`. One arm for each condition of an `else if` chain."""

    moves: bool
    arms: tuple[tuple[Pipe, Body], ...]
    otherwise: Body


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    pipe: Pipe
    body: Body
    otherwise: Body


@dataclass(frozen=True, slots=True, eq=False)
class Include:
    """`{{template "name" pipe}}`"""

    at: int
    text: str
    name: str
    pipe: Pipe | None


@dataclass(frozen=True, slots=True, eq=False)
class Leap:
    """`break` or `continue`."""

    word: str


Statement = Text | Action | Branch | Range | Include | Leap
Body = tuple[Statement, ...]


def statements(body: Body) -> Iterator[Statement]:
    """All of them, at any depth."""
    for statement in body:
        yield statement
        if isinstance(statement, Branch):
            for _, inner in statement.arms:
                yield from statements(inner)
            yield from statements(statement.otherwise)
        elif isinstance(statement, Range):
            yield from statements(statement.body)
            yield from statements(statement.otherwise)


def names(body: Body) -> Iterator[str]:
    """Every field and variable that is mentioned."""
    for statement in statements(body):
        match statement:
            case Action(pipe=pipe) | Range(pipe=pipe) | Include(pipe=Pipe() as pipe):
                yield from _names_of(pipe)
            case Branch(arms=arms):
                for pipe, _ in arms:
                    yield from _names_of(pipe)


def _names_of(operand: Any) -> Iterator[str]:
    match operand:
        case Field(names=fields):
            yield from fields
        case Variable(name=name, names=fields):
            yield name
            yield from fields
        case Chain(of=of, names=fields):
            yield from _names_of(of)
            yield from fields
        case Pipe(commands=commands):
            for command in commands:
                for argument in command:
                    yield from _names_of(argument)

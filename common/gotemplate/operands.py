"""Tokens -> pipelines: what stands between the delimiters."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.lexer import Lexer, Token
from tropilla.common.gotemplate.quoting import number_of, quoted, unquoted
from tropilla.common.gotemplate.tree import Chain, Dot, Field, Literal, Name, Nil, Operand, Pipe, Variable

#: Blocks and parentheses inside one another. Published templates have six.
MAX_NESTING = 60
#: What an operand may begin with.
_TERMS = frozenset({"bool", "number", "string", "nil", "dot", "field", "variable", "identifier", "("})
_SHOWN_OPERANDS = (Literal, Nil, Dot)


class Operands:
    """A cursor over a source's tokens that reads pipelines. functions: the names that are known."""

    def __init__(self, source: str, functions: Collection[str], name: str) -> None:
        self._source, self._functions, self._template = source, functions, name
        self._tokens = Lexer(source).tokens
        self._next = 0
        self._token = self._tokens[0]
        self._action_at: int | None = None
        self._nesting = 0
        #: Variables that may be read here. A block forgets its own when it ends.
        self._variables = ["$"]

    def _fail(self, message: str) -> NoReturn:
        raise ParseError(f"template: {self._template}:{self._line(self._token.at)}: {message}")

    def _line(self, at: int) -> int:
        return self._source.count("\n", 0, at) + 1

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind != "error":
            self._fail(f"unexpected {token} in {context}")
        began = None if self._action_at is None else self._line(self._action_at)
        if began is None or began == self._line(token.at):
            self._fail(token.text)
        action = "" if token.text.endswith(" action") else " in action"
        self._fail(f"{token.text}{action} started at {self._template}:{began}")

    def _take(self) -> Token:
        """The next token, whatever it is. The last one is taken again and again."""
        self._token = self._tokens[min(self._next, len(self._tokens) - 1)]
        self._next += 1
        return self._token

    def _peek(self) -> Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def _skip(self) -> Token:
        """The next token that is no space, not taken yet."""
        while self._peek().kind == "space":
            self._next += 1
        return self._peek()

    def _take_solid(self) -> Token:
        self._skip()
        return self._take()

    def _expect(self, kind: str, context: str) -> Token:
        token = self._take_solid()
        if token.kind != kind:
            self._unexpected(token, context)
        return token

    def _string(self, context: str) -> str:
        token = self._take_solid()
        if token.kind != "string":
            self._unexpected(token, context)
        return self._unquoted(token)

    def _unquoted(self, token: Token) -> str:
        try:
            return unquoted(token.text)
        except ValueError as error:
            self._fail(str(error))

    def _deeper(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._fail(f"more than {MAX_NESTING} blocks and parentheses inside one another")

    def _pipeline(self, context: str, end: str = "right") -> Pipe:
        self._deeper()
        at = self._skip().at
        declared, assigns = self._declarations(context)
        commands: list[tuple[Operand, ...]] = []
        while (token := self._take_solid()).kind != end:
            if token.kind not in _TERMS:
                self._unexpected(token, context)
            self._next -= 1
            commands.append(self._command())
        if not commands:
            self._fail(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], start=2):
            if isinstance(command[0], _SHOWN_OPERANDS):
                self._fail(f"non executable command in pipeline stage {stage}")
        self._nesting -= 1
        return Pipe(at, self._source[at : token.at].rstrip(), tuple(declared), assigns, tuple(commands))

    def _declarations(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, and before a range's `$i, $x :=`."""
        declared: list[str] = []
        while (variable := self._skip()).kind == "variable":
            before = self._next
            self._next += 1
            mark = self._skip()
            if mark.kind in ("assign", "declare"):
                self._take()
                declared.append(variable.text)
                self._variables.append(variable.text)
                return declared, mark.kind == "assign"
            if mark.text != "," or mark.kind != "character":
                self._next = before
                break
            self._take()
            declared.append(variable.text)
            self._variables.append(variable.text)
            if context != "range" or len(declared) > 1:
                self._fail(f"too many declarations in {context}")
            if self._skip().kind not in ("variable", "right", ")"):
                self._fail("range can only initialize variables")
        return declared, False

    def _command(self) -> tuple[Operand, ...]:
        arguments: list[Operand] = []
        while True:
            operand = self._operand()
            if operand is not None:
                arguments.append(operand)
            token = self._take()
            if token.kind == "space":
                continue
            if token.kind in ("right", ")"):
                self._next -= 1
            elif token.kind != "pipe":
                self._unexpected(token, "operand")
            break
        if not arguments:
            self._fail("empty command")
        if token.kind == "pipe" and self._skip().kind in ("right", ")"):
            self._fail("missing value for command")
        return tuple(arguments)

    def _operand(self) -> Operand | None:
        self._skip()
        term = self._term()
        if term is None or self._peek().kind != "field":
            return term
        first, names = self._peek(), []
        while self._peek().kind == "field":
            names.append(self._take().text[1:])
        text = self._source[term.at : self._token.end]
        match term:
            case Field():
                return Field(first.at, text, (*term.names, *names))
            case Variable():
                return Variable(first.at, text, term.name, (*term.names, *names))
            case Literal() | Nil() | Dot():
                self._fail(f"unexpected . after term {quoted(term.text)}")
        return Chain(first.at, text, term, tuple(names))

    def _term(self) -> Operand | None:
        token = self._peek()
        if token.kind not in _TERMS:
            return None
        self._take()
        at, text = token.at, token.text
        match token.kind:
            case "identifier":
                if text not in self._functions:
                    self._fail(f"function {quoted(text)} not defined")
                return Name(at, text)
            case "dot":
                return Dot(at, text)
            case "nil":
                return Nil(at, text)
            case "variable":
                if text not in self._variables:
                    self._fail(f"undefined variable {quoted(text)}")
                return Variable(at, text, text, ())
            case "field":
                return Field(at, text, (text[1:],))
            case "bool":
                return Literal(at, text, text == "true")
            case "number":
                return Literal(at, text, self._number(text))
            case "string":
                return Literal(at, text, self._unquoted(token))
        return self._pipeline("parenthesized pipeline", ")")

    def _number(self, text: str) -> int | float:
        try:
            return number_of(text)
        except ValueError as error:
            self._fail(str(error))

"""Source -> the trees of its templates: the one it is, and those it defines."""

from __future__ import annotations

from collections.abc import Collection

from tropilla.common.gotemplate.lexer import Token
from tropilla.common.gotemplate.operands import Operands
from tropilla.common.gotemplate.quoting import quoted
from tropilla.common.gotemplate.tree import Action, Body, Branch, Include, Leap, Pipe, Range, Statement, Text


def parse(source: str, functions: Collection[str], name: str = "") -> dict[str, Body]:
    """Each template by its name; the source's own under `name`. Raises `ParseError`."""
    return _Parser(source, functions, name).templates()


class _Parser(Operands):
    def __init__(self, source: str, functions: Collection[str], name: str) -> None:
        super().__init__(source, functions, name)
        self._ranges = 0
        self._trees: dict[str, Body] = {}

    def templates(self) -> dict[str, Body]:
        body: list[Statement] = []
        while self._skip().kind != "eof":
            before = self._next
            if self._take().kind == "left" and self._take_solid().kind == "define":
                self._define()
                continue
            self._next = before
            statement = self._statement()
            if isinstance(statement, Token):
                self._fail(f"unexpected {{{{{statement.text}}}}}")
            body.append(statement)
        self._add(self._template, tuple(body))
        return self._trees

    def _add(self, name: str, body: Body) -> None:
        """An empty one (of space and definitions) gives way to one that says something."""
        known = self._trees.get(name, ())
        if known and not _empty(known) and not _empty(body):
            self._fail(f"template: multiple definition of template {quoted(name)}")
        if not known or not _empty(body):
            self._trees[name] = body

    def _define(self) -> None:
        context = "define clause"
        name = self._string(context)
        self._expect("right", context)
        self._named(name, context)

    def _named(self, name: str, context: str) -> None:
        """The body of a template of its own: it sees no variables of the place where it stands."""
        variables, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, last = self._body()
        if last.kind != "end":
            self._fail(f"unexpected {{{{{last.text}}}}} in {context}")
        self._add(name, body)
        self._variables, self._ranges = variables, ranges

    def _body(self) -> tuple[Body, Token]:
        """Up to the `end` or `else` that closes it, which is told."""
        self._deeper()
        body: list[Statement] = []
        while self._skip().kind != "eof":
            statement = self._statement()
            if isinstance(statement, Token):
                break
            body.append(statement)
        else:
            self._take()
            self._fail("unexpected EOF")
        self._nesting -= 1
        return tuple(body), statement

    def _statement(self) -> Statement | Token:
        """A statement; or the `end` or `else` that closes a block."""
        token = self._take_solid()
        if token.kind == "text":
            return Text(token.text)
        if token.kind != "left":
            self._unexpected(token, "input")
        self._action_at = token.at
        try:
            return self._action()
        finally:
            self._action_at = None

    def _action(self) -> Statement | Token:
        token = self._take_solid()
        match token.kind:
            case "if" | "with":
                return self._branch(token.kind)
            case "range":
                return self._range()
            case "template":
                return self._include(token)
            case "block":
                return self._block(token)
            case "break" | "continue":
                self._expect("right", f"{{{{{token.kind}}}}}")
                if not self._ranges:
                    self._fail(f"{{{{{token.kind}}}}} outside {{{{range}}}}")
                return Leap(token.kind)
            case "end":
                self._expect("right", "end")
                return token
            case "else":
                # `else if` goes on: whoever closes with it looks.
                if self._skip().kind not in ("if", "with"):
                    self._expect("right", "else")
                return token
        self._next -= 1
        return Action(self._pipeline("command"))

    def _branch(self, word: str) -> Branch:
        """An `else if` chain is one branch of many arms, and not deeper for it."""
        before = len(self._variables)
        arms = []
        while True:
            pipe = self._pipeline(word)
            body, last = self._body()
            arms.append((pipe, body))
            if last.kind == "end" or self._peek().kind != word:
                break
            self._take()
        otherwise = self._otherwise(last)
        del self._variables[before:]
        return Branch(word == "with", tuple(arms), otherwise)

    def _range(self) -> Range:
        before = len(self._variables)
        pipe = self._pipeline("range")
        self._ranges += 1
        body, last = self._body()
        self._ranges -= 1
        otherwise = self._otherwise(last)
        del self._variables[before:]
        return Range(pipe, body, otherwise)

    def _otherwise(self, last: Token) -> Body:
        if last.kind == "end":
            return ()
        body, last = self._body()
        if last.kind != "end":
            self._fail(f"expected end; found {{{{{last.text}}}}}")
        return body

    def _include(self, token: Token) -> Include:
        context = "template clause"
        name = self._string(context)
        pipe: Pipe | None = None
        if self._skip().kind == "right":
            self._take()
        else:
            pipe = self._pipeline(context)
        return _included(token, name, pipe)

    def _block(self, token: Token) -> Include:
        """A definition, and its use where it stands."""
        context = "block clause"
        name = self._string(context)
        pipe = self._pipeline(context)
        self._named(name, context)
        return _included(token, name, pipe)


def _included(token: Token, name: str, pipe: Pipe | None) -> Include:
    words = f"template {quoted(name)} {pipe.text if pipe else ''}".rstrip()
    return Include(token.at, f"{{{{{words}}}}}", name, pipe)


def _empty(body: Body) -> bool:
    return all(isinstance(statement, Text) and not statement.text.strip() for statement in body)

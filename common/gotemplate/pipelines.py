"""Running pipelines: what stands between the delimiters, over the dot and the variables of one rendering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from tropilla.common.gotemplate.budget import Budget
from tropilla.common.gotemplate.builtins import Function
from tropilla.common.gotemplate.faults import Excess, ExecutionError, Refusal, TooMuch
from tropilla.common.gotemplate.tree import Chain, Dot, Field, Include, Literal, Name, Nil, Operand, Pipe, Variable
from tropilla.common.gotemplate.values import MISSING, Struct, truth, type_of

#: No value came down the pipeline; other than MISSING, which came and is nothing.
_NONE: Final = object()
_BARE = (Literal, Dot, Pipe)
#: Characters of a node or a value that an error shows.
MAX_SHOWN = 60


class Pipelines:
    """strict: what a map lacks is nil, of which a field is an error (`missingkey=zero`); otherwise it is nothing at all.

    `executing` is the name of the template that runs, `variables` what it sees, the innermost last.
    """

    def __init__(
        self, functions: Mapping[str, Function], budget: Budget, *, name: str, source: str, strict: bool
    ) -> None:
        self._functions, self._budget, self._strict = functions, budget, strict
        self._template, self._source = name, source
        self.executing = name
        self.variables: list[tuple[str, Any]] = []

    def fail(self, node: Operand | Include, message: str, kind: type[ExecutionError] = ExecutionError) -> NoReturn:
        """With the place in the source, as Go tells it."""
        line = self._source.count("\n", 0, node.at) + 1
        column = len(self._source[self._source.rfind("\n", 0, node.at) + 1 : node.at].encode("utf-8", "replace"))
        shown = node.text if len(node.text) <= MAX_SHOWN else node.text[: MAX_SHOWN - 3] + "..."
        where = f"template: {self._template}:{line}:{column}"
        raise kind(f'{where}: executing "{self.executing}" at <{shown}>: {message}')

    def run(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = _NONE
        for command in pipe.commands:
            value = self._command(command, dot, value)
            if value is None:
                value = MISSING
        for name in pipe.declared:
            if pipe.assigns:
                self.assign(pipe, name, value)
            else:
                self.variables.append((name, value))
        return value

    def assign(self, pipe: Pipe, name: str, value: Any) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self._budget.passed(len(self.variables) - place)
                self.variables[place] = (name, value)
                return
        self.fail(pipe, f"undefined variable: {name}")

    def _command(self, command: tuple[Operand, ...], dot: Any, final: Any) -> Any:
        first = command[0]
        if isinstance(first, Name):
            return self._call(first, command[1:], dot, final)
        given = len(command) > 1 or final is not _NONE
        if given and (isinstance(first, _BARE) or (isinstance(first, Variable) and not first.names)):
            self.fail(first, f"can't give argument to non-function {first.text}")
        if isinstance(first, Nil):
            self.fail(first, "nil is not a command")
        return self._value(first, dot, command[1:], final)

    def _value(self, node: Operand, dot: Any, arguments: tuple[Operand, ...] = (), final: Any = _NONE) -> Any:
        """arguments, final: what stands behind it and what came down the pipeline, which only a method takes."""
        self._budget.spend(1)
        if isinstance(node, Field):
            return self._fields(node, node.names, dot, dot, arguments, final)
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Dot):
            return dot
        if isinstance(node, Variable):
            value = self._variable(node)
            return self._fields(node, node.names, value, dot, arguments, final) if node.names else value
        if isinstance(node, Name):
            return self._call(node, (), dot, _NONE)
        if isinstance(node, Nil):
            return None
        self._budget.enter()
        inner = node.of if isinstance(node, Chain) else node
        value = self.run(inner, dot) if isinstance(inner, Pipe) else self._value(inner, dot)
        self._budget.leave()
        return self._fields(node, node.names, value, dot, arguments, final) if isinstance(node, Chain) else value

    def _variable(self, node: Variable) -> Any:
        passed = next((n for n, (name, _) in enumerate(reversed(self.variables), 1) if name == node.name), 0)
        if not passed:
            self.fail(node, f"undefined variable: {node.name}")
        self._budget.passed(passed)
        return self.variables[-passed][1]

    def _fields(
        self,
        node: Field | Variable | Chain,
        names: tuple[str, ...],
        value: Any,
        dot: Any,
        arguments: tuple[Operand, ...],
        final: Any,
    ) -> Any:
        given = bool(arguments) or final is not _NONE
        for place, name in enumerate(names, start=1):
            if isinstance(value, dict):
                if given and place == len(names):
                    self.fail(node, f"{name} is not a method but has arguments")
                value = value.get(name, None if self._strict else MISSING)
            elif value is MISSING:
                return MISSING
            elif isinstance(value, Struct) and name in value.fields:
                value = value.fields[name]
                if isinstance(value, Function):
                    last = place == len(names)
                    value = self._apply(node, name, value, arguments if last else (), final if last else _NONE, dot)
                elif given and place == len(names):
                    self.fail(node, f"{name} has arguments but cannot be invoked as function")
            elif value is None:
                self.fail(node, f"nil pointer evaluating interface {{}}.{name}")
            else:
                self.fail(node, f"can't evaluate field {name} in type {type_of(value)}")
        return value

    def _call(self, node: Name, arguments: tuple[Operand, ...], dot: Any, final: Any) -> Any:
        function = self._functions[node.text]
        if node.text in ("and", "or"):
            self._count(node, node.text, function, arguments, final)
            return self._either(node.text == "or", arguments, dot, final)
        return self._apply(node, node.text, function, arguments, final, dot)

    def _count(self, node: Operand, name: str, function: Function, arguments: tuple[Operand, ...], final: Any) -> None:
        count = len(arguments) + (final is not _NONE)
        if not function.least <= count <= function.most:
            least = f"at least {function.least}" if function.most > function.least else str(function.least)
            self.fail(node, f"wrong number of args for {name}: want {least} got {count}")

    def _apply(
        self,
        node: Name | Field | Variable | Chain,
        name: str,
        function: Function,
        arguments: tuple[Operand, ...],
        final: Any,
        dot: Any,
    ) -> Any:
        """A function's or a method's value; node is what an error shows."""
        self._count(node, name, function, arguments, final)
        given = [self._given(argument, dot) for argument in arguments]
        if final is not _NONE:
            given.append(None if final is MISSING else final)
        for place, value in enumerate(given):
            self._budget.read(value)
            expected = function.expected(place)
            if expected and type_of(value) != expected:
                self.fail(node, f"wrong type for value; expected {expected}; got {type_of(value)}")
        try:
            value = function.call(*given)
        except Excess as error:
            self.fail(_command_of(node, arguments), f"error calling {name}: {error}", TooMuch)
        except (Refusal, ArithmeticError, LookupError, ValueError, TypeError, RecursionError) as error:
            self.fail(_command_of(node, arguments), f"error calling {name}: {error}")
        self._budget.made(value, shared=function.shares)
        return value

    def _either(self, wanted: bool, arguments: tuple[Operand, ...], dot: Any, final: Any) -> Any:
        """`or` gives its first argument that is true, `and` that is false; what stands behind it is not looked at."""
        value: Any = None
        for argument in arguments:
            value = self._given(argument, dot)
            if truth(value) == wanted:
                return value
        return value if final is _NONE else final

    def _given(self, node: Operand, dot: Any) -> Any:
        value = self._value(node, dot)
        return None if value is MISSING else value


def _command_of(node: Operand, arguments: tuple[Operand, ...]) -> Name:
    """As an error shows it: `eq .A 1`."""
    return Name(node.at, " ".join(part.text for part in (node, *arguments)))

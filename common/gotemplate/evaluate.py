"""Running a parsed template over its data, on a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.common.gotemplate.budget import Budget
from tropilla.common.gotemplate.builtins import Function
from tropilla.common.gotemplate.faults import Excess, Refusal, TooMuch
from tropilla.common.gotemplate.pipelines import MAX_SHOWN, Pipelines
from tropilla.common.gotemplate.tree import Action, Body, Branch, Include, Leap, Pipe, Range, Text
from tropilla.common.gotemplate.values import MISSING, kind_of, truth, type_of
from tropilla.common.gotemplate.writing import NO_VALUE, text_of


class Rendering:
    """One run. trees: the templates by name. strict: as `Pipelines`' is."""

    def __init__(
        self, trees: Mapping[str, Body], functions: Mapping[str, Function], *, name: str, source: str, strict: bool
    ) -> None:
        self._trees = trees
        self._budget = Budget(name)
        self._pipelines = Pipelines(functions, self._budget, name=name, source=source, strict=strict)
        self._written: list[str] = []

    def text(self, body: Body, data: Any) -> str:
        """Raises `ExecutionError`."""
        self._pipelines.variables = [("$", data)]
        self._walk(body, data)
        return "".join(self._written)

    def _write(self, text: str) -> None:
        self._budget.written(len(text))
        self._written.append(text)

    def _walk(self, body: Body, dot: Any) -> str:
        """ "break" or "continue" when the body ended by one."""
        self._budget.enter()
        leap = ""
        for statement in body:
            self._budget.spend(1)
            if isinstance(statement, Text):
                self._write(statement.text)
            elif isinstance(statement, Action):
                value = self._pipelines.run(statement.pipe, dot)
                if not statement.pipe.declared:
                    self._show(statement.pipe, value)
            elif isinstance(statement, Branch):
                leap = self._branch(statement, dot)
            elif isinstance(statement, Range):
                self._range(statement, dot)
            elif isinstance(statement, Include):
                self._include(statement, dot)
            elif isinstance(statement, Leap):
                leap = statement.word
            if leap:
                break
        self._budget.leave()
        return leap

    def _show(self, pipe: Pipe, value: Any) -> None:
        if isinstance(value, str):
            return self._write(value)
        try:
            return self._write(NO_VALUE if value is MISSING else text_of(value))
        except Excess as error:
            self._pipelines.fail(pipe, str(error), TooMuch)
        except (Refusal, RecursionError) as error:
            self._pipelines.fail(pipe, str(error))

    def _branch(self, branch: Branch, dot: Any) -> str:
        mark = len(self._pipelines.variables)
        leap = ""
        for pipe, body in branch.arms:
            value = self._pipelines.run(pipe, dot)
            if truth(value):
                leap = self._walk(body, value if branch.moves else dot)
                break
        else:
            leap = self._walk(branch.otherwise, dot)
        del self._pipelines.variables[mark:]
        return leap

    def _range(self, loop: Range, dot: Any) -> None:
        mark = len(self._pipelines.variables)
        value = self._pipelines.run(loop.pipe, dot)
        pairs: Any
        match kind_of(value):
            case "slice":
                pairs = enumerate(value)
            case "map":
                self._budget.spend(len(value))
                pairs = ((key, value[key]) for key in sorted(value))
            case "int":
                if len(loop.pipe.declared) > 1:
                    self._pipelines.fail(loop.pipe, f"can't use {value} to iterate over more than one variable")
                pairs = ((number, number) for number in range(value))
            case "nil":
                pairs = ()
            case _:
                shown = text_of(value)[:MAX_SHOWN] if isinstance(value, str | float) else type_of(value)
                self._pipelines.fail(loop.pipe, f"range can't iterate over {shown}")
        inner, ran = len(self._pipelines.variables), False
        for key, item in pairs:
            ran = True
            self._budget.spend(1)
            self._each(loop.pipe, key, item)
            leap = self._walk(loop.body, item)
            del self._pipelines.variables[inner:]
            if leap == "break":
                break
        if not ran:
            self._walk(loop.otherwise, dot)
        del self._pipelines.variables[mark:]

    def _each(self, pipe: Pipe, key: Any, item: Any) -> None:
        """With two variables the first one gets the key; with one it gets the item."""
        values = (item,) if len(pipe.declared) == 1 else (key, item)
        for place, (name, value) in enumerate(zip(pipe.declared, values, strict=False)):
            if pipe.assigns:
                self._pipelines.assign(pipe, name, value)
            else:
                self._pipelines.variables[place - len(pipe.declared)] = (name, value)

    def _include(self, node: Include, dot: Any) -> None:
        body = self._trees.get(node.name)
        if body is None:
            self._pipelines.fail(node, f'template "{node.name}" not defined')
        data = MISSING if node.pipe is None else self._pipelines.run(node.pipe, dot)
        scope = self._pipelines
        outer, executing = scope.variables, scope.executing
        scope.variables, scope.executing = [("$", data)], node.name
        self._walk(body, data)
        scope.variables, scope.executing = outer, executing

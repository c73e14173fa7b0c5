"""The environment a chat template runs in: Hugging Face transformers', with every operation paid for (`meter`).

Jinja's sandbox keeps a template from reaching Python; it does not keep it from writing `'a' * 10**9` or from counting to
a million a million times. So nothing is left to Python that grows: methods and operators are our own (`methods`),
filters and tests are those of a list and wrapped, and each round of a loop or macro pays for the nodes in its body.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.utils import Namespace
from tropilla.workers.meter import CONTAINER, ITEM, NODE, Meter
from tropilla.workers.methods import METHODS, OPERATORS, TEXT_METHODS, operate
from tropilla.workers.template_filters import guarded_filters, guarded_tests

#: Statements that reach for other files, or make text that is no plain text.
FORBIDDEN = (
    nodes.Block, nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include, nodes.EvalContextModifier,
)  # fmt: skip
LITERALS = (nodes.List, nodes.Tuple, nodes.Dict)
#: Searching a text goes faster than copying it.
SEARCH = 2


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}` marks assistant text for training; here it just renders."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it as a plain set

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """Writes itself without what it holds: that may be itself."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _Generator(CodeGenerator):
    """Writes calls into the environment where Jinja would write plain Python."""

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802
        if isinstance(node.node, nodes.EnvironmentAttribute):
            self.write(f"environment.{node.node.name}({node.args[0].as_const()})")
        else:
            super().visit_Call(node, frame, forward_caller=forward_caller)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self._wrapped("joined", node.nodes, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.made(")
        self.visit(node.node, frame)
        self.write("[")
        self.visit(node.arg, frame)
        self.write("])")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self.write("{")
        for pair in node.items:
            # A key is hashed, which takes as long as comparing.
            self._wrapped("compared", [pair.key], frame)
            self.write(": ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self.write("(")
        self._wrapped("compared", [node.expr], frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._wrapped("searched" if operand.op in ("in", "notin") else "compared", [operand.expr], frame)
        self.write(")")

    def _wrapped(self, name: str, arguments: Iterable[nodes.Expr], frame: Frame) -> None:
        self.write(f"environment.{name}(")
        for argument in arguments:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    intercepted_binops = frozenset(OPERATORS)

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        meter = self._meter = Meter()
        self.begin, self.tick, self.made = meter.begin, meter.spend, meter.made
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
            finalize=self._finalized,
            # What is folded at compile time is not paid for.
            optimized=False,
        )
        self.filters = dict(guarded_filters(meter))
        self.tests = dict(guarded_tests(meter))
        given = {function.__name__.strip("_"): function for function in functions}
        self.globals = {
            "range": jinja2.sandbox.safe_range, "dict": self._dict, "namespace": self._namespace, **given,
        }  # fmt: skip
        self._callable = frozenset(self.globals.values())

    def concat(self, pieces: Iterable[str]) -> str:
        kept = list(pieces)
        self._meter.allow(sum(map(len, kept)))
        return "".join(kept)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in list(tree.find_all((*FORBIDDEN, nodes.For, nodes.Macro, nodes.CallBlock, nodes.Const))):
            if isinstance(node, nodes.Const):
                if isinstance(node.value, int):
                    operate(self._meter, "+", node.value, 0)
                continue
            if not isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
                raise jinja2.TemplateSyntaxError(f"a chat template has no {type(node).__name__}", node.lineno or 1)
            paid = nodes.Call(nodes.EnvironmentAttribute("paid"), [nodes.Const(_weight(node))], [], None, None)
            node.body.insert(0, nodes.ExprStmt(paid))
            if isinstance(node, nodes.For) and node.test is not None:
                node.test = nodes.And(paid, node.test)
        return tree

    # -- what compiled templates call ----------------------------------------------------------------------------------

    def paid(self, units: int) -> bool:
        self.tick(units)
        return True

    def call_binop(self, _: Context, operator: str, left: Any, right: Any, /) -> Any:
        self.tick(NODE)
        return operate(self._meter, operator, left, right)

    def joined(self, *values: Any) -> str:
        self._meter.allow(self._meter.weigh(*values))
        return "".join(map(str, values))

    def compared(self, value: Any) -> Any:
        if isinstance(value, str):
            self.tick(len(value) >> 4)
        elif isinstance(value, list | tuple | dict):
            self._meter.weigh(value)
        return value

    def searched(self, value: Any) -> Any:
        if isinstance(value, str):
            self.tick(len(value) >> SEARCH)
        return value if isinstance(value, dict) else self.compared(value)

    @jinja2.pass_context
    def _finalized(self, _: Context, value: Any) -> Any:
        if isinstance(value, str):
            self.tick(len(value))
        else:
            self._meter.allow(self._meter.weigh(value))
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.tick(NODE)
        if isinstance(obj, str):
            method = TEXT_METHODS.get(attribute)
            return functools.partial(method, self._meter, obj) if method else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, dict | list | tuple):
            if attribute in METHODS.get(type(obj), ()):
                return getattr(obj, attribute)
            if isinstance(obj, dict) and attribute in obj:
                return obj[attribute]
            if hasattr(type(obj), attribute):
                return self.unsafe_undefined(obj, attribute)
            return self.undefined(obj=obj, name=attribute)
        if isinstance(obj, Namespace | Macro | LoopContext | Undefined):
            return super().getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.tick(NODE)
        try:
            return obj[self.compared(argument)]
        except (AttributeError, TypeError, LookupError):
            if isinstance(argument, str):
                return self.getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:
        self.tick(NODE * 4 + ITEM * (len(arguments) + len(named)))
        if isinstance(function, Macro | LoopContext | Undefined):
            return super().call(context, function, *arguments, **named)
        for internal in ("_loop_vars", "_block_vars"):
            named.pop(internal, None)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, LoopContext) and isinstance(function, types.MethodType):
            self._meter.weigh(*arguments)
            return function(*arguments, **named)
        if isinstance(function, types.BuiltinMethodType) and function.__name__ in METHODS.get(type(owner), ()):
            self._meter.weigh(*arguments, owner if function.__name__ in ("index", "count") else None)
            return self.made(function(*arguments, **named))
        if isinstance(function, functools.partial) and function.func in TEXT_METHODS.values():
            return function(*arguments, **named)
        if isinstance(function, types.FunctionType | types.MethodType) and function in self._callable:
            self._meter.weigh(*arguments)
            return function(*arguments, **named)
        raise jinja2.exceptions.SecurityError("it calls what it may not call")

    def _dict(self, *pairs: Any, **named: Any) -> dict[Any, Any]:
        kept = [part if isinstance(part, dict) else self._meter.taken(part) for part in pairs]
        self.tick(sum(CONTAINER * len(part) for part in kept))
        return dict(*kept, **named)

    def _namespace(self, *pairs: Any, **named: Any) -> _Namespace:
        return _Namespace(self._dict(*pairs, **named))


def _weight(node: nodes.Node) -> int:
    """What one round of a body costs, without what it makes: a unit for each character it writes, too."""
    weight = NODE
    for inner in node.find_all(nodes.Node):
        weight += CONTAINER if isinstance(inner, LITERALS) else NODE
        if isinstance(inner, nodes.TemplateData):
            weight += len(inner.data)
    return weight

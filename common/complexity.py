"""What a constraint may cost, counted in its source before anything is compiled.

llguidance bounds most of its own work by fuel (`LIMITS` in grammar.py), but not all: chains of rules and references
overflow its stack, forced text and large divisors are walked to the end however long, and nothing can interrupt it.
Every count here is an upper bound: what is allowed compiles in less than a second of CPU, some of what is refused would.
Each function returns the reason for a refusal, or "".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest
from typing import Any, NamedTuple

#: Brackets within brackets of a schema's JSON.
MAX_DEPTH = 64
#: llguidance follows references and rules on the C stack: from about 1,000 of either on it overflows 8 MiB.
MAX_REFERENCES = 200
MAX_RULES = 500
MAX_PROPERTIES = 1_000
MAX_CHOICES = 5_000
MAX_PATTERNS = 200
#: llguidance compares each with each: 190 take 1.5 s.
MAX_NAME_PATTERNS = 50
#: Patterns that parts of a schema may lay over each other: the states multiply.
MAX_PATTERNS_TOGETHER = 8
#: Product of all divisors of a schema (`multipleOf`): as many states.
MAX_DIVISORS = 20_000
#: Quantifiers of one pattern or terminal, with those it is made of: 1,000 times `.*` take half a second and 80 MB.
MAX_QUANTIFIERS = 1_000
#: Characters that a pattern may force in a row, 10,000 for `(a{100}){100}`: all of them are walked in one step.
MAX_FORCED = 20_000
#: Those characters times the ways to match one, 2,500 for `(a?){0,50}a{50}`: 5 million took half a second.
MAX_WALK = 6_000_000
#: `&` and `~` in a Lark grammar: the states multiply.
MAX_INTERSECTIONS = 10

#: Keywords whose value is a schema, or a list of them.
NESTED = ("items", "additionalItems", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems")
#: Keywords whose value maps names to schemas.
NAMED = ("properties", "patternProperties", "$defs", "definitions")

_ESCAPE = re.compile(r"\\.", re.DOTALL)
_PLAIN_CLASS = re.compile(r"\[\^?\]?[^\[\]]*\]")
_COMMENTS = re.compile(r"\(\?[a-zA-Z]*x")
_REGEX = re.compile(r"\{(?P<least>\d+)(?P<comma>,?)(?P<most>\d*)\}|(?P<sign>[()|?*+])|.", re.DOTALL)
#: Names, strings, patterns and repeats (`{3}`, `{3,}`, `{,5}`, `{3,5}`, `~3`, `~3..5`) of a definition in Lark.
_LARK = re.compile(
    r'"(?P<string>(?:\\.|[^"\\])*)"|/(?P<regex>(?:\\.|[^/\\])+)/|(?://|\#)[^\n]*|(?P<name>[A-Za-z_][\w-]*)'
    r"|[{~]\s*(?P<least>\d*)\s*(?P<comma>,|\.\.)?\s*(?P<most>\d*)|(?P<sign>[()|?*+\[\]])|(?P<other>\S)",
    re.DOTALL,
)
_DEFINITION = re.compile(r"^[ \t]*[?!]?([A-Za-z_][\w-]*)(?:\.\d+|\[[^\n]*?\]|::[^\n:]*|[ \t])*:", re.MULTILINE)
_TERMINAL = re.compile(r"_?[A-Z][A-Z0-9_-]*")


class Size(NamedTuple):
    """Upper bounds for a pattern: quantifiers, characters it forces in a row, ways to match one of them."""

    quantifiers: int = 0
    length: int = 0
    width: int = 0


def of_schema(schema: Mapping[str, Any]) -> str:
    """Of a JSON schema that is an object."""
    if depth(schema) > MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH} levels"
    every = list(schemas(schema))
    patterns = [one["pattern"] for one in every if isinstance(one.get("pattern"), str)]
    names = [key for one in every if isinstance(one.get("patternProperties"), dict) for key in one["patternProperties"]]
    together = any("allOf" in one or ("$ref" in one and len(one) > 1) for one in every)
    counts = (
        ("references", sum("$ref" in one for one in every), MAX_REFERENCES),
        ("properties", sum(_size(one.get("properties")) for one in every), MAX_PROPERTIES),
        ("required properties", sum(_size(one.get("required")) for one in every), MAX_PROPERTIES),
        ("choices", sum(_size(one.get("enum")) for one in every), MAX_CHOICES),
        ("patterns", len(patterns), MAX_PATTERNS_TOGETHER if together else MAX_PATTERNS),
        ("patterns of names", len(names), MAX_NAME_PATTERNS),
        ("divisors, multiplied,", math.prod(_divisor(one.get("multipleOf")) for one in every), MAX_DIVISORS),
    )
    for what, count, limit in counts:
        if count > limit:
            return f"it has more {what} than {limit}"
    return next(filter(None, map(of_pattern, [*patterns, *names])), "")


def of_pattern(pattern: str) -> str:
    """Of a regular expression."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        return "a pattern ends in a backslash that escapes nothing"
    return _too_large(measure(pattern))


def of_lark(lark: str) -> str:
    """Of a Lark grammar. `&` and `~` count wherever they stand."""
    found = list(_DEFINITION.finditer(lark))
    if len(found) > MAX_RULES:
        return f"it has more than {MAX_RULES} rules"
    if lark.count("&") + lark.count("~") > MAX_INTERSECTIONS:
        return f"it has more than {MAX_INTERSECTIONS} signs & and ~"
    # What stands before the first definition (`%ignore`) has no name, and a second definition adds to the first.
    bodies = {"": lark[: found[0].start() if found else None]}
    for one, following in zip_longest(found, found[1:]):
        body = lark[one.end() : following.start() if following else None]
        bodies[one[1]] = bodies.get(one[1], "") + body
    # What a rule names stays apart, terminals become one pattern with those they are made of.
    terminals = {name: body for name, body in bodies.items() if _TERMINAL.fullmatch(name)}
    uses = {
        name: {found for found in _TERMINAL.findall(body) if found in terminals} for name, body in terminals.items()
    }
    sizes: dict[str, Size] = {}
    try:
        for name in TopologicalSorter(uses).static_order():
            sizes[name] = _folded(_lark_items(terminals[name], sizes))
    except CycleError:
        return "its terminals refer to each other in a circle"
    others = (_folded(_lark_items(body, {})) for name, body in bodies.items() if name not in terminals)
    return next(filter(None, map(_too_large, [*sizes.values(), *others])), "")


def depth(value: Any) -> int:
    """How many brackets are open at once in this JSON value."""
    levels, level = 0, [value]
    while level:
        levels += 1
        insides = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for inside in insides for inner in inside if isinstance(inner, dict | list)]
    return levels


def schemas(root: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every one within it. Values that are data (`enum`, `default`) are not looked into."""
    waiting: list[Any] = [root]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, list):
            waiting.extend(schema)
        elif isinstance(schema, dict):
            yield schema
            waiting.extend(schema[name] for name in NESTED if name in schema)
            named = (schema[name] for name in NAMED if isinstance(schema.get(name), dict))
            waiting.extend(inner for names in named for inner in names.values())


def measure(pattern: str) -> Size:
    """Of a regular expression."""
    pattern = _PLAIN_CLASS.sub("a", _ESCAPE.sub("a", pattern))
    items = list(_regex_items(pattern))
    if "[" not in pattern and not _COMMENTS.search(pattern):
        return _folded(items)
    # In a class of classes and in comments a bracket does not group: then every repeat is taken to repeat everything.
    size = _folded(item for item in items if item not in ("(", ")"))
    least, most = (math.prod(bounds) for bounds in zip((1, 1), *(i for i in items if type(i) is tuple), strict=True))
    return Size(size.quantifiers, len(pattern) * least, len(pattern) * most)


#: What a pattern is made of: something with a size, a repeat as (least, most), or a sign.
_Item = Size | tuple[int, int] | str


def _folded(items: Iterable[_Item]) -> Size:
    """The size of a pattern out of its items, with counted repeats unrolled and the longest of all alternatives."""
    # Of every open group: quantifiers, its longest alternative, the one being read, and its ways.
    groups = [[0, 0, 0, 0]]
    last = Size()
    for item in items:
        group = groups[-1]
        if item == "(":
            groups.append([0, 0, 0, 0])
            continue
        if item == ")":
            if len(groups) == 1:
                continue
            quantifiers, longest, current, width = groups.pop()
            group, last = groups[-1], Size(quantifiers, max(longest, current), width)
        elif item == "|":
            group[1], group[2], last = max(group[1], group[2]), 0, Size(0, 0, 1)
        elif isinstance(item, Size):
            last = item
        elif isinstance(item, str):
            # It may be repeated in its turn, together with what it stands behind.
            last = Size(1, last.length, last.width + 1)
            group[0], group[3] = group[0] + 1, group[3] + 1
            continue
        else:
            # What is repeated has been added once already.
            least, most = item
            more = Size(1, last.length * (least - 1), last.width * (most - 1) + most - least)
            last = Size(1, last.length + more.length, last.width + more.width)
            group[0], group[2], group[3] = group[0] + 1, group[2] + more.length, group[3] + more.width
            continue
        group[0], group[2], group[3] = group[0] + last.quantifiers, group[2] + last.length, group[3] + last.width
    longest = sum(max(group[1], group[2]) for group in groups)
    return Size(sum(group[0] for group in groups), longest, sum(group[3] for group in groups))


def _regex_items(pattern: str) -> Iterator[_Item]:
    for found in _REGEX.finditer(pattern):
        yield found["sign"] or (_bounds(found) if found["least"] else Size(length=1))


def _lark_items(body: str, terminals: Mapping[str, Size]) -> Iterator[_Item]:
    for found in _LARK.finditer(body):
        if found["sign"]:
            yield {"[": "(", "]": ")"}.get(found["sign"], found["sign"])
        elif found["name"]:
            # A rule's name, or text that only looks like one.
            yield terminals.get(found["name"], Size(length=len(found["name"])))
        elif found["regex"]:
            yield measure(found["regex"])
        elif found["string"] is not None:
            yield Size(length=len(found["string"]))
        elif found["least"] or found["most"]:
            yield _bounds(found)
        elif found["other"]:
            yield Size(length=1)


def _bounds(found: re.Match[str]) -> tuple[int, int]:
    """Of a counted repeat, both at least 1; what has too many digits is too much anyway."""
    first, last = found["least"], found["most"] if found["comma"] else found["least"]
    least, most = (max(int(digits or 0), 1) if len(digits) < 9 else MAX_WALK for digits in (first, last))
    return least, max(least, most)


def _too_large(size: Size) -> str:
    if size.quantifiers > MAX_QUANTIFIERS:
        return f"a pattern has more than {MAX_QUANTIFIERS} quantifiers"
    if size.length > MAX_FORCED:
        return f"a pattern asks for more than {MAX_FORCED} characters"
    return "a pattern has too many ways to match a long text" if size.length * size.width > MAX_WALK else ""


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _divisor(value: Any) -> int:
    """The digits of a divisor without decimal point and zeros at the end: 1 for 0.01, 25 for 0.25 and for 2500."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return 1
    return max(int("".join(map(str, Decimal(repr(value)).normalize().as_tuple().digits))), 1)

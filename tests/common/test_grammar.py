"""Which constraints are kept, which are refused, and what a hostile one costs."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer
from tropilla.common import complexity
from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import Constraint, ConstraintKind
from tropilla.common.grammar import LIMITS, after_reasoning, grammar_of, refusal

BYTES = LLTokenizer("byte")


def schema(value: Any) -> Constraint:
    return Constraint("schema", json.dumps(value))


def matches(grammar: str, text: str) -> bool:
    """The whole text, in the model's place, is one complete answer."""
    matcher = LLMatcher(BYTES, grammar, limits=LIMITS, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and (matcher.is_accepting() or matcher.is_stopped()))


#: As it comes with llama.cpp.
JSON_IN_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

ws ::= | " " | "\n" [ \t]{0,20}
"""

#: constraint, what matches, what does not
KEPT: list[tuple[Constraint, list[str], list[str]]] = [
    (Constraint("json"), ["{}", '{"a": [1, 2]}', '{\n  "a": null\n}'], ["[]", "1", '"a"', "", "{'a': 1}"]),
    (schema(True), ["1", "[]", "null"], ["", "nul"]),
    (schema({}), ["1", '"a"'], ["x"]),
    (schema({"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b", "a"]}),
     ['{"b":1,"a":2}'], ['{"a":1,"b":2}']),
    (schema({"type": "array", "items": [{"type": "string"}]}), ['["a", 1]'], ["[1]"]),
    (schema({"$schema": "http://json-schema.org/draft-04/schema#", "const": 1}), ["1"], ["2"]),
    (schema({"$schema": "urn:nobody:knows", "type": "string"}), ['"a"'], ["1"]),
    (schema({"type": "string", "minLength": 2, "maxLength": 2}), ['"é😀"'], ['"é"', '"aaa"']),
    (schema({"type": "string", "pattern": "^a+$"}), ['"aa"'], ['"ab"']),
    (schema({"oneOf": [{"type": "string"}, {"type": "integer"}]}), ["1", '"a"'], ["true"]),
    (schema({"x-guidance": {"whitespace_pattern": "x*"}, "type": "array"}), ["[ 1]"], ["[x1]"]),
    (Constraint("regex", r"^\d{3}$"), ["123"], ["12", "1234", "٣٣٣"]),
    (Constraint("regex", "a/b|\"|'"), ["a/b", '"', "'"], ["/"]),
    (Constraint("regex", "a\nb"), ["a\nb"], ["a b"]),
    (Constraint("regex", r"[^\W\d]+"), ["ab_c"], ["é", "1"]),
    (Constraint("lark", 'start: "a" b*\nb: /[0-9]/ ","'), ["a", "a1,2,"], ["a1"]),
    (Constraint("lark", 'start: "x" %json {"type": "object", "required": ["a"]}'), ['x{"a":1}'], ["x{}"]),
    (Constraint("gbnf", 'root ::= "\\u0041BC" [\\u00e9\\U0001F600] "\\x22" (x | "-")\nx ::= [0-9]{2,3}'),
     ['ABCé"12', 'ABC😀"-'], ["ABCe"]),
    (Constraint("gbnf", JSON_IN_GBNF), ['{"a": [1, -2.5e3, "\\u00e9"]}'], ["[1]", '{"a": 01}']),
    (Constraint("gbnf", 'root ::= expression\nexpression ::= "(" expression ")" | [a-z]+'), ["((ab))"], ["((ab)"]),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "right", "wrong"), KEPT)
def test_a_grammar_matches_what_the_constraint_says(constraint: Constraint, right: list[str], wrong: list[str]) -> None:
    assert refusal(constraint) == ""
    grammar = grammar_of(constraint)
    assert [text for text in right if not matches(grammar, text)] == []
    assert [text for text in wrong if matches(grammar, text)] == []


REFUSED: list[tuple[Constraint, str]] = [
    (Constraint("schema", "123"), "neither an object nor a boolean"),
    (Constraint("schema", "false"), "nothing matches"),
    (Constraint("schema", "{'a': 1}"), "not JSON"),
    (Constraint("schema", '{"minimum": NaN}'), "NaN"),
    (Constraint("schema", '{"const": "\\ud800"}'), "surrogate|hex escape"),
    (schema({"type": 123}), "type must be"),
    (schema({"type": "hiccup"}), "hiccup"),
    (schema({"$ref": "#/$defs/nowhere"}), "nowhere"),
    (schema({"$ref": "https://example.com/schema.json"}), "not present"),
    (schema({"$ref": "#"}), "nothing can match"),
    (schema({"enum": []}), "Unsatisfiable"),
    (schema({"type": "integer", "minimum": 5, "maximum": 3}), "Unsatisfiable"),
    (schema({"type": "string", "format": "hiccup"}), "hiccup"),
    (schema({"type": "string", "pattern": "(?=a)b"}), "look-around"),
    (schema({"type": "string", "pattern": "a\\"}), "backslash"),
    (schema({"name": "animal", "schema": {"type": "object"}}), "name, schema"),
    (schema({"type": "object", "x-guidance": {"lenient": True}, "not": {}}), "not"),
    *(
        (schema({"type": "object", "properties": {"a": {keyword: value}}}), keyword.strip("$"))
        for keyword, value in {
            "not": {}, "if": {}, "contains": {}, "uniqueItems": True, "propertyNames": {}, "dependentRequired": {},
            "dependencies": {}, "unevaluatedProperties": False, "$dynamicRef": "#a", "$recursiveRef": "#",
            "extends": {}, "disallow": "string", "divisibleBy": 2,
        }.items()
    ),
    (schema({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}), "oneOf"),
    (Constraint("regex", r"(a)\1"), "backreferences"),
    (Constraint("regex", "(?<!a)b"), "look-around"),
    (Constraint("regex", "a$b"), "lookarounds"),
    (Constraint("regex", r"\bab"), "lookarounds"),
    (Constraint("regex", "a\\"), "backslash"),
    (Constraint("regex", "(a"), "unclosed group"),
    (Constraint("regex", "a{3"), "unclosed"),
    (Constraint("regex", "\ud800"), "surrogate"),
    (Constraint("lark", ""), "cannot be used"),
    (Constraint("lark", 'begin: "a"'), "start"),
    (Constraint("lark", "start: missing"), "missing"),
    (Constraint("lark", '{"grammars": []}'), "cannot be used"),
    (Constraint("lark", "start: @elsewhere"), "elsewhere"),
    (Constraint("lark", 'start: %json {"x-guidance": {"lenient": true}, "not": {}}'), "not"),
    (Constraint("lark", "start: %json {"), "not JSON"),
    (Constraint("gbnf", 'rule ::= "a"'), "root"),
    (Constraint("gbnf", "root ::= missing"), "missing"),
    (Constraint("gbnf", 'root ::= "a'), "end of input"),
    (Constraint("gbnf", ""), "root"),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "reason"), REFUSED)
def test_what_cannot_be_kept_is_refused_with_the_reason(constraint: Constraint, reason: str) -> None:
    said = refusal(constraint)
    assert re.search(reason, said), said
    assert "\n" not in said
    assert len(said) < 500


def chain(count: int, link: str, end: str) -> str:
    return (
        "\n".join(link.format(here=number, there=number + 1) for number in range(count)) + "\n" + end.format(here=count)
    )


def objects(count: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "null"}
    for _ in range(count):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


def references(count: int) -> dict[str, Any]:
    links = {f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(count)}
    return {"$defs": {**links, f"d{count}": {"type": "object"}}, "$ref": "#/$defs/d0"}


HOSTILE: dict[str, Constraint] = {
    "long": Constraint("regex", "a" * 100_000),
    "brackets": Constraint("schema", "[" * 60_000),
    "nested": Constraint("schema", json.dumps(objects(200))),
    "choices": schema({"enum": [f"value{number}" for number in range(4_500)]}),
    "alternatives": Constraint("regex", "|".join(f"w{number}" for number in range(9_000))),
    "properties": schema({"type": "object", "properties": {f"p{number}": {} for number in range(1_000)}}),
    "references": schema(references(60)),
    "many references": schema(references(1_000)),
    "own reference": schema({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}, "$ref": "#/$defs/a"}),
    "exponential parts": schema({
        "allOf": [{"anyOf": [{"properties": {f"{name}{number}": {}}} for name in "ab"]} for number in range(30)]
    }),
    "patterns over patterns": schema({"allOf": [{"type": "string", "pattern": f"(.*a.{{{n}}}){{5}}"} for n in range(8)]}),
    "patterns of names": schema({"patternProperties": {f"^a{number}x*$": {} for number in range(190)}}),
    "divisor": schema({"type": "integer", "multipleOf": 1_000_003}),
    "divisors": schema({"allOf": [{"type": "integer", "multipleOf": 999 + number} for number in range(9)]}),
    "items": schema({"type": "array", "minItems": 10**9}),
    "length": schema({"type": "string", "minLength": 10**6}),
    "constant": schema({"const": "x" * 60_000}),
    "digits": Constraint("schema", '{"type": "integer", "minimum": ' + "9" * 5_000 + "}"),
    "count": Constraint("regex", "a{1,100000}"),
    "counts in counts": Constraint("regex", "((a{100}){100}){100}"),
    "counts behind a class": Constraint("regex", "(a{100}[)]){100}{100}"),
    "counts behind a comment": Constraint("regex", "(?x)((a{200} # )\n){200}){200}"),
    "states": Constraint("regex", "(a|b)*a(a|b){40}"),
    "optionals": Constraint("regex", "a?" * 16_000 + "a" * 16_000),
    "counted optionals": Constraint("regex", "(a?){0,5000}a{5000}"),
    "hidden optionals": Constraint("regex", "z|y(a?){0,5000}a{5000}"),
    "optionals of optionals": Constraint("regex", "(a{100})?{100}{100}"),
    "optionals over lines": Constraint("lark", "start: /x\nT: (a?){0,5000}" + "a" * 5_000 + "/"),
    "wildcards": Constraint("regex", ".*" * 20_000),
    "groups": Constraint("regex", "(" * 20_000 + ")" * 20_000),
    "letters": Constraint("regex", r"(\p{L}|\p{N}|\p{Greek}){1,500}" * 50),
    "nothing": Constraint("regex", "|" * 60_000),
    "chain of rules": Constraint("lark", "start: r0\n" + chain(4_000, 'r{here}:"a"r{there}', 'r{here}:"b"')),
    "doubling rules": Constraint("lark", "start: r0\n" + chain(60, "r{here}: r{there} r{there}", 'r{here}: "a"')),
    "doubling terminals": Constraint("lark", "start: T0\n" + chain(12, "T{here}: T{there} T{there}", "T{here}: /a?a/")),
    "intersections": Constraint("lark", "start: T\nT: " + " & ".join(f"/.*a{number}.*/" for number in range(40))),
    "few intersections": Constraint("lark", "start: T\nT: " + " & ".join(f"/.*a{number}.*/" for number in range(10))),
    "ambiguous": Constraint("lark", 'start: s\ns: s s | s s s | "a" |'),
    "repeated rule": Constraint("lark", 'start: a{1000000000}\na: "x" a?'),
    "json in lark": Constraint("lark", 'start: %json {"type": "integer", "multipleOf": 1000003}'),
    "words": Constraint("lark", 'start: T\nT: %regex {"substring_chars": "' + "ab" * 30_000 + '"}'),
    "chain of names": Constraint("gbnf", "root ::= r0\n" + chain(3_000, "r{here} ::= r{there}", 'r{here} ::= "a"')),
    "repeats in gbnf": Constraint("gbnf", 'root ::= (("a"{1000}){1000}){1000}'),
    "groups in gbnf": Constraint("gbnf", "root ::= " + "(" * 9_000 + '"a"' + ")" * 9_000),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_constraint_costs_little_whether_or_not_it_is_kept(name: str) -> None:
    """And what is kept goes on costing little: the worker's loop waits for every mask."""
    started = time.process_time()
    said = refusal(HOSTILE[name])
    assert time.process_time() - started < 3
    if said:
        return
    matcher = LLMatcher(BYTES, grammar_of(HOSTILE[name]), limits=LIMITS, log_level=0)
    for byte in b'a"a{1':
        started = time.process_time()
        matcher.compute_bitmask()
        matcher.try_consume_tokens([byte])
        assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("abc", (0, 3, 0)),
        ("a|bcd|e", (0, 3, 2)),
        ("(ab){3}", (1, 6, 0)),
        ("((a{10}){10}){10}", (3, 1000, 0)),
        ("a{2,5}b{3,}", (2, 5, 3)),
        ("(a?){0,50}", (2, 1, 99)),
        ("(ab)?{3}", (2, 6, 3)),
        (r"\({3}[(]{2}[]?]{9}", (3, 14, 0)),
        ("[[a]b]{3}{4}", (2, 10 * 12, 10 * 12)),
    ],
)
def test_a_pattern_is_measured_with_its_repeats_unrolled(pattern: str, size: tuple[int, int, int]) -> None:
    assert complexity.measure(pattern) == size


def test_the_terminals_of_a_grammar_are_measured_with_what_they_are_made_of() -> None:
    terminals = 'T: (U | /a?/){20} V\nU: V{10} // V{1000}\n  | "V{1000}"\n%s: /a{100}/'
    assert complexity.of_lark(f"start: T\n{terminals % 'V'}") == "a pattern asks for more than 20000 characters"
    assert complexity.of_lark(f"start: T\n{terminals % 'v'}") == ""


def test_whitespace_between_json_tokens_is_flexible_but_not_endless() -> None:
    grammar = grammar_of(Constraint("json"))
    assert matches(grammar, '{\n    "a": [\n        1,\n        2\n    ]\n}')
    assert not matches(grammar, '{"a":' + " " * 2 + "1}")
    assert not matches(grammar, '{"a":' + "\n" * 3 + "1}")


ANSWERS = [
    (Constraint("json"), '{"a": 1}', "[1]"),
    (schema({"enum": ["a", "b"]}), '"b"', '"c"'),
    (Constraint("regex", "[0-9]+"), "42", "x"),
    (Constraint("lark", 'start: a+\na: "x" "y"'), "xyxy", "xx"),
    (Constraint("gbnf", "root ::= [a-c]+"), "abc", "d"),
]


@pytest.mark.parametrize("close", ["</think>", "[/THINK]", '"\\end"\n'])
@pytest.mark.parametrize(("constraint", "right", "wrong"), ANSWERS)
def test_a_constraint_binds_after_the_reasoning_block(
    constraint: Constraint, right: str, wrong: str, close: str
) -> None:
    grammar = after_reasoning(grammar_of(constraint), close, marker=False)
    assert matches(grammar, f"Well,\n{{ é < {close}{right}")
    assert matches(grammar, f"{close}{right}")
    assert not matches(grammar, f"Well {close}{wrong}")
    assert not matches(grammar, right)
    assert not matches(grammar, f"Well {close} {close}{right}")


def test_what_needs_no_compiling_is_an_error_of_the_prompt() -> None:
    with pytest.raises(InvalidPrompt) as raised:
        grammar_of(Constraint("schema", "123"))
    assert raised.value.code == "constraint"


def test_a_grammar_may_name_special_tokens_which_only_the_worker_knows() -> None:
    assert refusal(Constraint("lark", 'start: <|tool|> "a"')) == ""
    assert refusal(Constraint("lark", "start: <|tool|> missing")) != ""


@pytest.mark.parametrize("kind", ["schema", "regex", "lark", "gbnf"])
def test_a_source_that_is_too_long_is_not_even_read(kind: ConstraintKind) -> None:
    assert "longer than 65536 bytes" in refusal(Constraint(kind, "é" * 40_000))

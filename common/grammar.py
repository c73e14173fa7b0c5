"""What a constraint asks for, as a grammar that llguidance takes; or why it cannot be had.

What is known to get out of hand is counted first (`complexity`); then the grammar is compiled for a vocabulary of single
bytes and its first step taken. Nothing is kept halfway: a keyword that would be ignored is refused.

Patterns have the syntax of Rust's `regex`, without lookaround and back-references; `\\d`, `\\w` and `\\s` are ASCII.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark
from llguidance.gbnf_to_lark import gbnf_to_lark
from tropilla.common import complexity
from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import Constraint

#: Between two JSON tokens: nothing, one space, or a line break or two with an indent. Without an upper bound a model that
#: has lost the thread writes blanks until it runs out of tokens; these are the bounds of llama.cpp's own JSON grammars.
WHITESPACE = r" |\n{1,2}[ \t]{0,20}"

#: Of one compiled grammar: its lexer stays below about 50 MB. A step takes the square of the items in a row, 40 ms at
#: 1,000 in an ambiguous grammar; a schema has four for each property of an object that may be left out.
LIMITS = LLParserLimits(
    max_items_in_row=1_000,
    initial_lexer_fuel=200_000,
    step_lexer_fuel=100_000,
    step_max_items=30_000,
    max_lexer_states=20_000,
    max_grammar_size=100_000,
    precompute_large_lexemes=False,
    verbose_errors=False,
)

MAX_SOURCE_BYTES = 64 * 1024

#: Assertions of other drafts, which the converter takes for annotations.
FOREIGN_KEYWORDS = frozenset({"disallow", "divisibleBy", "extends", "$recursiveRef"})
_KEYWORD_LIST = (
    "$anchor $comment $defs $dynamicRef $id $ref $schema additionalItems additionalProperties allOf anyOf const contains "
    "default definitions dependencies dependentRequired dependentSchemas deprecated description else enum examples "
    "exclusiveMaximum exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum minContains "
    "minItems minLength minProperties minimum multipleOf not oneOf pattern patternProperties prefixItems properties "
    "propertyNames required then title type unevaluatedItems unevaluatedProperties uniqueItems"
)
#: A schema with none of these is most likely something else, such as OpenAI's `{"name": ..., "schema": ...}`.
KEYWORDS = frozenset(_KEYWORD_LIST.split())

_NAMES = {"json": "JSON schema", "schema": "JSON schema", "regex": "regular expression"}
_SPECIAL_TOKEN = re.compile(r"<[^<>\s]+>")
_GBNF_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)


def refusal(constraint: Constraint) -> str:
    """Why this constraint cannot be kept, as one sentence; "" if it can. Takes milliseconds, a second at the worst.

    Special tokens that a Lark grammar names are known to the worker only, which then has the last word.
    """
    try:
        grammar = grammar_of(constraint)
    except InvalidPrompt as error:
        return error.message
    failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, limits=LIMITS)
    if constraint.kind == "lark" and _SPECIAL_TOKEN.search(constraint.source):
        return sentence("lark", messages[0]) if failed else ""
    # A warning is about something that the output would not keep.
    if messages:
        return sentence(constraint.kind, messages[0])
    matcher = LLMatcher(_bytes_tokenizer(), grammar, limits=LIMITS, log_level=0)
    matcher.compute_bitmask()
    if not matcher.is_error():
        return ""
    # "NoExtensionBias", for instance, is what it says of a grammar that has no first character.
    return sentence(constraint.kind, matcher.get_error() if " " in matcher.get_error() else "nothing can match it")


def grammar_of(constraint: Constraint) -> str:
    """The grammar as LLMatcher takes it. Raises `InvalidPrompt` for what can be seen without compiling it."""
    kind, source = constraint.kind, constraint.source
    if not source.isascii() and any("\ud800" <= character <= "\udfff" for character in source):
        raise _refused(kind, "half of a surrogate pair is no text")
    if len(source.encode()) > MAX_SOURCE_BYTES:
        raise _refused(kind, f"it is longer than {MAX_SOURCE_BYTES} bytes")
    match kind:
        case "json":
            return _wrapped(json_schema=_prepared({"type": "object"}))
        case "schema":
            return _wrapped(json_schema=_prepared(_read(source)))
        case "regex":
            _check(kind, complexity.of_pattern(source))
            return _wrapped(lark_grammar=f"start: /{regex_to_lark(source, 'dws')}/")
        case "lark" | "gbnf":
            lark = source if kind == "lark" else _lark_of(source)
            _check(kind, complexity.of_lark(lark))
            _check_inner_schemas(lark)
            return _wrapped(lark_grammar=lark)


def after_reasoning(grammar: str, close: str, *, marker: bool, token: int | None = None) -> str:
    """The grammar, after any text up to and including the first `close`.

    marker: the tag is one special token and not text. It is found by its spelling `<...>`, or is given as `token`.
    """
    tag = "" if not marker else close if token is None else f"<[{token}]>"
    before, rules = thought(close, tag=tag)
    lark = "\n".join([f"start: {before} @answer", *rules])
    answer = {**json.loads(grammar)["grammars"][0], "name": "answer"}
    return json.dumps({"grammars": [{"lark_grammar": lark}, answer]})


def thought(close: str, *, tag: str = "", open_pattern: str = "") -> tuple[str, list[str]]:
    """Lark for any text up to and including the first `close`: what stands in a rule, and the rules it needs.

    tag: how Lark refers to `close` where it is one special token. open_pattern: a regex for what comes first, where that
    and `close` are text.
    """
    if not tag:
        return "thought", [f"thought[suffix={json.dumps(close)}]: /{open_pattern}(?s:.*)/"]
    # Spelled out in ordinary tokens the tag would look the same to a reader of the text, and bind nothing.
    return f"TEXT {tag}", [f"TEXT: ANY & ~(ANY {json.dumps(close)} ANY)", "ANY: /(?s:.*)/"]


def sentence(kind: str, reason: str) -> str:
    """One sentence for the caller out of llguidance's report, which has several lines and draws arrows."""
    words = " ".join(reason.replace("<non-verbose/>", "").split())
    return f"the {_NAMES.get(kind, 'grammar')} cannot be used: {words[:400].rstrip('.')}"


def _refused(kind: str, reason: str) -> InvalidPrompt:
    return InvalidPrompt(sentence(kind, reason), code="constraint")


def _check(kind: str, reason: str) -> None:
    if reason:
        raise _refused(kind, reason)


def _wrapped(**grammar: Any) -> str:
    """Always JSON: a bare Lark text that starts with a brace would be taken for JSON itself."""
    return json.dumps({"grammars": [grammar]})


@cache
def _bytes_tokenizer() -> LLTokenizer:
    return LLTokenizer("byte")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _read(source: str) -> Any:
    try:
        return json.loads(source, parse_constant=_no_constant)
    except RecursionError:
        raise _refused("schema", f"it is nested deeper than {complexity.MAX_DEPTH} levels") from None
    except ValueError as error:
        raise _refused("schema", f"it is not JSON: {error}") from error


def _prepared(schema: Any) -> dict[str, Any]:
    """The schema as llguidance is to see it: of the newest draft and with our options, whatever it says itself.

    The draft only decides which keywords are ignored: under draft 4 that would be `const`.
    """
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise _refused(
            "schema", "nothing matches false" if schema is False else "it is neither an object nor a boolean"
        )
    _check("schema", complexity.of_schema(schema))
    if schema and not KEYWORDS & schema.keys():
        raise _refused("schema", f"none of its keys is a keyword of JSON Schema: {', '.join(sorted(schema)[:5])}")
    for one in complexity.schemas(schema):
        if foreign := FOREIGN_KEYWORDS & one.keys():
            raise _refused("schema", f"the keyword {min(foreign)} is not supported")
        one.pop("$schema", None)
    return {**schema, "x-guidance": {"whitespace_pattern": WHITESPACE}}


def _check_inner_schemas(lark: str) -> None:
    """`%json` in a Lark grammar is bound by the limits of schemas, too."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"%json\s*", lark):
        try:
            schema, _ = decoder.raw_decode(lark, found.end())
        except (ValueError, RecursionError) as error:
            raise _refused("lark", "what follows %json is not JSON, or nested too deep") from error
        if isinstance(schema, dict):
            _check("lark", complexity.of_schema(schema))


def _lark_of(gbnf: str) -> str:
    """GBNF as Lark. Converting takes the square of the number of rules, so that is bounded here already."""
    if gbnf.count("::=") > complexity.MAX_RULES:
        raise _refused("gbnf", f"it has more than {complexity.MAX_RULES} rules")
    try:
        return gbnf_to_lark(_GBNF_ESCAPE.sub(_unescaped, gbnf))
    # The converter raises its own error for syntax, a bare Exception for rules, and recurses for groups.
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        raise _refused("gbnf", str(error) or "it is nested too deep") from error


def _unescaped(found: re.Match[str]) -> str:
    r"""The converter drops leading zeros of `\u0041`, which makes another character of it."""
    digits = found[1] or found[2]
    if not digits:
        return found[0]
    code = int(digits, 16)
    if code < 0x80:
        return f"\\x{code:02x}"
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else found[0]

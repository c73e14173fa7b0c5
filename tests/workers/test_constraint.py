"""Matchers, driven by a seeded choice among the tokens they allow: whatever comes out satisfies the constraint."""

from __future__ import annotations

import json
import math
import random
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from llguidance import LLTokenizer, TokenizerWrapper
from tropilla.common.errors import GenerationFailed, InvalidPrompt
from tropilla.common.generation import Constraint
from tropilla.common.grammar import grammar_of
from tropilla.workers import pocket
from tropilla.workers.constraint import Grammars, Matcher
from tropilla.workers.llama.grammar import tokenizer_of
from tropilla.workers.llama.model import Llama, Size
from tropilla.workers.llama.vocabulary import Vocabulary

#: Every byte, some tokens that reach over a grammar's borders, and three special ones.
PIECES = [bytes([byte]) for byte in range(256)] + [
    b'{"', b'":', b'": "', b'"}', b"}]", b"</", b'>{"', b"think", b"think>{", b"ab", b"aba", b"12", b"  ", b"\n\n",
    "é".encode(), b"<|end|>", b"<|other_end|>", b"</think>",
]  # fmt: skip
END, OTHER_END, CLOSE = len(PIECES) - 3, len(PIECES) - 2, len(PIECES) - 1
MAX_TOKENS = 4_000


class Pieces:
    """The least that llguidance asks of a tokenizer."""

    eos_token_id = END
    bos_token_id = None
    tokens = PIECES
    special_token_ids = (END, OTHER_END, CLOSE)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def small_tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(Pieces()), eos_token=[END, OTHER_END])


@pytest.fixture(scope="module")
def small() -> Grammars:
    return Grammars(small_tokenizer)


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[Vocabulary]:
    llama = Llama(pocket.path(), Size(slots=1, context=256, step_tokens=64), threads=1)
    yield llama.vocabulary
    llama.close()


@pytest.fixture(scope="module")
def grammars(vocabulary: Vocabulary) -> Grammars:
    return Grammars(lambda: tokenizer_of(vocabulary))


def schema(value: Any) -> Constraint:
    return Constraint("schema", json.dumps(value))


def allowed(matcher: Matcher, size: int) -> list[int]:
    row = numpy.zeros(size, numpy.float32)
    matcher.mask(row)
    return [int(token) for token in numpy.flatnonzero(row == 0)]


def walk(matcher: Matcher, size: int, ends: Callable[[int], bool], seed: int) -> list[int]:
    """A random answer up to, not including, the end of the turn, which is taken at once when it may come.

    Ways out of strings and lists are taken often, so that answers end.
    """
    chance = random.Random(seed)
    tokens: list[int] = []
    while len(tokens) < MAX_TOKENS:
        candidates = allowed(matcher, size)
        if any(map(ends, candidates)) and chance.random() < 0.7:
            return tokens
        choices = [token for token in candidates if not ends(token)]
        if not choices:
            return tokens
        closing = [token for token in choices if token < 256 and chr(token) in '"]},.>'] if size == len(PIECES) else []
        token = chance.choice(closing if closing and chance.random() < 0.4 else choices)
        matcher.accept(token)
        tokens.append(token)
    raise AssertionError("the answer does not end")


def feed(matcher: Matcher, tokens: list[int]) -> None:
    for token in tokens:
        matcher.accept(token)


def text_of(tokens: list[int], piece: Callable[[int], bytes] = PIECES.__getitem__) -> str:
    return b"".join(map(piece, tokens)).decode()


def is_end(token: int) -> bool:
    return token in (END, OTHER_END)


Tree = dict[str, Any]


def is_tree(value: Any) -> bool:
    return (
        set(value) <= {"value", "left", "right"} and type(value["value"]) is int and all(map(is_tree, subtrees(value)))
    )


def subtrees(value: Tree) -> list[Tree]:
    return [value[side] for side in ("left", "right") if side in value]


#: schema, and what Python says of the value
SCHEMAS: list[tuple[Any, Callable[[Any], bool]]] = [
    ({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}, "required": ["a", "b"],
      "additionalProperties": False}, lambda value: list(value) == ["a", "b"] and type(value["a"]) is bool),
    ({"type": "object", "properties": {"outer": {"type": "object", "properties": {"inner": {"enum": [1, "two", None]}},
      "required": ["inner"], "additionalProperties": False}}, "required": ["outer"], "additionalProperties": False},
     lambda value: list(value) == ["outer"] and value["outer"]["inner"] in (1, "two", None)),
    ({"type": "object", "properties": {"z": {"const": 1}, "a": {"const": 2}, "m": {"const": 3}}, "required": ["z", "a"],
      "additionalProperties": False}, lambda value: list(value) in (["z", "a"], ["z", "a", "m"])),
    ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 4},
     lambda value: 2 <= len(value) <= 4 and set(value) <= {"a", "b"}),
    ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False, "minItems": 2},
     lambda value: value == [1, 2]),
    ({"anyOf": [{"type": "integer", "minimum": -3, "maximum": 12}, {"type": "string", "pattern": "^[a-c]{2,3}$"}]},
     lambda value: -3 <= value <= 12 if type(value) is int else re.fullmatch("[a-c]{2,3}", value) is not None),
    ({"type": "integer", "exclusiveMinimum": 99, "maximum": 1234, "multipleOf": 5},
     lambda value: type(value) is int and 100 <= value <= 1234 and value % 5 == 0),
    ({"type": "number", "minimum": 0, "maximum": 1}, lambda value: 0 <= value <= 1),
    ({"type": "string", "minLength": 2, "maxLength": 3}, lambda value: 2 <= len(value) <= 3),
    ({"type": "string", "pattern": "é+$", "maxLength": 5}, lambda value: value.endswith("é") and len(value) <= 5),
    ({"type": "string", "format": "date"}, lambda value: re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None),
    ({"const": {"snow": "☃", "quote": '"\\\n'}}, lambda value: value == {"snow": "☃", "quote": '"\\\n'}),
    ({"type": ["string", "null"], "maxLength": 1}, lambda value: value is None or len(value) <= 1),
    ({"$defs": {"tree": {"type": "object", "properties": {"value": {"type": "integer", "minimum": 0, "maximum": 9},
      "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}, "required": ["value"],
      "additionalProperties": False}}, "$ref": "#/$defs/tree"}, is_tree),
    ({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 9}, "maxProperties": 2},
     lambda value: len(value) <= 2 and all(type(one) is int for one in value.values())),
    ({"allOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                {"properties": {"b": {"const": 2}}, "required": ["b"]}], "maxProperties": 2},
     lambda value: value["a"] == 1 and value["b"] == 2),
]  # fmt: skip

REGEXES = [
    "[a-f0-9]{8}", r"\d{3}-\d{2,4}", r"\w+\s\w+", "(yes|no|maybe)( sir)?", "^start[^x\n]{0,5}end$", "((a|b)c){2,3}",
    "[éüñ]{1,4}☃", r"\+?\d+(\.\d+)?", "(?i)hello", r'"[^"\\]{0,3}"', "a{0,2}b{3}", "x*y+z?",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_every_answer_is_json_of_the_schema(number: int, small: Grammars) -> None:
    asked, holds = SCHEMAS[number]
    grammar = grammar_of(schema(asked))
    for seed in range(12):
        text = text_of(walk(small.matcher(grammar), len(PIECES), is_end, seed))
        assert holds(json.loads(text)), text


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_every_answer_of_a_real_model_is_json_of_the_schema(
    number: int, grammars: Grammars, vocabulary: Vocabulary
) -> None:
    asked, holds = SCHEMAS[number]
    matcher = grammars.matcher(grammar_of(schema(asked)))
    text = text_of(walk(matcher, vocabulary.size, vocabulary.ends_turn, 1), vocabulary.piece)
    assert holds(json.loads(text)), text


@pytest.mark.parametrize("regex", REGEXES)
def test_every_answer_matches_the_regex(
    regex: str, small: Grammars, grammars: Grammars, vocabulary: Vocabulary
) -> None:
    grammar = grammar_of(Constraint("regex", regex))
    for seed in range(12):
        assert re.fullmatch(regex, text_of(walk(small.matcher(grammar), len(PIECES), is_end, seed)))
    tokens = walk(grammars.matcher(grammar), vocabulary.size, vocabulary.ends_turn, 1)
    assert re.fullmatch(regex, text_of(tokens, vocabulary.piece))


def test_json_is_any_object(small: Grammars) -> None:
    grammar = grammar_of(Constraint("json"))
    for seed in range(20):
        assert isinstance(json.loads(text_of(walk(small.matcher(grammar), len(PIECES), is_end, seed))), dict)


ANSWERS: list[tuple[Constraint, str]] = [
    (Constraint("json"), r"\{[\s\S]*\}"),
    (schema({"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}, "additionalProperties": False}),
     r'\{\s*"a"\s*:\s*1\s*\}'),
    (Constraint("regex", "[0-9]{2,3}"), "[0-9]{2,3}"),
    (Constraint("lark", 'start: a{1,3}\na: "x" "y"'), "(xy){1,3}"),
    (Constraint("gbnf", "root ::= [a-c]+ tail?\ntail ::= [0-9]"), "[a-c]+[0-9]?"),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "pattern"), ANSWERS)
def test_the_constraint_binds_after_a_tag_of_ordinary_tokens(
    constraint: Constraint, pattern: str, small: Grammars
) -> None:
    """Even where one token has the tag's end and the answer's beginning: `think>{`."""
    for seed in range(20):
        matcher = small.matcher(grammar_of(constraint), close="</thinks>")
        thought = [*'Hm, {"a": 2 </ é'.encode(), PIECES.index(b"</"), PIECES.index(b"think"), *b"s>"]
        for token in thought:
            assert token in allowed(matcher, len(PIECES))
            assert not any(map(is_end, allowed(matcher, len(PIECES))))
            matcher.accept(token)
        assert re.fullmatch(pattern, text_of(walk(matcher, len(PIECES), is_end, seed)))


def test_one_token_may_close_the_reasoning_and_begin_the_answer(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("json")), close="</think>")
    for token in [*b"no", PIECES.index(b"</"), PIECES.index(b"think>{")]:
        matcher.accept(token)
    matcher.accept(ord("}"))
    assert matcher.ended


@pytest.mark.parametrize(("constraint", "pattern"), ANSWERS)
def test_the_constraint_binds_after_a_special_token(
    constraint: Constraint, pattern: str, grammars: Grammars, vocabulary: Vocabulary
) -> None:
    marker = next(t for t in range(vocabulary.size) if vocabulary.is_marker(t) and not vocabulary.ends_turn(t))
    close = vocabulary.piece(marker).decode()
    for seed in range(5):
        matcher = grammars.matcher(grammar_of(constraint), close=close)
        for token in [*vocabulary.tokenize("Hm, {] so", special=False, start=False), marker]:
            assert token in allowed(matcher, vocabulary.size)
            matcher.accept(token)
        tokens = walk(matcher, vocabulary.size, vocabulary.ends_turn, seed)
        assert re.fullmatch(pattern, text_of(tokens, vocabulary.piece))


def test_a_special_tag_cannot_be_spelled_in_ordinary_tokens(grammars: Grammars, vocabulary: Vocabulary) -> None:
    marker = next(t for t in range(vocabulary.size) if vocabulary.is_marker(t) and not vocabulary.ends_turn(t))
    matcher = grammars.matcher(grammar_of(Constraint("json")), close=vocabulary.piece(marker).decode())
    *first, last = vocabulary.tokenize(vocabulary.piece(marker).decode(), special=False, start=False)
    feed(matcher, first)
    with pytest.raises(GenerationFailed):
        matcher.accept(last)


def test_nothing_but_an_end_of_turn_follows_a_complete_answer(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("regex", "ab")))
    for token in b"ab":
        assert not matcher.ended
        matcher.accept(token)
    assert matcher.ended
    assert allowed(matcher, len(PIECES)) == [END, OTHER_END]
    matcher.accept(OTHER_END)
    assert matcher.ended


def test_every_end_of_turn_the_model_knows_may_end_the_answer(grammars: Grammars, vocabulary: Vocabulary) -> None:
    matcher = grammars.matcher(grammar_of(Constraint("regex", "")))
    ends = [token for token in range(vocabulary.size) if vocabulary.ends_turn(token)]
    assert allowed(matcher, vocabulary.size) == ends


def test_an_answer_that_may_go_on_has_not_ended(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("regex", "a+")))
    matcher.accept(ord("a"))
    assert not matcher.ended
    assert {ord("a"), END, OTHER_END} <= set(allowed(matcher, len(PIECES)))


def test_masking_keeps_the_logits_of_what_is_allowed(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("regex", "[ab]")))
    row = numpy.random.default_rng(1).normal(size=len(PIECES)).astype(numpy.float32)
    before = row.copy()
    matcher.mask(row)
    assert set(numpy.flatnonzero(row > -math.inf)) == {ord("a"), ord("b")}
    assert row[ord("a")] == before[ord("a")]


@pytest.mark.parametrize("size", [len(PIECES) - 5, len(PIECES) + 1, len(PIECES) + 500])
def test_a_row_that_is_longer_or_shorter_than_the_vocabulary_is_masked_too(size: int, small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("regex", "[ab]")))
    assert allowed(matcher, size) == [ord("a"), ord("b")]


def test_a_matcher_fed_the_same_tokens_stands_in_the_same_place(small: Grammars) -> None:
    grammar = grammar_of(schema(SCHEMAS[13][0]))
    tokens = walk(small.matcher(grammar), len(PIECES), is_end, 3)
    first, second = small.matcher(grammar), Grammars(small_tokenizer).matcher(grammar)
    for at, token in enumerate(tokens):
        if at == len(tokens) // 2:
            for earlier in tokens[:at]:
                second.accept(earlier)
        assert (expected := allowed(first, len(PIECES)))
        if at >= len(tokens) // 2:
            assert allowed(second, len(PIECES)) == expected
            second.accept(token)
        first.accept(token)
    assert first.ended == second.ended


def test_two_matchers_of_one_grammar_do_not_disturb_each_other(small: Grammars) -> None:
    grammar = grammar_of(Constraint("regex", "abc"))
    one, other = small.matcher(grammar), small.matcher(grammar)
    one.accept(ord("a"))
    assert allowed(other, len(PIECES)) == [ord("a")]
    assert allowed(one, len(PIECES)) == [ord("b")]


def test_a_token_against_the_grammar_is_an_error_and_stays_one(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("regex", "abc")))
    with pytest.raises(GenerationFailed) as raised:
        matcher.accept(ord("z"))
    assert raised.value.code == "internal"
    with pytest.raises(GenerationFailed):
        matcher.mask(numpy.zeros(len(PIECES), numpy.float32))


def test_a_failure_does_not_spoil_the_next_request_with_that_grammar(small: Grammars) -> None:
    grammar = grammar_of(Constraint("regex", "abcd"))
    with pytest.raises(GenerationFailed):
        small.matcher(grammar).accept(ord("z"))
    assert allowed(small.matcher(grammar), len(PIECES)) == [ord("a")]


def test_a_dead_end_is_an_error_and_not_sampled(small: Grammars) -> None:
    """Here because the only token allowed was banned before."""
    matcher = small.matcher(grammar_of(Constraint("regex", "abc")))
    row = numpy.zeros(len(PIECES), numpy.float32)
    row[ord("a")] = -math.inf
    with pytest.raises(GenerationFailed, match="no token") as raised:
        matcher.mask(row)
    assert raised.value.code == "constraint"


def test_a_grammar_that_becomes_too_complex_is_an_error_and_does_not_end_the_turn(small: Grammars) -> None:
    matcher = small.matcher(grammar_of(Constraint("lark", 'start: s\ns: s s | s s s | "a" | ""')))
    with pytest.raises(GenerationFailed) as raised:
        feed(matcher, [ord("a")] * 5_000)
    assert raised.value.code == "constraint"


def test_what_this_model_cannot_keep_is_refused(small: Grammars) -> None:
    with pytest.raises(InvalidPrompt) as raised:
        small.matcher(grammar_of(Constraint("lark", "start: <|unheard_of|>")))
    assert raised.value.code == "constraint"


def test_a_grammar_may_name_a_special_token_of_the_model(grammars: Grammars, vocabulary: Vocabulary) -> None:
    marker = next(t for t in range(vocabulary.size) if vocabulary.is_marker(t) and not vocabulary.ends_turn(t))
    spelled = vocabulary.piece(marker).decode()
    matcher = grammars.matcher(grammar_of(Constraint("lark", f'start: {spelled} "a"')))
    assert allowed(matcher, vocabulary.size) == [marker]


def test_only_so_many_grammars_are_kept() -> None:
    grammars = Grammars(small_tokenizer, max_grammars=2)
    for letter in "abcab":
        assert allowed(grammars.matcher(grammar_of(Constraint("regex", letter))), len(PIECES)) == [ord(letter)]
    assert len(grammars._compiled) == 2


def test_threads_make_one_tokenizer_and_their_own_matchers(vocabulary: Vocabulary) -> None:
    made: list[LLTokenizer] = []

    def make() -> LLTokenizer:
        made.append(tokenizer_of(vocabulary))
        return made[-1]

    grammars, found = Grammars(make), []
    grammar = grammar_of(schema(SCHEMAS[1][0]))

    def request(seed: int) -> None:
        tokens = walk(grammars.matcher(grammar), vocabulary.size, vocabulary.ends_turn, seed)
        found.append(json.loads(text_of(tokens, vocabulary.piece)))

    threads = [threading.Thread(target=request, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(found) == len(threads)
    assert all(SCHEMAS[1][1](value) for value in found)

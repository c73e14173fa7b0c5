"""Grammars for tool calls, as llguidance applies them: byte by byte."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from llguidance import LLMatcher, LLTokenizer
from tropilla.common.generation import Call, ChatPrompt, Message, Tool
from tropilla.workers.calls import grammar, opens_reasoning
from tropilla.workers.families import FAMILIES, Family, Tags
from tropilla.workers.replies import Reply, Shape

BYTES = LLTokenizer("byte")
FAMILY = {family.name: family for family in FAMILIES}
WEATHER = Tool(
    "get_weather",
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"$ref": "#/$defs/place"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city"],
            "$defs": {"place": {"type": "string"}},
        }
    ),
)
CLOCK = Tool("get")
FORCED = ChatPrompt((Message("user", "Hi"),), (CLOCK, WEATHER), tool_choice="required")
ONCE = replace(FORCED, parallel_calls=False)
NAMED = replace(FORCED, named_tool="get_weather")
FREE = replace(FORCED, tool_choice="auto")
FREE_ONCE = replace(FREE, parallel_calls=False)
#: The byte tokenizer has a few control tokens: these stand for the tags.
CONTROL = {"<tool_call>": 256, "</tool_call>": 257, "[TOOL_CALLS]": 256, "[ARGS]": 257}

PARIS = '{"city": "Paris"}'


def tokens(text: str, special: dict[str, int]) -> list[int]:
    pattern = "|".join(map(re.escape, special)) or "(?!)"
    parts = re.split(f"({pattern})", text)
    return [token for part in parts for token in ([special[part]] if part in special else part.encode())]


def fits(family: str, prompt: ChatPrompt, text: str, special: dict[str, int]) -> bool:
    lark = grammar(FAMILY[family], prompt, special)
    assert lark is not None
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(lark))
    assert not matcher.is_error(), matcher.get_error()
    given = tokens(text, special)
    return matcher.try_consume_tokens(given) == len(given) and matcher.is_accepting()


def written(family: Family, *calls: tuple[str, str]) -> str:
    """As the family's models write them."""
    each = (family.before + name + family.between + arguments + family.after for name, arguments in calls)
    return family.head + family.joint.join(each) + family.tail


FAMILIES_AND_SPECIAL = [(name, special) for name in FAMILY for special in ({}, CONTROL)]
EACH = pytest.mark.parametrize(("family", "special"), FAMILIES_AND_SPECIAL, ids=str)


@EACH
def test_a_forced_call_is_all_there_is(family: str, special: dict[str, int]) -> None:
    one = written(FAMILY[family], ("get_weather", PARIS))
    assert fits(family, FORCED, one, special)
    assert fits(family, FORCED, "\n" + one, special)
    assert fits(family, FORCED, written(FAMILY[family], ("get", "{}")), special)
    assert not fits(family, FORCED, "", special)
    assert not fits(family, FORCED, "Sure! " + one, special)
    assert not fits(family, FORCED, one + " Done.", special)
    assert not fits(family, FORCED, one[:-1], special)


@EACH
def test_only_the_tools_there_are_can_be_called(family: str, special: dict[str, int]) -> None:
    for name in ("put", "get_", "get_weathers", ""):
        assert not fits(family, FORCED, written(FAMILY[family], (name, PARIS)), special)
    assert not fits(family, NAMED, written(FAMILY[family], ("get", "{}")), special)
    assert fits(family, NAMED, written(FAMILY[family], ("get_weather", PARIS)), special)


@EACH
@pytest.mark.parametrize(
    "arguments",
    ['{"city": 1}', "{}", '{"city": "a", "days": "b"}', '{"city": "a", "unit": "K"}', '{"city": "a", "x": 1}', '"a"'],
)  # fmt: skip
def test_arguments_fit_the_schema(family: str, special: dict[str, int], arguments: str) -> None:
    assert not fits(family, FORCED, written(FAMILY[family], ("get_weather", arguments)), special)


@EACH
def test_how_many_calls(family: str, special: dict[str, int]) -> None:
    call = ("get_weather", '{\n  "city": "Köln \\" }</tool>",\n  "days": 3, "unit": "C"\n}')
    two = written(FAMILY[family], call, call)
    assert fits(family, FORCED, two, special) == FAMILY[family].several
    assert not fits(family, ONCE, two, special)
    assert not fits(family, NAMED, two, special)
    assert fits(family, ONCE, written(FAMILY[family], call), special)


@pytest.mark.parametrize(("family", "special"), [case for case in FAMILIES_AND_SPECIAL if FAMILY[case[0]].tag], ids=str)
def test_where_the_model_decides_text_is_free_and_calls_are_not(family: str, special: dict[str, int]) -> None:
    kind = FAMILY[family]
    one, none = written(kind, ("get_weather", PARIS)), written(kind, ("put", "{}"))
    for text in ("", "Hi {} <b>[0]", one, f"Let me see.\n{one}", written(kind, ("get", "{}"), ("get", "{}"))):
        assert fits(family, FREE, text, special)
    for text in (none, f"Hm. {none}", one.replace('"Paris"', "1"), f"Hm. {kind.tag}"):
        assert not fits(family, FREE, text, special)
    assert fits(family, FREE_ONCE, f"Hm. {one}\n", special)
    assert fits(family, FREE_ONCE, "Hm.", special)
    assert not fits(family, FREE_ONCE, f"{one}{one}", special)


@EACH
def test_what_the_grammar_lets_pass_is_read_as_calls(family: str, special: dict[str, int]) -> None:
    kind = FAMILY[family]
    for text in (written(kind, ("get_weather", PARIS)), written(kind, ("get", "{}"), ("get_weather", PARIS))):
        assert not kind.several or fits(family, FORCED, text, special)
        reply = Reply(Shape(kind, {"get", "get_weather"}))
        said = [reply.feed(text), reply.flush()]
        deltas = [delta for piece in said for delta in piece.calls]
        names = [delta.name for delta in deltas if delta.name]
        calls = [Call(name, "".join(d.arguments for d in deltas if d.call == at)) for at, name in enumerate(names)]
        assert calls in ([Call("get_weather", PARIS)], [Call("get", "{}"), Call("get_weather", PARIS)])
        assert not any(piece.text for piece in said)


def test_whitespace_is_the_models_own() -> None:
    for text in ('<tool_call>{"name":"get","arguments":{}}</tool_call>', '<tool_call> {"name" : "get"}</tool_call>'):
        assert fits("hermes", FORCED, text, {}) == ("arguments" in text)


def test_text_goes_on_behind_a_call() -> None:
    one = written(FAMILY["hermes"], ("get", "{}"))
    for special in ({}, CONTROL):
        assert fits("hermes", FREE, f"a {one} b {one} c", special)


def test_a_control_token_that_is_no_tag_may_stand_in_free_text() -> None:
    lark = grammar(FAMILY["hermes"], FREE, CONTROL)
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(lark or ""))
    assert matcher.try_consume_tokens([*b"a", 258, *b"b", BYTES.eos_token]) == 4


@pytest.mark.parametrize(
    ("family", "prompt"),
    [
        ("hermes", replace(FREE, tools=())),
        ("hermes", replace(FREE, tool_choice="none")),
        ("json", FREE),
        ("llama3", FREE),
    ],
)
def test_where_nothing_is_to_be_said_there_is_no_grammar(family: str, prompt: ChatPrompt) -> None:
    assert grammar(FAMILY[family], prompt, {}) is None


@pytest.mark.parametrize("parameters", ["", "{}", '{"type": "object", "properties": {}}', "null"])
def test_a_tool_without_parameters_gets_an_empty_object(parameters: str) -> None:
    prompt = replace(FORCED, tools=(Tool("get", parameters=parameters),))
    if parameters == "null":
        with pytest.raises(ValueError, match="get"):
            grammar(FAMILY["json"], prompt, {})
        return
    assert fits("json", prompt, '{"name": "get", "arguments": {}}', {})
    assert not fits("json", prompt, '{"name": "get", "arguments": {"a": 1}}', {})


def test_an_object_of_anything_stays_one() -> None:
    for schema in ('{"type": "object"}', '{"properties": {"b": {}}, "additionalProperties": true}'):
        prompt = replace(FORCED, tools=(Tool("get", parameters=schema),))
        assert fits("json", prompt, '{"name": "get", "arguments": {"a": [1]}}', {})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"type": "string"}', "'string'"),
        ('{"type": 3}', "3"),
        ('{"properties": {"a": {"type": "hiccup"}}}', "hiccup"),
        ('{"properties": {"a": {"$ref": "#/nowhere"}}}', "nowhere"),
        ('{"properties": {"a": {"type": "string", "pattern": "("}}}', "pattern|regex"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_name(parameters: str, reason: str) -> None:
    prompt = replace(FORCED, tools=(CLOCK, Tool("broken", parameters=parameters)))
    with pytest.raises(ValueError, match=f"(?s)'broken'.*({reason})"):
        grammar(FAMILY["json"], prompt, {})


def test_a_name_that_no_tool_has_is_refused() -> None:
    with pytest.raises(ValueError, match="put"):
        grammar(FAMILY["json"], replace(FORCED, named_tool="put"), {})


def test_names_are_quoted() -> None:
    prompt = replace(FORCED, tools=(Tool('a "b" ü\\'),))
    assert fits("json", prompt, '{"name": "a \\"b\\" ü\\\\", "arguments": {}}', {})


@pytest.mark.parametrize(
    ("end", "opened"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<think>", True),
        ("<think>\n\n</think>\n\n", False),
        ("think>", False),
    ],
)
def test_a_prompt_may_open_the_reasoning(end: str, opened: bool) -> None:
    assert opens_reasoning(end, Tags("<think>", "</think>")) is opened
    assert not opens_reasoning(end, None)

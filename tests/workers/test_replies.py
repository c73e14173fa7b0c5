"""Replies of real models, in every notation, at every cut."""

# ruff: noqa: E501 -- a case a line

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace

import pytest
from tropilla.workers.families import FAMILIES, Tags
from tropilla.workers.replies import Reply, Said, Shape

TOOLS = frozenset({"get", "get_weather", "get_time", "search"})
FAMILY = {family.name: family for family in FAMILIES}
THINK = Tags("<think>", "</think>")

PLAIN = Shape()
THINKING = Shape(reasoning=THINK)
INSIDE = Shape(reasoning=THINK, inside=True)
HERMES, LLAMA, MISTRAL, NAMED, GENERIC, FUNCTION, DEEPSEEK, R1, NEMOTRON, GRANITE = (
    Shape(FAMILY[name], TOOLS)
    for name in (
        "hermes", "llama3", "mistral", "mistral-named", "json", "function", "deepseek", "deepseek-r1", "nemotron", "granite",
    )
)  # fmt: skip
QWEN3 = replace(HERMES, reasoning=THINK)

PARIS = '{"city": "Paris"}'
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
HERMES_CALL = f"<tool_call>\n{CALL}\n</tool_call>"
AWKWARD = r'{"city": "a</tool_call><tool_call>{\"}[\\", "\ud83d\ude00": "😀 \" } ]", "n": [1, -2.5e3, {"x": null}], "y": true}'


@dataclass(frozen=True)
class Outcome:
    """A reply as it adds up."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()


def weather(arguments: str = PARIS) -> tuple[str, str]:
    return ("get_weather", arguments)


def folded(said: list[Said]) -> Outcome:
    """What a client makes of it; on the way, that deltas are what the vocabulary promises."""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for delta in (delta for piece in said for delta in piece.calls):
        if delta.call in names:
            assert not delta.name
            assert delta.call == len(names) - 1
            arguments[delta.call] += delta.arguments
        else:
            assert delta.call == len(names)
            assert delta.name
            assert not delta.arguments
            names[delta.call], arguments[delta.call] = delta.name, ""
    calls = tuple((names[at], arguments[at]) for at in names)
    return Outcome("".join(s.text for s in said), "".join(s.reasoning for s in said), calls)


def read(shape: Shape, *pieces: str) -> Outcome:
    reply = Reply(shape)
    return folded([*(reply.feed(piece) for piece in pieces), reply.flush()])


CASES: list[tuple[str, Shape, str, Outcome]] = [
    # No family, no tags: everything is text.
    ("plain", PLAIN, f" <think>a</think> {HERMES_CALL}\n", Outcome(f" <think>a</think> {HERMES_CALL}\n")),
    ("nothing", QWEN3, "", Outcome()),
    ("only whitespace", QWEN3, " \n", Outcome(" \n")),
    # Reasoning (contracts/ollama.md 7.2).
    ("thinking", THINKING, "<think> internal </think> world", Outcome("world", "internal ")),
    ("whitespace before", THINKING, " \n<think>\n\nhm\n</think>\n\nYes. ", Outcome("Yes. ", "hm\n")),
    ("the first block", THINKING, "<think>a</think><think>b</think>c", Outcome("<think>b</think>c", "a")),
    ("text before", THINKING, "  well <think>a</think> b", Outcome("  well <think>a</think> b")),
    ("a closing tag alone", THINKING, "a </think> b", Outcome("a </think> b")),
    ("an empty block", THINKING, "<think>\n\n</think>\n\nHi", Outcome("Hi")),
    ("no end", THINKING, "<think>a < b, </thin", Outcome("", "a < b, ")),
    ("almost a tag", THINKING, "<think>a </thin> <</think>b", Outcome("b", "a </thin> <")),
    ("almost the open tag", THINKING, " <thinker>", Outcome(" <thinker>")),
    ("half the open tag", THINKING, " <thi", Outcome(" ")),
    ("inside", INSIDE, " Let me see </think> The answer", Outcome("The answer", "Let me see ")),
    ("inside, empty", INSIDE, "</think> x", Outcome("x")),
    ("inside, without end", INSIDE, "Let me", Outcome("", "Let me")),
    ("Magistral", Shape(reasoning=Tags("[THINK]", "[/THINK]")), "[THINK]a[0][/THINK]b", Outcome("b", "a[0]")),
    # Hermes, Qwen 2.5, Qwen 3.
    ("hermes", HERMES, HERMES_CALL, Outcome(calls=(weather(),))),
    ("text before a call", HERMES, f"Let me see.\n{HERMES_CALL}", Outcome("Let me see.\n", calls=(weather(),))),
    ("parallel", HERMES, f"\n{HERMES_CALL}\n{HERMES_CALL}\n", Outcome(calls=(weather(), weather()))),
    ("text after", HERMES, f"{HERMES_CALL} Done. <b> {HERMES_CALL}!", Outcome(calls=(weather(), weather()))),
    ("a list behind the tag", HERMES, f"<tool_call>[{CALL}, {CALL}]</tool_call>", Outcome(calls=(weather(), weather()))),
    ("no closing tag", HERMES, f"<tool_call>\n{CALL}", Outcome(calls=(weather(),))),
    ("last brace forgotten", HERMES, f"<tool_call>\n{CALL[:-1]}\n</tool_call>", Outcome(calls=(weather(),))),
    ("a brace too many", HERMES, f"<tool_call>\n{CALL}}}\n</tool_call>", Outcome(calls=(weather(),))),
    ("awkward arguments", HERMES, f"<tool_call>{CALL.replace(PARIS, AWKWARD)}</tool_call>", Outcome(calls=(weather(AWKWARD),))),
    ("encoded", HERMES, CALL.replace(PARIS, json.dumps(AWKWARD)), Outcome(calls=(weather(AWKWARD),))),
    ("encoded to nothing", HERMES, CALL.replace(PARIS, '""'), Outcome(calls=(weather("{}"),))),
    ("half pairs", HERMES, CALL.replace(PARIS, r'"{\ud83dx\ude00\ud83d"'), Outcome(calls=(weather("{�x��"),))),
    ("arguments first", HERMES, '<tool_call>{"arguments": {"a": 1}, "name": "get"}', Outcome(calls=(("get", '{"a": 1}'),))),
    ("no arguments", HERMES, '<tool_call>{"name": "get_time"}</tool_call>', Outcome(calls=(("get_time", "{}"),))),
    ("null", HERMES, '<tool_call>{"arguments": null, "name": "get"}</tool_call>', Outcome(calls=(("get", "{}"),))),
    ("more keys", HERMES, '<tool_call>{"x": [{"name": 1}], "name": "get", "arguments": {}}', Outcome(calls=(("get", "{}"),))),
    ("whitespace in it", HERMES, '<tool_call> { "name" : "get" , "arguments" : { } } ', Outcome(calls=(("get", "{ }"),))),
    ("the longer name", HERMES, HERMES_CALL.replace("get_weather", "get_time"), Outcome(calls=(("get_time", PARIS),))),
    ("an unknown name", HERMES, HERMES_CALL.replace("get_", "put_"), Outcome(HERMES_CALL.replace("get_", "put_"))),
    ("part of a name", HERMES, HERMES_CALL.replace("get_weather", "ge"), Outcome(HERMES_CALL.replace("get_weather", "ge"))),
    ("no JSON", HERMES, f"<tool_call>soon</tool_call>{HERMES_CALL}", Outcome("<tool_call>soon</tool_call>", calls=(weather(),))),
    ("two tags", HERMES, f"<tool_call><tool_call>{CALL}", Outcome("<tool_call>", calls=(weather(),))),
    ("Python", HERMES, "<tool_call>{'name': 'get'}", Outcome("<tool_call>{'name': 'get'}")),
    ("Python arguments", HERMES, CALL.replace(PARIS, "{'a': 1}"), Outcome(CALL.replace(PARIS, "{'a': 1}"))),
    ("scalar arguments", HERMES, CALL.replace(PARIS, "3"), Outcome(CALL.replace(PARIS, "3"))),
    ("almost a call", HERMES, "<tool_c fakeout <tool_cfake <", Outcome("<tool_c fakeout <tool_cfake <")),
    ("half a tag", HERMES, "well <tool_", Outcome("well ")),
    ("no tag", HERMES, f"{CALL} {HERMES_CALL}", Outcome(calls=(weather(), weather()))),
    ("thinking, then a call", QWEN3, f"<think>\na\n</think>\n\n{HERMES_CALL}", Outcome("", "a\n", (weather(),))),
    ("thinking of a call", QWEN3, f"<think>{HERMES_CALL}</think>b", Outcome("b", HERMES_CALL)),
    ("thinking or calling", QWEN3, f"\n{HERMES_CALL}", Outcome(calls=(weather(),))),
    ("t of both", QWEN3, "<to <think>", Outcome("<to <think>")),
    ("inside, then a call", replace(QWEN3, inside=True), f"a</think>\n{HERMES_CALL}", Outcome("", "a", (weather(),))),
    ("one of two", replace(HERMES, several=False), f"{HERMES_CALL}{HERMES_CALL}", Outcome(calls=(weather(),))),
    ("forced", replace(QWEN3, forced=True), f"<think>a</think>{HERMES_CALL}", Outcome("", "a", (weather(),))),
    ("forced, cut", replace(GENERIC, forced=True), CALL[:20], Outcome()),
    # Llama 3.
    ("llama", LLAMA, CALL.replace("arguments", "parameters"), Outcome(calls=(weather(),))),
    ("llama, tag", LLAMA, f"<|python_tag|>{CALL}", Outcome(calls=(weather(),))),
    ("llama, several", LLAMA, f"{CALL}; {CALL};{CALL}", Outcome(calls=(weather(),) * 3)),
    ("llama, type", LLAMA, '{"type": "function", "name": "get", "parameters": {}}', Outcome(calls=(("get", "{}"),))),
    ("llama, code", LLAMA, '<|python_tag|>search.call(query="a")', Outcome('<|python_tag|>search.call(query="a")')),
    ("llama, text after", LLAMA, f"{CALL}\nIt rains.", Outcome("It rains.", calls=(weather(),))),
    # JSON without tags (contracts/ollama.md 7.3).
    ("a list", GENERIC, f" [{CALL},\n {CALL}] ", Outcome(calls=(weather(), weather()))),
    ("OpenAI's own", GENERIC, f'{{"type": "function", "function": {CALL}}}', Outcome(calls=(weather(),))),
    ("unknown tool", GENERIC, CALL.replace("get_", "put_"), Outcome(CALL.replace("get_", "put_"))),
    ("an answer in JSON", GENERIC, ' { "user": {"name": "get"},\n"a": [] }\n', Outcome(' { "user": {"name": "get"},\n"a": [] }\n')),
    ("named like a tool", GENERIC, '{"name": "get", "size": 3}', Outcome('{"name": "get", "size": 3}')),
    ("not a call first", GENERIC, f'{{"name": "x"}}{CALL}', Outcome(f'{{"name": "x"}}{CALL}')),
    ("a list of others", GENERIC, f"[1, {CALL}]", Outcome(f"[1, {CALL}]")),
    ("an empty list", GENERIC, "[ ] {}", Outcome("[ ] {}")),
    ("text first", GENERIC, f"Sure: {CALL}", Outcome(f"Sure: {CALL}")),
    ("code", GENERIC, "{ print(x) }", Outcome("{ print(x) }")),
    ("unknown behind a call", GENERIC, f'[{CALL}, {{"a": 1}}]', Outcome('{"a": 1}]', calls=(weather(),))),
    # Mistral.
    ("mistral", MISTRAL, f"[TOOL_CALLS] [{CALL}, {CALL}]", Outcome(calls=(weather(), weather()))),
    ("mistral, id", MISTRAL, f'[TOOL_CALLS][{CALL[:-1]}, "id": "123456789"}}]', Outcome(calls=(weather(),))),
    ("mistral, malformed", MISTRAL, f'[TOOL_CALLS]  [{CALL},{{"name": "get_curren}}]', Outcome(calls=(weather(),))),
    ("mistral, no tag", MISTRAL, f"[{CALL}] text [{CALL}]", Outcome(f"text [{CALL}]", calls=(weather(),))),
    ("mistral, text", MISTRAL, "See [1] and [TOOL].", Outcome("See [1] and [TOOL].")),
    ("named", NAMED, f"[TOOL_CALLS]get_weather[ARGS]{PARIS}", Outcome(calls=(weather(),))),
    ("named, older", NAMED, f"ok[TOOL_CALLS]get_weather{PARIS}", Outcome("ok", calls=(weather(),))),
    ("named, id", NAMED, f"[TOOL_CALLS]get_weather[CALL_ID]abc123[ARGS]{PARIS}", Outcome(calls=(weather(),))),
    ("named, several", NAMED, f"[TOOL_CALLS]get[ARGS]{{}}[TOOL_CALLS]get_weather[ARGS]{PARIS}", Outcome(calls=(("get", "{}"), weather()))),
    ("named, unknown", NAMED, "[TOOL_CALLS]put[ARGS]{}", Outcome("[TOOL_CALLS]put[ARGS]{}")),
    ("named, prose", NAMED, "[TOOL_CALLS]get it {}", Outcome("[TOOL_CALLS]get it {}")),
    # Others.
    ("function", FUNCTION, f"Hm. <function=get_weather>{PARIS}</function>", Outcome("Hm. ", calls=(weather(),))),
    ("function, several", FUNCTION, "<function=get>{}</function><function=get>{ }</function>", Outcome(calls=(("get", "{}"), ("get", "{ }")))),
    ("deepseek", DEEPSEEK, f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get<｜tool▁sep｜>{{}}<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{PARIS}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", Outcome(calls=(("get", "{}"), weather()))),
    ("deepseek r1", replace(R1, reasoning=THINK, inside=True), f"Hm.\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{PARIS}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", Outcome("", "Hm.\n", (weather(),))),
    ("nemotron", NEMOTRON, f"<TOOLCALL>[{CALL}, {CALL}]</TOOLCALL>", Outcome(calls=(weather(), weather()))),
    ("granite", GRANITE, f"<|tool_call|>[{CALL}]", Outcome(calls=(weather(),))),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("shape", "text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)


@EACH
def test_whole(shape: Shape, text: str, expected: Outcome) -> None:
    assert read(shape, text) == expected


@EACH
def test_one_character_at_a_time(shape: Shape, text: str, expected: Outcome) -> None:
    assert read(shape, *text) == expected


@EACH
def test_at_every_cut(shape: Shape, text: str, expected: Outcome) -> None:
    for at in range(len(text) + 1):
        assert read(shape, text[:at], text[at:]) == expected


@EACH
def test_at_random_cuts(shape: Shape, text: str, expected: Outcome) -> None:
    chance = random.Random(text)
    for _ in range(20):
        cuts = sorted(chance.randint(0, len(text)) for _ in range(6))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert read(shape, *pieces) == expected


@EACH
def test_cut_short_anywhere_what_was_decided_stands(shape: Shape, text: str, expected: Outcome) -> None:
    for end in range(len(text)):
        reply = Reply(shape)
        said = [reply.feed(text[:end])]
        decided, cut = folded(said), folded([*said, reply.flush()])
        assert cut.text.startswith(decided.text)
        assert expected.text.startswith(decided.text)
        assert expected.reasoning.startswith(decided.reasoning)
        assert len(decided.calls) <= len(cut.calls) <= len(expected.calls)
        for (name, arguments), (whole_name, whole) in zip(cut.calls, expected.calls, strict=False):
            assert name == whole_name
            assert whole.startswith(arguments)


TAGGED = [case for case in CASES if case[1].family is not None and any(tag in case[2] for tag in case[1].family.tags)]


@pytest.mark.parametrize(("shape", "text", "expected"), [c[1:] for c in TAGGED], ids=[c[0] for c in TAGGED])
def test_cut_short_anywhere_no_half_tag_is_left_over(shape: Shape, text: str, expected: Outcome) -> None:
    assert shape.family is not None
    halves = {tag[:length] for tag in shape.family.tags for length in range(2, len(tag) + 1)}
    for end in range(len(text)):
        shown = read(shape, text[:end]).text
        for half in halves:
            assert not shown.endswith(half) or half in expected.text


def test_a_call_is_told_as_it_is_written() -> None:
    reply = Reply(HERMES)
    assert reply.feed('<tool_call>{"name": "get_weather", "arguments": ').calls == ()
    (name, opening) = reply.feed('{"ci').calls
    assert (name.call, name.name, name.arguments) == (0, "get_weather", "")
    assert (opening.call, opening.name, opening.arguments) == (0, "", '{"ci')
    (rest,) = reply.feed('ty": "Par').calls
    assert rest.arguments == 'ty": "Par'


def test_text_is_told_as_soon_as_it_cannot_become_a_tag() -> None:
    reply = Reply(QWEN3)
    assert [reply.feed(piece).text for piece in ("a", " <", "tool", "box", "> ", "<")] == [
        "a",
        " ",
        "",
        "<toolbox",
        "> ",
        "",
    ]
    assert reply.flush().text == "<"


def test_an_answer_in_json_is_told_from_its_first_foreign_key_on() -> None:
    reply = Reply(GENERIC)
    assert reply.feed('{"title').text == ""
    assert reply.feed('": "a').text == '{"title": "a'


def test_it_is_known_when_the_model_reasons() -> None:
    reply = Reply(QWEN3)
    states = []
    for piece in ("\n", "<think>", "a", "</thi", "nk>", "b"):
        reply.feed(piece)
        states.append(reply.reasoning)
    assert states == [False, True, True, True, False, False]
    assert Reply(INSIDE).reasoning


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "<" * 100_000,
        " " * 100_000,
        "{" * 100_000,
        '{"function":' * 8_000,
        '<tool_call>{"arguments":{"x":"' + "y" * 100_000,
        '<tool_call>{"name":"get","arguments":{"x":' + "[" * 100_000,
        '<tool_call>{"name":"get","arguments":"{' + '\\"' * 50_000,
        '<tool_call>{"' + "k" * 100_000,
        "<tool_call>" * 9_000,
        HERMES_CALL * 1_500,
        "<think>" + "</think" * 14_000,
    ],
    ids=range(12),
)
def test_long_replies_take_linear_time(text: str) -> None:
    began = time.process_time()
    read(QWEN3, *text)
    assert time.process_time() - began < 3

"""What binds an answer, compiled and fed byte by byte."""

from __future__ import annotations

import pytest
from fakes import request
from llguidance import LLMatcher, LLTokenizer
from tropilla.common.generation import ChatPrompt, Constraint, LocalTemplates, Message, Tool
from tropilla.workers.answers import Answers
from tropilla.workers.prompt import ChatTemplate

THINKS = (
    "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    '{% if tools %}Call as <tool_call>{"name": ..., "arguments": ...}. {{ tools | tojson }}{% endif %}'
    "{% if add_generation_prompt %}<think>{% endif %}"
)
CITY = Constraint("schema", '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
ROME = '{"city": "Rome"}'
TOOL = Tool("look", "looks", '{"type":"object","properties":{"at":{"type":"string"}},"required":["at"]}')
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
TOKENIZER = LLTokenizer("byte")


class Compiled:
    """A grammar as `Answers` composes it."""

    def __init__(self, grammar: str) -> None:
        self.grammar = grammar
        matcher = LLMatcher(TOKENIZER, grammar)
        assert not matcher.is_error(), matcher.get_error()

    def takes(self, text: str) -> bool:
        """Whether the answer may be exactly this."""
        matcher = LLMatcher(TOKENIZER, self.grammar)
        ids = TOKENIZER.tokenize_str(text)
        return matcher.try_consume_tokens(ids) == len(ids) and bool(matcher.is_accepting())


class Grammars:
    def matcher(self, grammar: str) -> Compiled:
        return Compiled(grammar)


def compiled(*tools: Tool, end: str = "", constraint: Constraint | None = CITY, **prompt: object) -> Compiled | None:
    chat = ChatPrompt((Message("user", "x"),), tools, **prompt)  # type: ignore[arg-type]
    answers = Answers(ChatTemplate(THINKS), Grammars(), special={})  # type: ignore[arg-type]
    made = answers.matcher(request(prompts=(chat,), constraint=constraint, parse_reply=True), chat, end)
    assert made is None or isinstance(made, Compiled)
    return made


@pytest.mark.parametrize("text", [ROME, f"<think>Hm, {{</think>{ROME}", f"<think></think>\n\n{ROME}"])
def test_a_constraint_binds_the_answer_and_not_the_thought_before_it(text: str) -> None:
    made = compiled()
    assert made is not None
    assert made.takes(text)
    assert not made.takes(text.replace("city", "town"))


def test_a_prompt_that_has_begun_the_thought_demands_its_end() -> None:
    made = compiled(end="<think>")
    assert made is not None
    assert made.takes(f"Hm.</think>\n{ROME}")
    assert not made.takes(ROME)


def test_a_model_told_not_to_think_begins_with_the_answer() -> None:
    made = compiled(effort="off")
    assert made is not None
    assert made.takes(ROME)
    assert not made.takes(f"<think></think>{ROME}")


def test_beside_a_constraint_the_answer_may_be_calls_and_a_forced_call_drops_it() -> None:
    either, forced = compiled(TOOL), compiled(TOOL, tool_choice="required")
    assert either is not None
    assert forced is not None
    assert [either.takes(text) for text in (ROME, CALL, "Rome.")] == [True, True, False]
    assert [forced.takes(text) for text in (ROME, CALL, f"<think>So</think>{CALL}")] == [False, True, True]


def test_a_call_of_ones_own_accord_must_be_well_formed() -> None:
    free = compiled(TOOL, constraint=None)
    assert free is not None
    assert [free.takes(text) for text in ("Rome.", CALL, CALL.replace("look", "leap"))] == [True, True, False]


def test_localais_templates_may_teach_another_notation() -> None:
    taught = LocalTemplates(function="{{.Functions}} Call as <function=name>{}</function>. {{.Input}}")
    for template, calls in (
        (taught, '<function=look>{"at": "it"}</function>'),
        (LocalTemplates(chat="{{.Input}}"), CALL),
    ):
        made = compiled(TOOL, constraint=None, tool_choice="required", template=template)
        assert made is not None
        assert made.takes(calls)
        assert not made.takes(calls.replace("look", "leap"))


MISTRALS = "{{ range .Messages }}{{ .Content }}{{ .ToolCalls }}{{ end }}{{ .Tools }}[TOOL_CALLS]"


@pytest.mark.parametrize(
    ("template", "calls"),
    [
        pytest.param(MISTRALS, '[TOOL_CALLS] [{"name": "look", "arguments": {"at": "it"}}]', id="its-own-notation"),
        pytest.param("{{ range .Messages }}{{ end }}{{ .Tools }}", CALL, id="none-that-is-known-is-the-models"),
        pytest.param("{{ .Prompt }}", '{"name": "look", "arguments": {"at": "it"}}', id="told-in-words"),
    ],
)
def test_a_names_go_template_teaches_its_notation(template: str, calls: str) -> None:
    made = compiled(TOOL, constraint=None, tool_choice="required", template=template)
    assert made is not None
    assert made.takes(calls)
    assert not made.takes(calls.replace("look", "leap"))


def test_tags_of_the_template_that_wrote_the_prompt_are_read() -> None:
    special = {"[TOOL_CALLS]": 7, "<tool_call>": 8, "<think>": 9, "</think>": 10}
    answers = Answers(ChatTemplate(THINKS), Grammars(), special=special)  # type: ignore[arg-type]
    own, theirs = (ChatPrompt((Message("user", "x"),), (TOOL,), template=template) for template in ("", MISTRALS))
    assert answers.tags(own) == {b"<tool_call>", b"<think>", b"</think>"}
    assert answers.tags(theirs) == {b"[TOOL_CALLS]", b"<think>", b"</think>"}


def test_nothing_binds_an_answer_that_nobody_bound() -> None:
    assert compiled(constraint=None) is None
    assert compiled(TOOL, constraint=None, tool_choice="none") is None

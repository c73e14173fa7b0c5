"""Prompts by LocalAI's templates (contracts, models sheet 1.10), and by the seed's, which loses what users say upstream."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import BOS, MARKER_TEXTS, MARKERS, FakeVocabulary, request
from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import ChatPrompt, LocalTemplates, Message, TextPrompt, TokenizeRequest, Tool, ToolCall
from tropilla.common.gotemplate.localai import local_template, message_data
from tropilla.common.manifest.parse import fenced, parse
from tropilla.workers.answers import Answers
from tropilla.workers.intake import Intake
from tropilla.workers.prompt import ChatTemplate

OWN = "{% for m in messages %}[{{ m.role[0] }}:{{ m.content }}]{% endfor %}"
PAGE = Path(__file__).parents[1] / "common" / "manifest" / "aikit.md"

SP = "Answer in rhymes."
TOOL = Tool("weather", "Tells the weather.", '{"type": "object", "properties": {"city": {"type": "string"}}}')
CALL = ToolCall("weather", '{"city":"Paris"}', id="c1")
CALL_JSON = (
    '[{"index":0,"id":"c1","type":"function","function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]'
)


def chat(*turns: str | Message, **fields: Any) -> ChatPrompt:
    """`u:hello` is a user's turn."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "d": "developer"}
    made = (turn if isinstance(turn, Message) else Message(roles[turn[0]], turn[2:]) for turn in turns)
    return ChatPrompt(tuple(made), **fields)


def segments(templates: LocalTemplates, prompt: ChatPrompt | TextPrompt) -> list[str]:
    written = dataclasses.replace(prompt, template=templates)
    return ChatTemplate(OWN, markers=MARKER_TEXTS, adds_bos=False).segments(written)


def render(templates: LocalTemplates, *turns: str | Message, **fields: Any) -> str:
    return "".join(segments(templates, chat(*turns, **fields)))


def seed(**changes: Any) -> LocalTemplates:
    templates = parse(fenced(PAGE.read_text())[1]).entries[0].overlay.template
    assert isinstance(templates, LocalTemplates)
    return dataclasses.replace(templates, **changes)


def turns(*texts: str) -> str:
    return "\n".join(f"\n[INST]\n{text}\n[/INST]\n\n" for text in texts)


# --- The seed's template (the sheet's table)


def test_the_seed_loses_neither_the_question_nor_the_system_prompt() -> None:
    expected = "\n[INST]\n<<SYS>>{SP}<</SYS>>\n\n\n[/INST]\n\n\n\n[INST]\nHi\n[/INST]\n\n"
    assert render(seed(), "u:Hi") == expected.replace("{SP}", seed().system_prompt)


def test_a_system_message_takes_the_place_of_the_seeds_system_prompt() -> None:
    expected = (
        "\n[INST]\n<<SYS>>Be nice<</SYS>>\n\n\n[/INST]\n\n\n\n[INST]\nHi\n[/INST]\n\n\nYo\n\n\n[INST]\nBye\n[/INST]\n\n"
    )
    assert render(seed(), "s:Be nice", "u:Hi", "a:Yo", "u:Bye") == expected


def test_the_seed_without_a_system_prompt() -> None:
    assert render(seed(system_prompt=""), "u:Hi") == "\n[INST]\nHi\n[/INST]\n\n"


def test_an_assistants_turn_alone_is_closed_or_gone_on_with() -> None:
    assert render(seed(system_prompt=""), "a:Yo", continue_last=False) == "Yo\n"
    assert render(seed(system_prompt=""), "a:Yo") == "Yo"


def test_a_question_that_stands_in_the_system_prompt_is_not_lost_either() -> None:
    assert render(seed(system_prompt=SP), "u:in") == turns(f"<<SYS>>{SP}<</SYS>>\n\n", "in")


# --- Messages


#: (templates, turns, prompt)
MESSAGES: list[tuple[LocalTemplates, tuple[str | Message, ...], str]] = [
    # Prefix and content, and nothing between them.
    (LocalTemplates(chat="{{.Input}}", roles=(("user", "USER: "),)), ("u:hello",), "USER: hello"),
    (LocalTemplates(chat="{{.Input}}", roles=(("user", "User:"),)), ("u:Hi",), "User:Hi"),
    (LocalTemplates(chat="{{.Input}}"), ("u:hello",), "hello"),
    (LocalTemplates(chat="<{{.Input}}>"), ("u:a", "a:b", "u:c"), "<a\nb\nc>"),
    (LocalTemplates(chat="<{{.Input}}>", joiner=""), ("u:a", "a:b", "u:c"), "<abc>"),
    (LocalTemplates(chat="<{{.Input}}>", joiner="--"), ("u:a", "u:", "u:c"), "<a----c>"),
    # Without a template around them they are joined, and that is all.
    (LocalTemplates(chat_message="({{.RoleName}} {{.Content}})"), ("s:a", "u:b"), "(system a)\n(user b)"),
    # A message that renders to nothing is left out.
    (
        LocalTemplates(chat_message='{{if ne .RoleName "system"}}{{.Content}}{{end}}', chat="{{.Input}}!"),
        ("s:a", "u:b"),
        "b!",
    ),
    (
        LocalTemplates(chat_message="{{.MessageIndex}}{{.LastMessage}}{{.Role}}{{.Content}}", roles=(("user", "U"),)),
        ("u:a", "a:b", "u:c"),
        "0falseUa\n1falseb\n2trueUc",
    ),
    (
        LocalTemplates(chat_message="{{.FunctionName}}={{.Content}}{{.Function}}{{.FunctionCall}}"),
        (Message("user", "a", name="bob"),),
        "bob=afalse<no value>",
    ),
    # OpenAI's younger names for roles that such templates know.
    (LocalTemplates(chat_message='{{if eq .RoleName "system"}}S{{end}}{{.Content}}'), ("d:a", "u:b"), "Sa\nb"),
    (LocalTemplates(chat="{{.Input}}", roles=(("function", "Result:"),)), ("t:21",), "Result:21"),
    (LocalTemplates(chat="{{.Input}}", roles=(("function", "F:"), ("tool", "T:"))), ("t:21",), "T:21"),
]


@pytest.mark.parametrize(("templates", "turns", "expected"), MESSAGES)
def test_messages_are_written_and_joined(
    templates: LocalTemplates, turns: tuple[str | Message, ...], expected: str
) -> None:
    assert render(templates, *turns) == expected


CHATML = LocalTemplates(
    chat_message=(
        "<|im_start|>{{.RoleName}}\n{{if .FunctionCall}}<tool_call>\n{{toJson .FunctionCall}}\n</tool_call>"
        '{{else if eq .RoleName "tool"}}<tool_response>\n{{.Content}}\n</tool_response>'
        "{{else}}{{.Content}}{{end}}<|im_end|>"
    ),
    chat="{{.Input}}\n<|im_start|>assistant\n",
)


def test_calls_and_their_results_are_shown() -> None:
    called = Message("assistant", "", tool_calls=(CALL,))
    assert render(CHATML, "u:Paris?", called, "t:Response from tool") == (
        "<|im_start|>user\nParis?<|im_end|>\n"
        f"<|im_start|>assistant\n<tool_call>\n{CALL_JSON}\n</tool_call><|im_end|>\n"
        "<|im_start|>tool\n<tool_response>\nResponse from tool\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML.chat_message, '<|im_start|>assistant\n<tool_call>\n{"function":"test"}\n</tool_call><|im_end|>'),
        (
            "<|start_header_id|>{{.RoleName}}<|end_header_id|>\n\n{{if .FunctionCall}}Function call:\n{{end}}"
            "{{if .Content}}{{.Content}}{{else if .FunctionCall}}{{toJson .FunctionCall}}{{end}}<|eot_id|>",
            '<|start_header_id|>assistant<|end_header_id|>\n\nFunction call:\n{"function":"test"}<|eot_id|>',
        ),
    ],
)
def test_localais_own_cases_of_calls(template: str, expected: str) -> None:
    data = message_data(role="", role_name="assistant", content="", index=0, last=True, call={"function": "test"})
    assert local_template(template).render(data) == expected


@pytest.mark.parametrize(
    ("roles", "content", "expected"),
    [
        ((), "", CALL_JSON),
        ((), "Well.", f"Well.\n{CALL_JSON}"),
        ((("assistant", "A:"),), "", f"A: {CALL_JSON}"),
        ((("assistant", "A:"),), "Well.", f"A:Well.\nA: {CALL_JSON}"),
        ((("assistant", "A:"), ("assistant_function_call", "Call:")), "", f"Call: {CALL_JSON}"),
    ],
)
def test_calls_without_a_template_stand_behind_a_prefix(
    roles: tuple[tuple[str, str], ...], content: str, expected: str
) -> None:
    templates = LocalTemplates(chat="{{.Input}}", roles=roles)
    assert render(templates, Message("assistant", content, tool_calls=(CALL,))) == expected


def test_the_prefix_of_calls_is_used_and_the_role_stays() -> None:
    templates = LocalTemplates(
        chat_message="{{.Role}}{{.RoleName}}{{if .FunctionCall}}!{{end}}",
        roles=(("assistant", "A:"), ("assistant_function_call", "Call:")),
    )
    assert render(templates, Message("assistant", "", tool_calls=(CALL,))) == "Call:assistant!"


def test_calls_that_a_template_cannot_show_are_said_in_words() -> None:
    called = Message("assistant", "", tool_calls=(CALL,))
    assert render(seed(system_prompt=""), called, Message("tool", "21", tool_call_id="c1")) == (
        '{"name": "weather", "arguments": {"city":"Paris"}}\n\n\n[INST]\nResult of weather:\n21\n[/INST]\n\n'
    )


# --- What stands around them

FUNCTIONS = LocalTemplates(
    chat="CHAT {{.Input}}",
    function="{{range .Functions}}{{.Name}}|{{.Description}}|{{toJson .Parameters}}{{end}} {{.Input}}",
)


def test_functions_have_a_template_of_their_own() -> None:
    shown = 'weather|Tells the weather.|{"properties":{"city":{"type":"string"}},"type":"object"} Hi'
    assert render(FUNCTIONS, "u:Hi", tools=(TOOL,)) == shown
    assert render(FUNCTIONS, "u:Hi") == "CHAT Hi"
    whole = dataclasses.replace(FUNCTIONS, function="{{toJson .Functions}}")
    assert json.loads(render(whole, "u:Hi", tools=(TOOL,))) == [
        {
            "name": "weather",
            "description": "Tells the weather.",
            "strict": False,
            "parameters": json.loads(TOOL.parameters),
        }
    ]


def test_functions_that_no_template_shows_are_told() -> None:
    text = render(LocalTemplates(chat="{{.Input}}!"), "u:Hi", tools=(TOOL,))
    assert text.startswith("You can call these functions")
    assert text.endswith("\nHi!")
    assert "Do not call any of them" in render(FUNCTIONS, "u:Hi", tools=(TOOL,), tool_choice="none")


def test_the_last_message_may_be_answered_by_a_call() -> None:
    templates = LocalTemplates(chat_message="{{.Content}}{{.Function}}", function="{{.Functions}}{{.Input}}")
    assert render(templates, "u:a", "u:b", tools=(TOOL,)).endswith("afalse\nbtrue")


def test_what_a_template_around_messages_is_told() -> None:
    templates = LocalTemplates(
        chat="{{.SystemPrompt}}|{{.SuppressSystemPrompt}}|{{.Input}}|{{.Instruction}}|{{.ReasoningEffort}}|{{.Metadata}}",
        system_prompt=SP,
    )
    assert render(templates, "u:a") == f"{SP}|false|a|||map[]"
    asked = render(templates, "s:b", "u:a", effort="high", variables='{"x": "y"}')
    assert asked == f"{SP}|true|b\na||high|map[x:y]"


def test_a_system_prompt_that_no_template_shows_is_a_message() -> None:
    templates = LocalTemplates(chat="{{.Input}}!", roles=(("system", "S:"), ("user", "U:")), system_prompt=SP)
    assert render(templates, "u:a") == f"S:{SP}\nU:a!"
    assert render(templates, "s:b", "u:a") == "S:b\nU:a!"
    shown = dataclasses.replace(templates, chat="{{.SystemPrompt}}{{.Input}}!")
    assert render(shown, "u:a") == f"{SP}U:a!"


def test_a_template_that_shows_both_is_written_once() -> None:
    templates = LocalTemplates(
        chat_message="{{if eq .MessageIndex 0}}{{.SystemPrompt}} {{end}}{{.Content}}", system_prompt=SP
    )
    assert render(templates, "u:a", "a:b", "u:c") == f"{SP} a\nb\nc"


def test_a_content_that_is_never_shown_owes_nothing() -> None:
    templates = LocalTemplates(chat_message="{{.SystemPrompt}}{{.RoleName}}", system_prompt=SP)
    assert render(templates, "u:a") == f"{SP}user"


# --- Without templates for conversations


def test_the_models_own_template_gets_the_system_prompt() -> None:
    templates = LocalTemplates(system_prompt=SP, roles=(("user", "U:"),), completion="C {{.Input}}")
    assert render(templates, "u:Hi") == f"[s:{SP}][u:Hi]"
    assert render(templates, "s:Be nice", "u:Hi") == "[s:Be nice][u:Hi]"
    assert render(LocalTemplates(roles=(("user", "U:"),)), "u:Hi") == "[u:Hi]"


# --- Continuing, markers, errors


def test_a_last_message_of_the_assistants_is_gone_on_with() -> None:
    assert render(CHATML, "u:a", "a:b").endswith("<|im_start|>assistant\nb")
    assert render(CHATML, "u:a", "a:b", continue_last=False).endswith(
        "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = LocalTemplates(chat="{{.Input}}\nA:", roles=(("assistant", "A:"),))
    assert render(plain, "u:a", "a:b") == "a\nA:b"


END = "<|im_end|>"


def markers_in(parts: list[str]) -> list[str]:
    """The markers a tokenizer finds in the segments."""
    ids = [token for part in parts for token in FakeVocabulary().tokenize(part, special=True, start=False)]
    return [MARKERS[token].decode() for token in ids if token in MARKERS]


def test_nobody_spells_a_marker() -> None:
    wrong = chat(Message("user", f"x{END}y", name=END), Message(END, "z"), "u:ok")
    honest = chat("u:x", "u:z", "u:ok")
    for templates in (CHATML, seed(), LocalTemplates(chat="{{.Input}}")):
        parts = segments(templates, wrong)
        assert markers_in(parts) == markers_in(segments(templates, honest))
        assert len(parts) > 1


def test_what_the_operator_wrote_is_the_operators() -> None:
    templates = LocalTemplates(chat="{{.Input}}", roles=(("user", END), ("system", "")), system_prompt=END)
    assert markers_in(segments(templates, chat("u:x"))) == [END, END]


def test_what_a_caller_says_in_tools_and_calls_is_guarded() -> None:
    bad = Tool(END, END, json.dumps({END: END}))
    call = ToolCall(END, json.dumps(END), id=END)
    templates = dataclasses.replace(CHATML, function="{{toJson .Functions}}{{.Functions}}{{.Metadata}}{{.Input}}")
    wrong = chat("u:a", Message("assistant", "", tool_calls=(call,)), tools=(bad,), variables=json.dumps({END: END}))
    honest = chat("u:a", Message("assistant", "", tool_calls=(CALL,)), tools=(TOOL,))
    assert markers_in(segments(templates, wrong)) == markers_in(segments(templates, honest))


def test_a_text_may_hold_what_this_house_marks_with() -> None:
    assert render(seed(system_prompt=SP), "u:a\ufdd0\ufdd1\ufdd2b") == turns(f"<<SYS>>{SP}<</SYS>>\n\n", "ab")


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        (
            LocalTemplates(chat_message="{{.Input}}"),
            'template: :1:2: executing "" at <.Input>: '
            "can't evaluate field Input in type templates.ChatMessageTemplateData",
        ),
        (
            LocalTemplates(chat="{{.System}}"),
            'template: :1:2: executing "" at <.System>: '
            "can't evaluate field System in type templates.PromptTemplateData",
        ),
        (LocalTemplates(chat="{{.Input"), "template: :1: unclosed action"),
    ],
)
def test_a_template_that_fails_is_told_in_gos_words(templates: LocalTemplates, message: str) -> None:
    with pytest.raises(InvalidPrompt) as caught:
        render(templates, "u:Hi")
    assert (caught.value.code, caught.value.message) == ("template", message)


# --- Plain prompts


class NoGrammars:
    def matcher(self, grammar: str) -> Any:
        raise AssertionError(grammar)


def intake() -> Intake:
    template = ChatTemplate(OWN, markers=MARKER_TEXTS)
    return Intake(FakeVocabulary(), template, Answers(template, NoGrammars(), special={}), context=100)


COMPLETION = LocalTemplates(
    completion="Q: {{.Input}}{{if .SystemPrompt}} ({{.SystemPrompt}}){{end}}\nA:", system_prompt=SP
)


def test_a_plain_prompt_is_written_by_the_template_for_those() -> None:
    (sequence,) = intake().sequences(request(prompts=(TextPrompt("why?", template=COMPLETION),)))
    assert sequence.tokens == [BOS, *f"Q: why? ({SP})\nA:".encode()]
    ((_, text),) = intake().tokenized(TokenizeRequest("1", "m", (TextPrompt("why?", template=COMPLETION),)))
    assert text == f"Q: why? ({SP})\nA:"


def test_without_a_template_for_those_a_plain_prompt_is_itself() -> None:
    (sequence,) = intake().sequences(request(prompts=(TextPrompt("why?", template=seed()),)))
    assert sequence.tokens == [BOS, *b"why?"]


def test_a_plain_prompt_may_spell_markers_only_where_it_says_so() -> None:
    templates = LocalTemplates(completion="{{.Input}}")
    assert segments(templates, TextPrompt("a<|im_end|>")) == ["a<", "|im_end|>"]
    assert segments(templates, TextPrompt("a<|im_end|>", special=True)) == ["a<|im_end|>"]


def test_a_plain_template_that_fails_is_told() -> None:
    with pytest.raises(InvalidPrompt, match="can't evaluate field Content"):
        segments(LocalTemplates(completion="{{.Content}}"), TextPrompt("x"))

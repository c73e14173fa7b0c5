"""What a model's name lays over its weights, in every dialect that generates: request, then overlay, then the dialect."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fakes import answer
from openai_events import USER, ask, model
from tropilla.api import overlays
from tropilla.api.surface import Fold, Surface, Surroundings
from tropilla.api.surfaces.anthropic import MESSAGES
from tropilla.api.surfaces.anthropic.parse import parse_count
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.responses import RESPONSES
from tropilla.api.surfaces.openai.responses import parse_count as parse_responses_count
from tropilla.api.surfaces.openai.tokens import parse_messages
from tropilla.api.surfaces.tgi.generation import COMPAT, GENERATE
from tropilla.api.surfaces.tgi.tokens import parse_chat_tokenize
from tropilla.common.catalogue import Worker, catalogue
from tropilla.common.generation import (
    ChatPrompt,
    Completion,
    Constraint,
    Fit,
    GenerationRequest,
    InfillPrompt,
    LocalTemplates,
    Message,
    TextPrompt,
)
from tropilla.common.recipes import BARE, UNPOLISHED, Overlay, Polish
from tropilla.common.settings import Settings

GO = "{{ range .Messages }}{{ .Content }}{{ end }}"
FIM = "<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}"
SYSTEM, EARLIER = Message("system", "Be brief."), Message("assistant", "Hello!")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BODIES: dict[str, tuple[Surface, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": [USER]}),
    "completions": (COMPLETIONS, {"prompt": "Hi"}),
    "responses": (RESPONSES, {"input": "Hi"}),
    "anthropic": (MESSAGES, {"messages": [USER], "max_tokens": 9}),
    "tgi": (GENERATE, {"inputs": "Hi", "parameters": {"do_sample": True}}),
    "tgi root": (COMPAT, {"inputs": "Hi"}),
}
CHATS = [(surface, body) for name, (surface, body) in BODIES.items() if name in ("chat", "responses", "anthropic")]


def around(overlay: Overlay, **settings: Any) -> Surroundings:
    served = dataclasses.replace(model("m"), overlay=overlay, capabilities=("completion", "insert"))
    return Surroundings(catalogue([Worker("w", "cpu", "ready", 8, served)]), Settings(**settings), 0.0)


def request(name: str, overlay: Overlay, **fields: Any) -> GenerationRequest:
    surface, body = BODIES[name]
    if name.startswith("tgi") and fields:
        return ask(surface, {**body, "parameters": fields}, around(overlay)).request
    return ask(surface, {**body, **fields}, around(overlay)).request


def chatted(surface: Surface, body: dict[str, Any], overlay: Overlay) -> ChatPrompt:
    (prompt,) = ask(surface, body, around(overlay)).request.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


LAID = (("temperature", 1), ("top_k", 80), ("top_p", 0.5), ("repeat_penalty", 1.2), ("repeat_last_n", 7))


@pytest.mark.parametrize("name", BODIES)
def test_a_models_own_parameters_take_the_place_of_the_dialects(name: str) -> None:
    found = request(name, Overlay(parameters=(*LAID, ("mirostat", 2), ("stop", ("END",)), ("seed", 7))))
    told = {field: getattr(found.sampling, field) for field, _ in LAID}
    assert told == {"temperature": 1.0, "top_k": 80, "top_p": 0.5, "repeat_penalty": 1.2, "repeat_last_n": 7}
    assert isinstance(found.sampling.temperature, float)
    assert (found.sampling.mirostat, found.sampling.seed, found.stop) == (2, 7, ("END",))


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("chat", {"temperature": 0}, {"temperature": 0.0}),
        ("chat", {"temperature": None}, {"temperature": 1.5}),
        ("chat", {"top_k": 0, "top_p": 1}, {"top_k": 0, "top_p": 1.0}),
        ("chat", {"repetition_penalty": 1}, {"repeat_penalty": 1.0, "repeat_last_n": -1}),
        ("chat", {"repeat_penalty": 1}, {"repeat_penalty": 1.0, "repeat_last_n": 64}),
        ("chat", {"repeat_last_n": 9}, {"repeat_penalty": 1.5, "repeat_last_n": 9}),
        ("chat", {"mirostat_mode": 0}, {"mirostat": 0}),
        ("chat", {"watermark": False}, {"watermark_delta": 0.0}),
        ("chat", {"seed": 3}, {"seed": 3}),
        ("completions", {"do_sample": False}, {"temperature": 0.0}),
        ("completions", {"do_sample": True}, {"temperature": 1.5}),
        ("responses", {"temperature": 0.5}, {"temperature": 0.5}),
        ("anthropic", {"temperature": 1, "top_k": 0}, {"temperature": 1.0, "top_k": 0}),
        ("tgi", {"do_sample": True, "temperature": 0.5}, {"temperature": 0.5, "top_k": 4}),
        ("tgi", {"max_new_tokens": 3}, {"temperature": 0.0}),
        ("tgi", {"repetition_penalty": 1.0}, {"repeat_penalty": 1.0, "repeat_last_n": -1}),
        ("tgi", {"frequency_penalty": 0.0}, {"frequency_penalty": 0.0}),
        ("tgi", {"seed": 3}, {"seed": 3}),
        ("tgi root", {"top_k": 5}, {"temperature": 1.5, "top_k": 5}),
    ],
)
def test_what_the_request_says_counts_before_them(name: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    laid = {"temperature": 1.5, "top_k": 4, "top_p": 0.5, "repeat_penalty": 1.5, "repeat_last_n": 5, "mirostat": 1}
    more = {"watermark_delta": 1.0, "seed": 8, "frequency_penalty": 1.0}
    sampling = request(name, Overlay(parameters=tuple({**laid, **more}.items())), **fields).sampling
    assert {field: getattr(sampling, field) for field in expected} == expected


def test_a_negative_seed_is_drawn() -> None:
    assert 0 <= request("chat", Overlay(parameters=(("seed", -1),))).sampling.seed < 2**32 - 1


@pytest.mark.parametrize(
    ("name", "laid", "fields", "expected"),
    [
        ("chat", 7, {}, 7),
        ("chat", 7, {"max_tokens": 5}, 5),
        ("chat", 7, {"max_completion_tokens": 5}, 5),
        ("completions", 7, {"n_predict": 5}, 5),
        ("responses", 7, {}, 7),
        ("responses", 7, {"max_output_tokens": 5}, 5),
        ("anthropic", 7, {}, 9),
        ("tgi", 7, {}, 7),
        ("tgi", 7, {"max_new_tokens": 5}, 5),
        ("chat", 10_000, {}, 512),
        ("chat", 0, {}, None),
        ("chat", -1, {}, None),
    ],
)
def test_how_much_is_said_by_request_then_model(name: str, laid: int, fields: dict[str, Any], expected: int) -> None:
    assert request(name, Overlay(parameters=(("max_tokens", laid),)), **fields).max_tokens == expected


LOCAL = LocalTemplates(chat="{{.Input}}", completion="Complete: {{.Input}}")


@pytest.mark.parametrize(
    ("name", "fields", "default", "added"),
    [
        ("chat", {}, ("END",), ("END",)),
        ("chat", {"stop": "X"}, ("X",), ("X", "END")),
        ("chat", {"stop": ["END"]}, ("END",), ("END",)),
        ("chat", {"stop": []}, (), ("END",)),
        ("completions", {"stop": ["X"]}, ("X",), ("X", "END")),
        ("anthropic", {"stop_sequences": ["X"]}, ("X",), ("X", "END")),
        ("tgi", {"stop": ["X"]}, ("X",), ("X", "END")),
    ],
)
def test_stop_texts_are_a_default_but_add_up_to_localais(
    name: str, fields: dict[str, Any], default: tuple[str, ...], added: tuple[str, ...]
) -> None:
    parameters = (("stop", ("END",)),)
    assert request(name, Overlay(parameters=parameters), **fields).stop == default
    assert request(name, Overlay(template=LOCAL, parameters=parameters), **fields).stop == added


@pytest.mark.parametrize(("surface", "body"), CHATS)
@pytest.mark.parametrize("template", [GO, LOCAL])
def test_a_chat_brings_its_models_template_system_text_and_messages(
    surface: Surface, body: dict[str, Any], template: str | LocalTemplates
) -> None:
    prompt = chatted(surface, body, Overlay(template=template, system="Be brief.", messages=(EARLIER,)))
    assert prompt.template == template
    assert prompt.messages == (SYSTEM, EARLIER, Message("user", "Hi"))


@pytest.mark.parametrize(
    ("surface", "body"),
    [
        (CHAT, {"messages": [{"role": "system", "content": "Own"}, USER]}),
        (CHAT, {"messages": [{"role": "developer", "content": "Own"}, USER]}),
        (RESPONSES, {"input": "Hi", "instructions": "Own"}),
        (MESSAGES, {"messages": [USER], "system": "Own", "max_tokens": 9}),
    ],
)
def test_a_conversation_with_a_system_text_keeps_its_own(surface: Surface, body: dict[str, Any]) -> None:
    prompt = chatted(surface, body, Overlay(system="Be brief."))
    assert [message.content for message in prompt.messages] == ["Own", "Hi"]


@pytest.mark.parametrize("stored", [(), (EARLIER,), (Message("system", "Stored"), EARLIER)])
def test_a_system_text_that_comes_later_stands_beside_the_models(stored: tuple[Message, ...]) -> None:
    body = {"messages": [USER, {"role": "system", "content": "Own"}]}
    prompt = chatted(CHAT, body, Overlay(system="Be brief.", messages=stored))
    assert prompt.messages == (SYSTEM, *stored, Message("user", "Hi"), Message("system", "Own"))


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_messages, {"messages": [USER]}),
        (parse_chat_tokenize, {"messages": [USER]}),
        (parse_count, {"messages": [USER]}),
        (parse_responses_count, {"input": "Hi"}),
    ],
)
def test_what_is_counted_is_what_would_be_read(parse: Any, body: dict[str, Any]) -> None:
    (prompt,) = parse(body, around(Overlay(template=GO, system="Be brief."))).request.prompts
    assert (prompt.template, prompt.messages) == (GO, (SYSTEM, Message("user", "Hi")))


@pytest.mark.parametrize(
    ("name", "template", "expected"),
    [
        ("completions", LOCAL, LOCAL),
        ("completions", LocalTemplates(chat="{{.Input}}"), None),
        ("completions", GO, None),
        ("tgi", LOCAL, None),
    ],
)
def test_only_a_completion_goes_through_localais_template_for_it(
    name: str, template: str | LocalTemplates, expected: LocalTemplates | None
) -> None:
    (prompt,) = request(name, Overlay(template=template)).prompts
    assert prompt == TextPrompt("Hi", template=expected)


@pytest.mark.parametrize(("template", "expected"), [(FIM, FIM), (GO, ""), (LOCAL, ""), ("", "")])
def test_a_text_is_filled_in_by_a_template_that_shows_a_suffix(template: str | LocalTemplates, expected: str) -> None:
    (prompt,) = request("completions", Overlay(template=template), suffix="end").prompts
    assert prompt == InfillPrompt("Hi", "end", expected)


GRAMMAR = Constraint("gbnf", 'root ::= "yes"')


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("chat", {}, GRAMMAR),
        ("completions", {}, GRAMMAR),
        ("tgi", {}, GRAMMAR),
        ("chat", {"response_format": {"type": "json_object"}}, Constraint("json")),
        ("chat", {"tools": [TOOL]}, None),
        ("tgi", {"grammar": {"type": "regex", "value": "a"}}, Constraint("regex", "a")),
    ],
)
def test_a_models_grammar_binds_who_asks_for_nothing_else(
    name: str, fields: dict[str, Any], expected: Constraint | None
) -> None:
    assert request(name, Overlay(grammar=GRAMMAR.source), **fields).constraint == expected


def test_a_smaller_context_and_what_it_keeps_are_the_models() -> None:
    assert request("chat", Overlay(parameters=(("context", 256), ("keep", 3)))).fit == Fit(keep=3, context_limit=256)
    assert request("chat", Overlay(parameters=(("context", 4096),))).fit == Fit()


def test_a_response_tells_the_temperature_it_was_drawn_with() -> None:
    call = ask(RESPONSES, {"input": "Hi"}, around(Overlay(parameters=(("temperature", 0.2), ("top_p", 0.7)))))
    assert (call.answer.repeated["temperature"], call.answer.repeated["top_p"]) == (0.2, 0.7)


@pytest.mark.parametrize("name", BODIES)
def test_a_bare_model_changes_nothing(name: str) -> None:
    surface, body = BODIES[name]
    asked = ask(surface, {**body, "seed": 1}, around(BARE)).request
    assert overlays.laid(asked, model("m"), frozenset()) is asked


# -- whole answers ----------------------------------------------------------------------------------------------------

CUT = Polish(cut=("<[^>]*>",), trim_space=("A:",))


def completion(*choices: str) -> Completion:
    fold = Fold(len(choices))
    for place, text in enumerate(choices):
        for event in answer(text, choice=place):
            fold.feed(event)
    return fold.completion()


def test_a_whole_answer_is_polished_in_its_text_and_in_what_its_tokens_tell() -> None:
    before = completion("A: <b>yes</b> ", "no")
    after = overlays.polished(before, CUT)
    assert [choice.text for choice in after.choices] == ["yes", "no"]
    assert after.choices[1] is before.choices[1]
    first = after.choices[0]
    assert ("".join(token.text for token in first.tokens), first.tokens[0].text) == ("yes", "yes")
    assert [token.id for token in first.tokens] == [token.id for token in before.choices[0].tokens]


def test_nothing_may_be_left_of_an_answer_and_an_empty_one_stays() -> None:
    assert [choice.text for choice in overlays.polished(completion("<b>", ""), CUT).choices] == ["", ""]


def test_without_a_polish_an_answer_is_what_was_said() -> None:
    before = completion(" x ")
    assert overlays.polished(before, UNPOLISHED) is before

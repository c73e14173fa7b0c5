"""What a name lays over its weights, in requests: a request's own word counts before it (sections 4.5, 5.4, 6, 7.1)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ollama_scene import BERT, POCKET, TURN, WISE, chat, generate, requested, surroundings
from tropilla.api.surface import JSON, Question
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.api.surfaces.ollama.embed import parse_embed
from tropilla.common.generation import ChatPrompt, Constraint, InfillPrompt, LocalTemplates, Message, TextPrompt
from tropilla.common.recipes import Overlay

GO = "{{ .System }}|{{ .Prompt }}|{{ .Response }}"
FILLS = "<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>"
LOCAL = LocalTemplates(chat="{{.Input}}")
HI = Message("user", "Hi")
BE = Message("system", "be brief")
EARLIER = (Message("user", "1+1"), Message("assistant", "2"))
SYSTEM = {"role": "system", "content": "rhyme"}


def laid(base: Any = POCKET, **overlay: Any) -> Any:
    return surroundings(dataclasses.replace(base, overlay=Overlay(**overlay)))


def prompt_of(surface: Any, body: JSON, around: Any) -> Any:
    (prompt,) = requested(surface, body, around).prompts
    return prompt


#: overlay, body of /api/generate beside the prompt -> messages
GENERATED: list[Any] = [
    pytest.param({"system": "be brief"}, {}, (BE, HI), id="the-models-system"),
    pytest.param({"system": "be brief"}, {"system": ""}, (BE, HI), id="an-empty-system-is-none"),
    pytest.param(
        {"system": "be brief"}, {"system": "rhyme"}, (Message("system", "rhyme"), HI), id="row-8-system-replaces"
    ),
    pytest.param({"messages": EARLIER}, {}, (*EARLIER, HI), id="stored-messages"),
    pytest.param({"system": "be brief", "messages": EARLIER}, {}, (BE, *EARLIER, HI), id="both"),
    pytest.param({"messages": EARLIER}, {"context": [1]}, (HI,), id="not-before-a-context"),
    pytest.param({"system": "be brief"}, {"context": [1]}, (BE, HI), id="a-system-before-a-context"),
]
#: overlay, messages of /api/chat -> messages
CHATTED: list[Any] = [
    pytest.param({"system": "be brief"}, [TURN], (BE, HI), id="row-10-prepended"),
    pytest.param(
        {"system": "be brief"}, [TURN, SYSTEM], (BE, HI, Message("system", "rhyme")), id="row-10-later-system-stays"
    ),
    pytest.param({"system": "be brief"}, [SYSTEM, TURN], (Message("system", "rhyme"), HI), id="row-10-leading-system"),
    pytest.param(
        {"system": "be brief"},
        [SYSTEM | {"role": "SYSTEM"}, TURN],
        (Message("system", "rhyme"), HI),
        id="row-10-any-case",
    ),
    pytest.param({"messages": EARLIER}, [TURN], (*EARLIER, HI), id="stored-messages-first"),
    pytest.param({"system": "be brief", "messages": EARLIER}, [TURN], (BE, *EARLIER, HI), id="both"),
]


@pytest.mark.parametrize(("overlay", "more", "messages"), GENERATED)
def test_a_generation_opens_with_what_the_name_says(overlay: Any, more: Any, messages: tuple[Message, ...]) -> None:
    assert prompt_of(GENERATE, generate(**more), laid(**overlay)).messages == messages


@pytest.mark.parametrize(("overlay", "said", "messages"), CHATTED)
def test_a_chat_opens_with_what_the_name_says(overlay: Any, said: JSON, messages: tuple[Message, ...]) -> None:
    assert prompt_of(CHAT, chat(messages=said), laid(**overlay)) == ChatPrompt(messages)


def test_a_raw_prompt_stands_as_it_is() -> None:
    around = laid(system="be brief", messages=EARLIER, template=GO)
    assert prompt_of(GENERATE, generate(raw=True), around) == TextPrompt("Hi", special=True)


@pytest.mark.parametrize(
    ("template", "given", "used"),
    [
        pytest.param(GO, "", GO, id="the-names"),
        pytest.param(GO, "{{ .Prompt }}", "{{ .Prompt }}", id="row-8-the-requests"),
        pytest.param("", "{{ .Prompt }}", "{{ .Prompt }}", id="over-the-files"),
        pytest.param("", "", "", id="the-files"),
        pytest.param(LOCAL, "", LOCAL, id="localais"),
        pytest.param(LOCAL, GO, GO, id="over-localais"),
    ],
)
def test_the_request_chooses_a_template_then_the_name_then_the_file(template: Any, given: str, used: Any) -> None:
    around = laid(template=template)
    assert prompt_of(GENERATE, generate(template=given), around).template == used
    if not given:
        assert prompt_of(CHAT, chat(), around).template == used


def test_a_names_template_shows_tools_in_its_own_way() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert prompt_of(CHAT, chat(model="wise", tools=tools), laid(WISE, template=GO)).template == GO


@pytest.mark.parametrize(
    ("template", "given", "used"),
    [
        pytest.param(FILLS, "", FILLS, id="row-9-the-names"),
        pytest.param(GO, "", "", id="one-without-a-suffix-is-none"),
        pytest.param(LOCAL, "", "", id="localai-has-none"),
        pytest.param(FILLS, "{{ .Suffix }}", "{{ .Suffix }}", id="the-requests"),
        pytest.param("{{", "", "", id="one-that-does-not-parse-is-none"),
    ],
)
def test_a_suffix_takes_a_template_that_shows_it(template: Any, given: str, used: str) -> None:
    body = generate(model="wise", suffix="z", template=given)
    assert prompt_of(GENERATE, body, laid(WISE, template=template, system="x")) == InfillPrompt("Hi", "z", used)


PARAMETERS = (
    ("temperature", 0.25),
    ("max_tokens", 7),
    ("stop", ("a", "b")),
    ("keep", 3),
    ("context", 64),
    ("top_n_sigma", 1.5),
    ("seed", 5),
)


def test_the_names_parameters_count_before_ollamas_own() -> None:
    request = requested(GENERATE, generate(), laid(parameters=PARAMETERS))
    sampling = request.sampling
    assert (sampling.temperature, sampling.seed, sampling.top_n_sigma, sampling.top_p) == (0.25, 5, 1.5, 0.9)
    assert (request.max_tokens, request.stop) == (7, ("a", "b"))
    assert (request.fit.keep, request.fit.context_limit) == (3, 64)


def test_a_requests_options_count_before_the_names() -> None:
    options = {"temperature": 1, "num_predict": 9, "stop": ["c"], "num_keep": 1, "num_ctx": 32, "seed": None}
    request = requested(CHAT, chat(options=options), laid(parameters=PARAMETERS))
    assert (request.sampling.temperature, request.sampling.seed) == (1.0, 5)
    assert (request.max_tokens, request.stop) == (9, ("c",))
    assert (request.fit.keep, request.fit.context_limit) == (1, 32)


def test_stop_texts_add_up_beside_localais_templates() -> None:
    around = laid(template=LOCAL, parameters=(("stop", ("a", "b")),))
    assert requested(CHAT, chat(options={"stop": ["b", "c"]}), around).stop == ("a", "b", "c")
    assert requested(CHAT, chat(), around).stop == ("a", "b")


def test_an_embedding_has_the_names_context() -> None:
    question = parse_embed({"model": "bert", "input": "Hi"}, laid(BERT, parameters=(("context", 16),)))
    assert isinstance(question, Question)
    assert question.request.fit.context_limit == 16  # type: ignore[union-attr]


def test_a_grammar_binds_what_the_caller_leaves_free() -> None:
    around = laid(grammar='root ::= "x"')
    assert requested(GENERATE, generate(), around).constraint == Constraint("gbnf", 'root ::= "x"')
    assert requested(CHAT, chat(format="json"), around).constraint == Constraint("json")


def test_a_grammar_does_not_bind_calls() -> None:
    around = laid(WISE, grammar='root ::= "x"')
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert requested(CHAT, chat(model="wise", tools=tools), around).constraint is None
    assert requested(CHAT, chat(model="wise", tools=tools, format="json"), around).constraint == Constraint("json")

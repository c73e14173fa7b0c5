"""Bodies -> requests: what each field becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_events import HELLO, USER, ask, chat, surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.responses import RESPONSES
from tropilla.common.generation import (
    BAN,
    ChatPrompt,
    Fit,
    InfillPrompt,
    Message,
    MixedPrompt,
    Sampling,
    TextPrompt,
    TokenPrompt,
    ToolCall,
)


def messages(*given: dict[str, Any]) -> tuple[Message, ...]:
    (prompt,) = ask(CHAT, {"messages": list(given)}).request.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def test_a_bare_request_gets_openais_defaults() -> None:
    request = chat(seed=7).request
    assert request.sampling == Sampling(temperature=1.0, top_p=1.0, seed=7)
    assert (request.n, request.max_tokens, request.stop, request.logprobs) == (1, 512, (), None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"top_p": 1}, {"top_p": 1.0}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"top_k": 40.0}, {"top_k": 40}),
        ({"min_p": 1.5}, {"min_p": 1.0}),
        ({"typical_p": 0.2}, {"typical_p": 0.2}),
        ({"repetition_penalty": 1.1}, {"repeat_penalty": 1.1, "repeat_last_n": -1}),
        ({"repeat_penalty": 1.1}, {"repeat_penalty": 1.1, "repeat_last_n": 64}),
        ({"repeat_penalty": 1.1, "repeat_last_n": 8}, {"repeat_penalty": 1.1, "repeat_last_n": 8}),
        ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2.0, "frequency_penalty": 2.0}),
        (
            {"mirostat": 2, "mirostat_tau": 3, "mirostat_eta": 0.2},
            {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
        ),
        ({"mirostat_mode": 1}, {"mirostat": 1}),
        ({"top_n_sigma": 1.5}, {"top_n_sigma": 1.5}),
        ({"top_n_sigma": -1}, {}),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.2}, {"xtc_probability": 0.5, "xtc_threshold": 0.2}),
        ({"dynatemp_range": 0.5, "dynatemp_exponent": 2}, {"dynatemp_range": 0.5, "dynatemp_exponent": 2.0}),
        ({"dynatemp_range": -1}, {}),
        ({"xtc_probability": 7}, {"xtc_probability": 1.0}),
        (
            {"dry_multiplier": 0.8, "dry_base": 2, "dry_allowed_length": 3, "dry_penalty_last_n": 64},
            {"dry_multiplier": 0.8, "dry_base": 2.0, "dry_allowed_length": 3, "dry_penalty_last_n": 64},
        ),
        ({"dry_base": 0.5, "dry_sequence_breakers": ["."]}, {"dry_base": 1.0, "dry_sequence_breakers": (".",)}),
        (
            {"logit_bias": {"5": -100, "foo": 0, "-1x": 2, "": 1}},
            {"logit_bias": ((5, -100.0), ("foo", 0.0), ("-1x", 2.0))},
        ),
        ({"logit_bias": {"5": False}}, {"logit_bias": ((5, BAN),)}),
        ({"logit_bias": [[5, 1], ["5", 2.5], ["no", False]]}, {"logit_bias": ((5, 1.0), ("5", 2.5), ("no", BAN))}),
        ({"logit_bias": [0, 0.5, False]}, {"logit_bias": ((1, 0.5), (2, BAN))}),
        ({"logit_bias": []}, {}),
        ({"seed": -1}, {"seed": 2**32 - 2}),
        ({"seed": 2**63 - 1}, {"seed": (2**63 - 1) % (2**32 - 1)}),
        ({"temperature": None, "seed": None, "logprobs": None, "stop": None}, {}),
    ],
)
def test_a_sampling_field_becomes_the_engines(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    sampling = chat(**fields).request.sampling
    expected = {"seed": sampling.seed, **expected}
    assert sampling == Sampling(**expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "n_predict": 7}, 7),
        ({"n_predict": -1}, None),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 10**12}, 512),
    ],
)
def test_the_output_limit_has_many_names_and_is_clipped_to_the_context(fields: dict[str, Any], expected: int) -> None:
    assert chat(**fields).request.max_tokens == expected


def test_a_default_limit_of_minus_one_fills_the_context() -> None:
    assert ask(CHAT, HELLO, surroundings(default_max_tokens=-1)).request.max_tokens is None


@pytest.mark.parametrize(("stop", "expected"), [("\n", ("\n",)), (["a", "", "b"], ("a", "b")), ("", ()), ([], ())])
def test_stop_is_a_string_or_a_list_and_empty_ones_mean_nothing(stop: Any, expected: tuple[str, ...]) -> None:
    assert chat(stop=stop).request.stop == expected


def test_the_stop_string_stays_when_asked_for() -> None:
    assert chat(include_stop_str_in_output=True).request.keep_stop


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 3}, 3)],
)
def test_chat_log_probabilities_take_two_fields(fields: dict[str, Any], expected: int | None) -> None:
    assert chat(**fields).request.logprobs == expected


def test_roles_that_openai_renamed_become_those_templates_know() -> None:
    told = messages(
        {"role": "developer", "content": "Be brief."}, {"role": "function", "name": "f", "content": "1"}, USER
    )
    assert told[:2] == (Message("system", "Be brief."), Message("tool", "1", name="f"))


def test_a_role_nobody_knows_is_left_to_the_template() -> None:
    assert messages({"role": "narrator", "content": "Once"}) == (Message("narrator", "Once"),)


def test_text_parts_are_joined_by_a_newline() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two", "cache_control": {}}]
    assert messages({"role": "user", "content": parts})[0].content == "one\ntwo"


def test_a_history_of_tool_calls_is_kept_for_the_template() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    empty = {"id": "call_2", "function": {"name": "now", "arguments": ""}}
    spoken = {"role": "assistant", "content": None, "tool_calls": [call, empty], "reasoning_content": "hm"}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "2"}
    expected = (
        Message(
            "assistant",
            "",
            tool_calls=(ToolCall("add", '{"a":1}', "call_1"), ToolCall("now", "", "call_2")),
            reasoning="hm",
        ),
        Message("tool", "2", tool_call_id="call_1"),
    )
    assert messages(spoken, result) == expected


def test_a_legacy_function_call_is_a_tool_call() -> None:
    spoken = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}}
    assert messages(spoken)[0].tool_calls == (ToolCall("add", "{}"),)


def test_reasoning_wins_over_reasoning_content() -> None:
    spoken = {"role": "assistant", "content": "x", "reasoning": "a", "reasoning_content": "b"}
    assert messages(USER, spoken)[1].reasoning == "a"


@pytest.mark.parametrize("prompt", ["Hi", ["Hi"]])
def test_the_chat_route_takes_crias_prompt_as_a_user_message(prompt: Any) -> None:
    assert ask(CHAT, {"prompt": prompt}).request.prompts == (ChatPrompt((Message("user", "Hi"),)),)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", (TextPrompt("a"),)),
        ("", (TextPrompt(""),)),
        (None, (TextPrompt(""),)),
        (["a", "b"], (TextPrompt("a"), TextPrompt("b"))),
        ([1, 2], (TokenPrompt((1, 2)),)),
        ([[1, 2], [3]], (TokenPrompt((1, 2)), TokenPrompt((3,)))),
        ([[1, 2], "a"], (TokenPrompt((1, 2)), TextPrompt("a"))),
        ([1, 2, "a"], (MixedPrompt((1, 2, "a")),)),
        (["a", 1, "b", 2.0], (MixedPrompt(("a", 1, "b", 2)),)),
        ([["a", 1], "b"], (MixedPrompt(("a", 1)), TextPrompt("b"))),
        ([{"prompt_string": "a"}], (TextPrompt("a"),)),
    ],
)
def test_a_prompt_is_text_or_token_ids_or_several(prompt: Any, expected: Any) -> None:
    assert ask(COMPLETIONS, {"prompt": prompt}).request.prompts == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (0, (), False)),
        ({"min_tokens": 3, "stop_token_ids": [2, 7.0], "ignore_eos": True}, (3, (2, 7), True)),
    ],
)
def test_an_answers_end_can_be_put_off_and_brought_about(fields: dict[str, Any], expected: Any) -> None:
    for request in (chat(**fields).request, ask(COMPLETIONS, {"prompt": "a", **fields}).request):
        assert (request.min_tokens, request.stop_tokens, request.ignore_eos) == expected


def test_a_suffix_is_filled_up_to_by_a_model_that_can() -> None:
    body = {"prompt": ["a", "b"], "suffix": "c", "logprobs": 0}
    request = ask(COMPLETIONS, body, surroundings(capabilities=("completion", "insert"))).request
    assert request.prompts == (InfillPrompt("a", "c"), InfillPrompt("b", "c"))
    assert not request.want_prompt


def test_an_empty_suffix_is_none() -> None:
    assert ask(COMPLETIONS, {"prompt": "a", "suffix": ""}).request.prompts == (TextPrompt("a"),)


#: (fields, choices generated, logprobs, want_prompt, prompt_logprobs)
WANTED: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
    ({}, (1, None, False, None)),
    ({"echo": True}, (1, None, True, None)),
    ({"return_full_text": True}, (1, None, True, None)),
    ({"echo": True, "logprobs": 0}, (1, 0, True, 0)),
    ({"echo": True, "logprobs": 2, "max_tokens": 0}, (1, 2, True, 2)),
    ({"logprobs": 2}, (1, 2, False, None)),
    # Where the completion's offsets begin is known once the ids are spelled.
    ({"logprobs": 2, "prompt": [1, 2]}, (1, 2, True, None)),
    ({"logprobs": 2, "prompt": ["a", [1, "b"]]}, (1, 2, True, None)),
    ({"prompt": [1, 2]}, (1, None, False, None)),
    ({"best_of": 3}, (3, 0, False, None)),
    ({"best_of": 3, "n": 2, "logprobs": 4}, (3, 4, False, None)),
    ({"best_of": 2, "n": 2}, (2, None, False, None)),
    ({"best_of": 3, "echo": True}, (3, 0, True, None)),
    ({"prompt_logprobs": 2}, (1, None, False, 2)),
    ({"prompt_logprobs": 2, "echo": True, "logprobs": 4}, (1, 4, True, 4)),
    ({"prompt_logprobs": 5, "echo": True, "logprobs": 0}, (1, 0, True, 5)),
    ({"return_token_ids": True}, (1, None, True, None)),
]


@pytest.mark.parametrize(("fields", "expected"), WANTED)
def test_no_more_is_wanted_of_the_tokens_than_the_answer_needs(
    fields: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    request = ask(COMPLETIONS, {"prompt": "a", **fields}).request
    assert (request.n, request.logprobs, request.want_prompt, request.prompt_logprobs) == expected


def test_text_prompts_do_not_spell_markers() -> None:
    (prompt,) = ask(COMPLETIONS, {"prompt": "<|im_end|>"}).request.prompts
    assert isinstance(prompt, TextPrompt)
    assert not prompt.special


@pytest.mark.parametrize(
    ("fields", "temperature", "limit"),
    [
        ({"max_new_tokens": 9}, 1.0, 9),
        ({"do_sample": False}, 0.0, 512),
        ({"do_sample": False, "top_k": 5}, 1.0, 512),
        ({"do_sample": True}, 1.0, 512),
        ({"details": True, "decoder_input_details": True, "top_n_tokens": 3}, 1.0, 512),
    ],
)
def test_the_completions_route_takes_tgis_words(fields: dict[str, Any], temperature: float, limit: int) -> None:
    request = ask(COMPLETIONS, {"prompt": "a", **fields}).request
    assert (request.sampling.temperature, request.max_tokens) == (temperature, limit)


@pytest.mark.parametrize("name", ["truncate", "truncate_prompt_tokens"])
def test_a_prompt_can_be_cut_to_its_last_tokens(name: str) -> None:
    assert ask(COMPLETIONS, {"prompt": "a", name: 5}).request.fit == Fit(keep_last=5)


@pytest.mark.parametrize("name", ["truncate", "truncate_prompt_tokens"])
def test_a_chat_can_be_cut_too(name: str) -> None:
    assert chat(**{name: 5}).request.fit == Fit(keep_last=5)


def test_a_watermark_is_tgis() -> None:
    for ask_for in (chat, lambda **fields: ask(COMPLETIONS, {"prompt": "a", **fields})):
        assert ask_for(watermark=True).request.sampling.watermark_delta == 2.0
        assert ask_for().request.sampling.watermark_delta == 0.0


def test_markers_are_shown_when_asked_for() -> None:
    assert chat(skip_special_tokens=False).request.show_markers
    assert not chat().request.show_markers


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"include_usage": True, "continuous_usage_stats": True}, True),
        ({"include_usage": True}, False),
        ({"continuous_usage_stats": True}, False),
    ],
)
def test_a_stream_that_counts_wants_to_know_the_prompts_length(options: dict[str, Any], wanted: bool) -> None:
    assert chat(stream=True, stream_options=options).request.want_prompt is wanted
    assert ask(COMPLETIONS, {"prompt": "a", "stream": True, "stream_options": options}).request.want_prompt is wanted
    assert not chat(stream_options=options).request.want_prompt


def test_documents_are_the_templates_to_show() -> None:
    (prompt,) = chat(documents=[{"title": "t"}], chat_template_kwargs={"x": 1}).request.prompts
    assert isinstance(prompt, ChatPrompt)
    assert json.loads(prompt.variables) == {"documents": [{"title": "t"}], "x": 1}


def test_an_assistants_parts_are_paragraphs() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert messages(USER, {"role": "assistant", "content": parts})[1].content == "one\n\ntwo"


@pytest.mark.parametrize("logprobs", [0, 5])
def test_legacy_log_probabilities_count_alternatives(logprobs: int) -> None:
    assert ask(COMPLETIONS, {"prompt": "a", "logprobs": logprobs}).request.logprobs == logprobs


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [], "tool_choice": "auto", "functions": None, "parallel_tool_calls": True},
        {"tool_choice": "none", "function_call": "none"},
        {"response_format": {"type": "text"}, "logit_bias": {}, "modalities": ["text"]},
        {"ignore_eos": False, "min_tokens": 0, "stop_token_ids": [], "grammar": "", "echo": False},
        {
            "user": "u",
            "metadata": {"a": "b"},
            "store": True,
            "service_tier": "auto",
            "verbosity": "low",
            "unheard_of": 1,
        },
        {"reasoning_effort": "low", "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"cache_prompt": True, "priority": 1, "skip_special_tokens": True, "chat_template_kwargs": {}},
    ],
)
def test_what_is_off_or_harmless_is_accepted(fields: dict[str, Any]) -> None:
    assert chat(**fields).request.model == "pocket"


@pytest.mark.parametrize(("best_of", "n"), [(0, 1), (1, 1), (2, 2), (0, 3), (None, 2)])
def test_a_best_of_that_chooses_nothing_is_accepted(best_of: int | None, n: int) -> None:
    assert ask(COMPLETIONS, {"prompt": "a", "best_of": best_of, "n": n}).request.choices == n


def test_two_requests_never_share_an_id_or_a_drawn_seed() -> None:
    first, second = chat().request, chat().request
    assert first.id != second.id
    assert first.sampling.seed != second.sampling.seed


TIERS = [
    ("priority", "interactive"),
    ("auto", "normal"),
    ("default", "normal"),
    ("flex", "batch"),
    ("scale", None),
    (None, None),
    (["priority"], None),
    ({}, None),
]


@pytest.mark.parametrize(("tier", "priority"), TIERS)
def test_a_service_tier_is_a_place_in_the_queue_and_no_other_value_of_it_is_an_error(tier: Any, priority: Any) -> None:
    fields = {"model": "pocket", "service_tier": tier}
    said = (
        ask(CHAT, {**fields, "messages": [USER]}),
        ask(COMPLETIONS, {**fields, "prompt": "a"}),
        ask(RESPONSES, {**fields, "input": "a"}),
    )
    assert {call.priority for call in said} == {priority}

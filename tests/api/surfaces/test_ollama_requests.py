"""Bodies of /api/generate and /api/chat: what is understood, and what is answered at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ollama_scene import POCKET, RECEIVED, asked, chat, generate, loads, requested, surroundings, unloads
from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.common.generation import ChatPrompt, Fit, Message, Sampling, TextPrompt, ToolCall

#: The seed's request with every option at once.
ALL_OPTIONS = {
    "num_keep": 5,
    "seed": 42,
    "num_predict": 100,
    "top_k": 20,
    "top_p": 0.9,
    "tfs_z": 0.5,
    "typical_p": 0.7,
    "repeat_last_n": 33,
    "temperature": 0.8,
    "repeat_penalty": 1.2,
    "presence_penalty": 1.5,
    "frequency_penalty": 1.0,
    "mirostat": 1,
    "mirostat_tau": 0.8,
    "mirostat_eta": 0.6,
    "penalize_newline": True,
    "stop": ["\n", "user:"],
    "numa": False,
    "num_ctx": 1024,
    "num_batch": 2,
    "num_gpu": 1,
    "main_gpu": 0,
    "low_vram": False,
    "f16_kv": True,
    "vocab_only": False,
    "use_mmap": True,
    "use_mlock": False,
    "num_thread": 8,
}


def test_a_prompt_becomes_a_chat_of_one_turn_with_ollamas_defaults() -> None:
    call = asked(GENERATE, generate())
    request = call.request
    assert (call.stream, call.received, request.model) == (True, RECEIVED, "pocket")
    assert request.prompts == (ChatPrompt((Message("user", "Hi"),)),)
    assert dataclasses.replace(request.sampling, seed=0) == Sampling(temperature=0.8, top_k=40, top_p=0.9)
    assert (request.max_tokens, request.stop, request.logprobs, request.want_prompt) == (None, (), None, True)
    assert (request.constraint, request.parse_reply) == (None, False)
    assert request.fit == Fit(overlong="shorten", keep=4, shift=True, context_limit=2048)


def test_all_options_of_the_seed_are_accepted_together_and_what_samples_is_honoured() -> None:
    request = requested(GENERATE, generate(stream=False, options=ALL_OPTIONS))
    assert request.sampling == Sampling(
        temperature=0.8,
        top_k=20,
        top_p=0.9,
        min_p=0.0,
        typical_p=0.7,
        repeat_penalty=1.2,
        repeat_last_n=33,
        presence_penalty=1.5,
        frequency_penalty=1.0,
        mirostat=1,
        mirostat_tau=0.8,
        mirostat_eta=0.6,
        seed=42,
    )
    assert (request.max_tokens, request.stop) == (100, ("\n", "user:"))
    assert request.fit == Fit(overlong="shorten", keep=5, shift=True, context_limit=1024)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"top_k": -1}, "top_k", 0),
        ({"top_k": 1e18}, "top_k", 1000),
        ({"top_k": 20.9}, "top_k", 20),
        ({"top_p": 2}, "top_p", 1.0),
        ({"min_p": 0.05}, "min_p", 0.05),
        ({"temperature": 0}, "temperature", 0.0),
        ({"temperature": -1}, "temperature", 0.0),
        ({"temperature": None}, "temperature", 0.8),
        ({"repeat_last_n": 0}, "repeat_last_n", 0),
        ({"repeat_last_n": -5}, "repeat_last_n", -1),
        ({"seed": 0}, "seed", 0),
        ({"seed": -2}, "seed", 2**32 - 3),
        ({"mirostat": 2.0}, "mirostat", 2),
    ],
)
def test_numbers_beyond_a_knobs_range_mean_its_end(options: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(requested(GENERATE, generate(options=options)).sampling, field) == value


def test_without_a_seed_every_request_draws_its_own() -> None:
    seeds = {requested(GENERATE, generate(options=options)).sampling.seed for options in ({}, {}, {"seed": -1})}
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("options", "max_tokens"),
    [({"num_predict": n}, None) for n in (0, -1, -2, -100)]
    + [({"num_predict": 7}, 7), ({"num_predict": 1e300}, 20480), ({"num_predict": 1e9, "num_ctx": 100}, 1000)],
)
def test_num_predict_is_everything_that_fits_or_at_most_ten_contexts(options: dict[str, Any], max_tokens: int) -> None:
    assert requested(GENERATE, generate(options=options)).max_tokens == max_tokens


@pytest.mark.parametrize(("num_ctx", "limit"), [(1024, 1024), (100_000, 2048), (1, 4), (0, 4), (-1, 4), (None, 2048)])
def test_num_ctx_is_a_limit_within_what_the_worker_has(num_ctx: int | None, limit: int) -> None:
    assert requested(CHAT, chat(options={"num_ctx": num_ctx})).fit.context_limit == limit


@pytest.mark.parametrize(("num_keep", "keep"), [(0, 0), (-1, -1), (-7, -1), (24, 24), (1e9, 2048)])
def test_num_keep_is_how_much_of_the_head_survives(num_keep: float, keep: int) -> None:
    assert requested(CHAT, chat(options={"num_keep": num_keep})).fit.keep == keep


@pytest.mark.parametrize(("stop", "stops"), [("x", ("x",)), (["a", "", "b"], ("a", "b")), ([], ()), ("", ())])
def test_stop_is_one_string_or_many(stop: JSON, stops: tuple[str, ...]) -> None:
    assert requested(GENERATE, generate(options={"stop": stop})).stop == stops


@pytest.mark.parametrize(
    ("more", "overlong", "shift"),
    [
        ({}, "shorten", True),
        ({"shift": None}, "shorten", True),
        ({"shift": False}, "drop", False),
        ({"truncate": False}, "refuse", True),
        ({"truncate": False, "shift": True}, "refuse", True),
        ({"truncate": False, "shift": False}, "refuse", False),
    ],
)
def test_what_becomes_of_a_long_prompt_is_the_callers_choice(more: dict[str, Any], overlong: str, shift: bool) -> None:
    fit = requested(GENERATE, generate(**more)).fit
    assert (fit.overlong, fit.shift) == (overlong, shift)


@pytest.mark.parametrize(("more", "shift"), [({}, False), ({"shift": None}, False), ({"shift": True}, True)])
def test_a_model_whose_context_cannot_shift_does_not_unless_told_to(more: dict[str, Any], shift: bool) -> None:
    around = surroundings(dataclasses.replace(POCKET, family="deepseek2"))
    assert requested(GENERATE, generate(**more), around).fit.shift is shift


def test_a_system_text_and_a_context_stand_before_the_prompt() -> None:
    request = requested(GENERATE, generate(system="Be brief.", context=[1, 2.0, 999]))
    turns = (Message("system", "Be brief."), Message("user", "Hi"))
    assert request.prompts == (ChatPrompt(turns, context=(1, 2, 999)),)


def test_a_raw_prompt_stands_as_it_is_and_asks_for_no_context() -> None:
    request = requested(GENERATE, generate(raw=True, context=[], system="", prompt="<|im_start|>"))
    assert request.prompts == (TextPrompt("<|im_start|>", special=True),)
    assert not request.want_prompt


def test_keys_match_in_any_case_and_null_is_absent() -> None:
    body = {
        "MODEL": "Pocket",
        "Messages": [{"ROLE": "USER", "Content": None}],
        "STREAM": None,
        "options": None,
        "tools": None,
    }
    call = asked(CHAT, body)
    assert call.stream
    assert call.request.prompts == (ChatPrompt((Message("user", ""),)),)


def test_messages_keep_their_calls_thoughts_and_tool_results() -> None:
    function = {"index": 0, "name": "add", "arguments": {"z": 1, "a": 2}}
    messages = [
        {"role": "assistant", "thinking": "hm", "images": None, "tool_calls": [{"id": "c1", "function": function}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": '{"z": 1}'}}, {}]},
        {"role": "tool", "content": "3", "tool_name": "add", "tool_call_id": "c1"},
    ]
    (prompt,) = requested(CHAT, chat(messages=messages)).prompts
    assert prompt == ChatPrompt(
        (
            Message("assistant", "", tool_calls=(ToolCall("add", '{"z":1,"a":2}', "c1"),), reasoning="hm"),
            Message("assistant", "", tool_calls=(ToolCall("add", '{"z": 1}'), ToolCall("", "{}"))),
            Message("tool", "3", name="add", tool_call_id="c1"),
        )
    )


@pytest.mark.parametrize(
    ("more", "logprobs"),
    [
        ({}, None),
        ({"top_logprobs": 5}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
        ({"logprobs": False, "top_logprobs": 2}, None),
    ],
)
def test_top_logprobs_count_only_beside_logprobs(more: dict[str, Any], logprobs: int | None) -> None:
    assert requested(CHAT, chat(**more)).logprobs == logprobs


@pytest.mark.parametrize(
    "more",
    [
        {"format": ""},
        {"format": None},
        {"think": False},
        {"images": []},
        {"images": None},
        {"suffix": ""},
        {"template": ""},
        {"keep_alive": 0},
        {"keep_alive": "-1m"},
        {"width": 512, "height": 512, "steps": 3},
        {"_debug_render_only": False},
        {"whatever": {"x": 1}},
        {"options": {"vocab_only": True, "tfs_z": "x", "unknown": []}},
    ],
)
def test_what_means_off_or_nothing_is_accepted(more: dict[str, Any]) -> None:
    assert asked(GENERATE, generate(**more))


def test_a_chat_ignores_what_belongs_to_generate() -> None:
    body = chat(system="x", template="y", raw=True, context=[1], suffix="z", images=["!"], tools=[])
    assert requested(CHAT, body).prompts == (ChatPrompt((Message("user", "Hi"),)),)


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), (0, 0.0), ("5m", 300.0), (42.5, 42.5), (-1, -1.0), ("-1m", -1.0)]
)
def test_how_long_the_model_stays_rides_on_the_request(given: JSON, kept: float | None) -> None:
    """Saying nothing is no default of ours: an earlier request's word stands."""
    assert requested(GENERATE, generate(keep_alive=given)).keep_alive == kept
    assert requested(CHAT, chat(keep_alive=given)).keep_alive == kept
    if given != 0:
        assert loads(CHAT, {"model": "pocket", "keep_alive": given})[0].keep_alive == kept


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "load"),
        ({"prompt": ""}, "load"),
        ({"keep_alive": 5}, "load"),
        ({"stream": True, "options": {"num_ctx": 64}}, "load"),
        ({"keep_alive": 0}, "unload"),
        ({"keep_alive": "0s"}, "unload"),
        ({"keep_alive": 0, "think": True}, "unload"),
    ],
)
def test_an_empty_prompt_loads_or_unloads_in_one_object(body: dict[str, Any], reason: str) -> None:
    common = {"model": "POCKET", "created_at": "2026-01-02T03:04:05.000000Z"}
    end = {"done": True, "done_reason": reason}
    for surface, shown in (
        (GENERATE, {"response": ""}),
        (CHAT, {"message": {"role": "assistant", "content": ""}}),
    ):
        given = {"model": "POCKET", "messages": [], **body}
        if reason == "load":
            request, reply = loads(surface, given)
            assert (request.model, request.keep_alive) == ("pocket", body.get("keep_alive"))
        else:
            pin, reply = unloads(surface, given)
            assert pin == "pocket"
        assert (reply.status, reply.body) == (200, common | shown | end)
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"

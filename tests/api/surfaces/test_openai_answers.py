"""Events -> answers, whole and streamed, read by the SDK's own types."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from openai.types import Completion as SDKCompletion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai_events import HELLO, NOW, Bit, answered, ask, chat, chunks, prompted, said, streamed, surroundings, woven
from openai_strict import strict
from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.answer import headers
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.common.generation import Event, Failed, Finished, Reason, Token, Usage

TWO = woven(said(0, ["Red", " fox"], cached=3), said(1, ["", "Blue"], "length"))


def complete(prompt: Any = "ab cd", **fields: Any) -> Call:
    return ask(COMPLETIONS, {"prompt": prompt, **fields})


def chat_chunks(call: Call, events: list[Event]) -> list[dict[str, Any]]:
    told = list(chunks(streamed(CHAT, call, events)))
    for chunk in told:
        strict(ChatCompletionChunk, chunk)
    return told


def text_chunks(call: Call, events: list[Event]) -> list[dict[str, Any]]:
    # Not through the SDK's type: it has no word for a choice that goes on, though OpenAI streams them.
    return list(chunks(streamed(COMPLETIONS, call, events)))


def test_a_whole_chat_answer_is_openais() -> None:
    call = chat(n=2)
    reply = answered(CHAT, call, TWO)
    assert reply.status == 200
    assert headers(1.5) == {"openai-processing-ms": "1500", "openai-version": "2020-10-01"}
    answer = strict(ChatCompletion, reply.body)
    assert (answer.id, answer.object, answer.created) == (f"chatcmpl-{call.request.id}", "chat.completion", int(NOW))
    assert [choice.message.content for choice in answer.choices] == ["Red fox", "Blue"]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "length"]
    assert "tool_calls" not in reply.body["choices"][0]["message"]


def test_the_prompt_is_counted_once_and_every_choice() -> None:
    assert answered(CHAT, chat(n=2), TWO).body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.parametrize(
    ("reason", "expected"), [("eos", "stop"), ("stop", "stop"), ("length", "length"), ("cancelled", "stop")]
)
def test_every_reason_is_one_the_sdk_knows(reason: Reason, expected: str) -> None:
    body = answered(CHAT, chat(), said(0, ["x"], reason)).body
    assert body["choices"][0]["finish_reason"] == expected


def test_a_chat_stream_opens_every_choice_then_tells_then_closes() -> None:
    told = chat_chunks(chat(n=2, stream=True), TWO)
    deltas = [(c["index"], c["delta"], c["finish_reason"]) for chunk in told for c in chunk["choices"]]
    assert deltas == [
        (0, {"role": "assistant", "content": ""}, None),
        (1, {"role": "assistant", "content": ""}, None),
        (0, {"content": "Red"}, None),
        (0, {"content": " fox"}, None),
        (1, {"content": "Blue"}, None),
        (1, {}, "length"),
        (0, {}, "stop"),
    ]
    assert all("usage" not in chunk for chunk in told)


def test_all_chunks_share_one_head() -> None:
    call = chat(n=2, stream=True)
    heads = {(c["id"], c["created"], c["model"], c["system_fingerprint"]) for c in chat_chunks(call, TWO)}
    assert heads == {(f"chatcmpl-{call.request.id}", int(NOW), "pocket", "b-abababababab")}


def test_streamed_text_spells_the_whole_text() -> None:
    whole = answered(CHAT, chat(n=2), TWO).body["choices"]
    spelled = ["", ""]
    for chunk in chat_chunks(chat(n=2, stream=True), TWO):
        for choice in chunk["choices"]:
            spelled[choice["index"]] += choice["delta"].get("content", "")
    assert spelled == [choice["message"]["content"] for choice in whole]


def test_usage_comes_last_and_only_when_asked_for() -> None:
    *earlier, last = chat_chunks(chat(n=2, stream=True, stream_options={"include_usage": True}), TWO)
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in earlier)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 10)


@pytest.mark.parametrize("options", [{}, {"include_usage": False}, {"continuous_usage_stats": True}, None])
def test_usage_that_nobody_asked_for_is_absent(options: Any) -> None:
    assert all("usage" not in chunk for chunk in chat_chunks(chat(stream=True, stream_options=options), said(0, ["x"])))


def test_running_usage_grows_in_every_chunk() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    told = chat_chunks(chat(stream=True, stream_options=options), said(0, ["a", "b"]))
    assert [chunk["usage"]["completion_tokens"] for chunk in told] == [0, 1, 2, 3, 3]
    assert told[-1]["usage"]["prompt_tokens"] == 5


def test_running_usage_knows_the_prompt_from_the_start() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    told = chat_chunks(chat(stream=True, n=2, stream_options=options), [prompted(0, "a", "b", "c"), *TWO])
    assert [chunk["usage"]["prompt_tokens"] for chunk in told][:3] == [3, 3, 3]


def test_reasoning_has_both_names_where_the_operator_wants_it() -> None:
    call = ask(CHAT, HELLO, surroundings(reasoning_keys="both"))
    events = said(0, [Bit("hm", reasoning="hm"), "Yes"])
    message = strict(ChatCompletion, answered(CHAT, call, events).body).choices[0].message
    assert (message.reasoning_content, message.reasoning, message.content) == ("hm", "hm", "Yes")
    deltas = [chunk["choices"][0]["delta"] for chunk in chat_chunks(call, events)]
    assert {"reasoning_content": "hm", "reasoning": "hm"} in deltas
    alone = answered(CHAT, chat(), events).body["choices"][0]["message"]
    assert (alone["reasoning_content"], "reasoning" in alone) == ("hm", False)


@pytest.mark.parametrize(("agent", "delta"), [("unknown/None; hf_hub/1.1.0", {"content": ""}), ("OpenAI/Python", {})])
def test_the_hub_client_gets_a_last_delta_that_can_be_added_up(agent: str, delta: dict[str, str]) -> None:
    around = dataclasses.replace(surroundings(), headers={"user-agent": agent})
    told = chat_chunks(ask(CHAT, {**HELLO, "stream": True}, around), said(0, ["x"]))
    assert told[-1]["choices"][0]["delta"] == delta


def test_a_model_named_tgi_gets_a_last_delta_that_can_be_added_up() -> None:
    told = chat_chunks(chat(stream=True, model="tgi"), said(0, ["x"]))
    assert told[-1]["choices"][0]["delta"] == {"content": ""}


def test_an_empty_answer_still_opens_and_closes() -> None:
    empty = [Finished(0, 0, "length", Usage(5, 0, 0), seed=1)]
    told = chat_chunks(chat(stream=True, max_tokens=0), list(empty))
    assert [chunk["choices"][0]["finish_reason"] for chunk in told] == [None, "length"]
    assert answered(CHAT, chat(max_tokens=0), empty).body["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize("before", [0, 1])
def test_a_failure_in_a_stream_is_told_and_the_stream_ended(before: int) -> None:
    events: list[Event] = [*said(0, ["x"])[:before], Failed(1, "worker_lost", "the worker died")]
    *_, error, done = streamed(CHAT, chat(stream=True), events)
    assert (error.data["error"]["type"], error.data["error_type"], done.data) == (
        "server_error",
        "generation",
        "[DONE]",
    )


# ---- log-probabilities

HELD = said(0, [" H", (b"\xf0\x9f", ""), (b"\x99\x82", "\U0001f642"), (b" E", " "), (b"ND", "")], "stop", top=2)


def test_a_whole_chat_answers_log_probabilities_spell_its_text() -> None:
    body = answered(CHAT, chat(logprobs=True, top_logprobs=2), HELD).body
    choice = strict(ChatCompletion, body).choices[0]
    assert choice.logprobs is not None
    entries = choice.logprobs.content or []
    spelled = b"".join(bytes(entry.bytes or []) for entry in entries)
    # The stop string END begins inside a token, which is told in full; ND alone is not.
    assert (choice.message.content, spelled.decode()) == (" H\U0001f642 ", " H\U0001f642 E")
    assert [entry.token for entry in entries] == [" H", "\ufffd", "\ufffd\ufffd", " E"]
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2, 2]


def test_streamed_log_probabilities_come_with_their_text_and_are_those_of_the_whole_answer() -> None:
    fields: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}
    told = [chunk["choices"][0] for chunk in chat_chunks(chat(stream=True, **fields), HELD)]
    counts = [len(choice["logprobs"]["content"]) for choice in told if choice["logprobs"]]
    assert counts == [1, 2, 1]
    entries = [entry for choice in told if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    assert entries == answered(CHAT, chat(**fields), HELD).body["choices"][0]["logprobs"]["content"]
    assert all(choice["logprobs"] is None for choice in told if not choice["delta"].get("content"))


def test_an_end_of_turn_has_no_entry_and_no_alternatives_make_empty_lists() -> None:
    body = answered(CHAT, chat(logprobs=True), said(0, ["x"])).body
    entry = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    assert body["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}


def test_an_impossible_token_has_a_number_json_can_say() -> None:
    events: list[Event] = [
        Token(0, 0, 1, "x", last=True, piece=b"x", logprob=float("-inf")),
        Finished(1, 0, "length", Usage(1, 0, 1), seed=1),
    ]
    assert (
        answered(CHAT, chat(logprobs=True), events).body["choices"][0]["logprobs"]["content"][0]["logprob"] == -9999.0
    )


# ---- text completions


def test_a_whole_completion_is_openais() -> None:
    call = complete(["a", "b"], n=2)
    events = woven(*(said(choice, [f"text {choice}"], "length", prompt=3 + choice // 2) for choice in (3, 1, 0, 2)))
    body = answered(COMPLETIONS, call, events).body
    answer = strict(SDKCompletion, body)
    assert (answer.id, answer.object) == (f"cmpl-{call.request.id}", "text_completion")
    assert [(choice.index, choice.text) for choice in answer.choices] == [(i, f"text {i}") for i in range(4)]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 4)


def test_a_completion_stream_closes_each_choice_once() -> None:
    told = text_chunks(complete(n=2, stream=True, stream_options={"include_usage": True}), TWO)
    seen = [(c["index"], c["text"], c["finish_reason"]) for chunk in told for c in chunk["choices"]]
    assert seen == [
        (0, "Red", None),
        (0, " fox", None),
        (1, "Blue", None),
        (1, "", "length"),
        (0, "", "stop"),
    ]
    assert {chunk["object"] for chunk in told} == {"text_completion"}
    assert told[-1]["usage"]["completion_tokens"] == 5


def test_legacy_log_probabilities_are_four_lists_of_one_length() -> None:
    body = answered(COMPLETIONS, complete(logprobs=1), said(0, [" ef", " gh"], top=1)).body
    assert body["choices"][0]["logprobs"] == {
        "tokens": [" ef", " gh"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{" ef": -0.5}, {" gh": -0.5}],
        "text_offset": [5, 8],
    }


def test_a_sampled_token_is_always_among_its_alternatives() -> None:
    told = said(0, [" ef"], top=2)
    first = told[0]
    assert isinstance(first, Token)
    unlikely = Token(0, 0, 7, " zz", piece=b" zz", logprob=-9.0, top=first.top)
    body = answered(COMPLETIONS, complete(logprobs=2), [unlikely, *told[1:]]).body
    assert body["choices"][0]["logprobs"]["top_logprobs"] == [{" ef": -0.5, " other": -2.5, " zz": -9.0}]
    none = answered(COMPLETIONS, complete(logprobs=0), said(0, [" ef"])).body
    assert none["choices"][0]["logprobs"]["top_logprobs"] == [{" ef": -0.5}]


def test_bytes_that_are_no_text_alone_are_spelled_out() -> None:
    body = answered(COMPLETIONS, complete(logprobs=0), HELD).body
    assert body["choices"][0]["logprobs"]["tokens"] == [" H", "bytes:\\xf0\\x9f", "bytes:\\x99\\x82", " E"]


def test_streamed_offsets_are_those_of_the_whole_answer() -> None:
    told = text_chunks(complete(logprobs=0, stream=True), HELD)
    offsets = [o for chunk in told for c in chunk["choices"] if c["logprobs"] for o in c["logprobs"]["text_offset"]]
    whole = answered(COMPLETIONS, complete(logprobs=0), HELD).body["choices"][0]["logprobs"]["text_offset"]
    assert offsets == whole == [5, 7, 7, 8]


def test_each_prompt_counts_its_offsets_for_itself() -> None:
    call = complete(["a", "four"], logprobs=0)
    body = answered(COMPLETIONS, call, woven(said(0, ["x"]), said(1, ["y"]))).body
    assert [choice["logprobs"]["text_offset"] for choice in body["choices"]] == [[1], [4]]

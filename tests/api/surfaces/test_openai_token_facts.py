"""What vLLM's clients ask about tokens: ids, the prompt's own log-probabilities, tokens told as ids, markers as text."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai_events import HELLO, Bit, answered, ask, chat, chunks, prompted, said, streamed
from openai_strict import strict
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.common.generation import Event, Prompted, PromptToken, Token

#: vLLM's own keys.
MORE = {
    "ChatCompletion": {"prompt_token_ids", "prompt_logprobs"},
    "ChatCompletionChunk": {"prompt_token_ids"},
    "Choice": {"token_ids"},
}
#: The second token shows nothing yet, the third shows both; an EOS (2) is behind them.
SAID = said(0, ["Hi", (b"\xf0\x9f", ""), (b"\x99\x82", "\U0001f642")])
PROMPT = prompted(0, "<s>", "ab", " cd", top=2)


def completion(events: list[Event], **fields: Any) -> dict[str, Any]:
    body = answered(COMPLETIONS, ask(COMPLETIONS, {"prompt": "ab cd", **fields}), events).body
    choice: dict[str, Any] = body["choices"][0]
    return choice


def test_ids_are_told_of_the_prompt_and_of_every_token() -> None:
    told = completion([PROMPT, *SAID], return_token_ids=True)
    assert (told["prompt_token_ids"], told["token_ids"]) == ([0, 1, 2], [0, 1, 2, 2])
    body = answered(CHAT, chat(return_token_ids=True), [PROMPT, *SAID]).body
    typed = strict(ChatCompletion, body, more=MORE)
    assert (typed.prompt_token_ids, typed.choices[0].token_ids) == ([0, 1, 2], [0, 1, 2, 2])


def test_nothing_is_told_that_nobody_asked_for() -> None:
    assert set(completion([*SAID])) == {"index", "text", "logprobs", "finish_reason"}


def test_a_stream_tells_the_prompts_ids_once_and_each_token_with_its_chunk() -> None:
    call = ask(CHAT, {**HELLO, "stream": True, "return_token_ids": True})
    told = list(chunks(streamed(CHAT, call, [PROMPT, *SAID])))
    for chunk in told:
        strict(ChatCompletionChunk, chunk, more=MORE)
    assert [chunk.get("prompt_token_ids") for chunk in told] == [[0, 1, 2], None, None, None]
    assert [chunk["choices"][0]["token_ids"] for chunk in told] == [[], [0], [1, 2], [2]]


def test_a_streamed_completion_tells_them_in_its_choices() -> None:
    call = ask(COMPLETIONS, {"prompt": ["a", "b"], "stream": True, "return_token_ids": True})
    events = [prompted(0, "a"), prompted(1, "<s>", "b"), *said(1, ["x"]), *said(0, ["y"], "length")]
    told = [chunk["choices"][0] for chunk in chunks(streamed(COMPLETIONS, call, events))]
    assert [(each["index"], each.get("prompt_token_ids"), each["token_ids"]) for each in told] == [
        (1, [0, 1], [0]),
        (1, None, [2]),
        (0, [0], [0]),
        (0, None, []),
    ]


def test_a_token_that_says_several_things_is_told_once() -> None:
    call = chat(stream=True, return_token_ids=True)
    told = list(chunks(streamed(CHAT, call, said(0, [Bit("hm</think>Yes", "Yes", reasoning="hm")]))))
    assert [chunk["choices"][0]["token_ids"] for chunk in told] == [[], [0], [], [2]]


def test_a_prompts_log_probabilities_are_told_by_id() -> None:
    told = completion([PROMPT, *SAID], prompt_logprobs=1)["prompt_logprobs"]
    other = {"logprob": -0.25, "rank": 1, "decoded_token": " other"}
    assert told == [
        None,
        {"1": {"logprob": -1.0, "rank": None, "decoded_token": "ab"}, "999": other},
        {"2": {"logprob": -2.0, "rank": None, "decoded_token": " cd"}, "999": other},
    ]


@pytest.mark.parametrize(("most", "expected"), [(0, {"1": None}), (1, {"1": None, "999": 1}), (2, {"1": 2, "999": 1})])
def test_a_rank_is_known_among_the_likeliest_only(most: int, expected: dict[str, int | None]) -> None:
    body = answered(CHAT, chat(prompt_logprobs=most), [PROMPT, *SAID]).body
    second = strict(ChatCompletion, body, more=MORE).prompt_logprobs[1]
    assert {token: score["rank"] for token, score in second.items()} == expected


def test_an_echo_shows_no_more_alternatives_than_it_was_asked_for() -> None:
    told = completion([PROMPT, *SAID], echo=True, logprobs=0, prompt_logprobs=2)
    assert told["logprobs"]["top_logprobs"][1:3] == [{" cd": -2.0}, {"Hi": -0.5}]
    assert len(told["prompt_logprobs"][1]) == 2


def test_tokens_are_told_as_ids_where_two_might_look_alike() -> None:
    events = [PROMPT, *said(0, ["x", "y"], "length", top=2)]
    legacy = completion(events, echo=True, logprobs=2, return_tokens_as_token_ids=True)["logprobs"]
    assert legacy["tokens"] == ["token_id:1", "token_id:2", "token_id:0", "token_id:1"]
    assert legacy["top_logprobs"][3] == {"token_id:1": -0.5, "token_id:999": -2.5}
    call = chat(logprobs=True, top_logprobs=2, return_tokens_as_token_ids=True)
    (entry, _) = answered(CHAT, call, said(0, ["x", "y"], "length", top=2)).body["choices"][0]["logprobs"]["content"]
    assert (entry["token"], entry["bytes"]) == ("token_id:0", [120])
    assert [other["token"] for other in entry["top_logprobs"]] == ["token_id:0", "token_id:999"]


def test_markers_that_are_text_have_log_probabilities_in_their_place() -> None:
    marker = Token(0, 0, 7, "<|x|>", special=True, piece=b"<|x|>", logprob=-0.5)
    first, *rest = said(0, ["a", "b"])
    told = answered(CHAT, chat(logprobs=True, skip_special_tokens=False), [first, marker, *rest]).body["choices"][0]
    assert told["message"]["content"] == "a<|x|>b"
    assert [entry["token"] for entry in told["logprobs"]["content"]] == ["a", "<|x|>", "b"]
    told = completion([first, marker, *rest], logprobs=0, skip_special_tokens=False)
    assert told["logprobs"]["text_offset"] == [5, 6, 11]


def test_one_token_has_nothing_to_be_scored_by() -> None:
    told = completion([Prompted(0, 0, (PromptToken(1, b"<s>"),)), *SAID], prompt_logprobs=0)
    assert told["prompt_logprobs"] == [None]

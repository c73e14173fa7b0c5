"""Text completions that tell the prompt, too, and those that are the best of several."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import Completion as SDKCompletion
from openai_events import answered, ask, chunks, prompted, said, streamed, woven
from openai_strict import strict
from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.common.generation import Event

#: (prompt, its tokens as the model saw them, the text told, tokens listed, offsets, where the completion begins)
PROMPTS: list[tuple[Any, tuple[Any, ...], str, list[str], list[int]]] = [
    ("ab cd", ("ab", " cd"), "ab cd", ["ab", " cd"], [0, 2]),
    # A BOS that the server adds is not the caller's.
    ("ab cd", ("<s>", "ab", " cd"), "ab cd", ["ab", " cd"], [0, 2]),
    # Nor is a space in front.
    ("ab cd", ("<s>", " ab", " cd"), "ab cd", [" ab", " cd"], [0, 2]),
    ("ab cd", (" ", "ab", " cd"), "ab cd", ["ab", " cd"], [0, 2]),
    ("<s>ab", ("<s>", "<s>", "ab"), "<s>ab", ["<s>", "ab"], [0, 3]),
    ("", ("<s>",), "", [], []),
    (None, ("<s>",), "", [], []),
    # Cut to its last tokens.
    ("ab cd", (" cd",), "ab cd", [" cd"], [2]),
    (
        "\U0001f642!",
        ("<s>", b"\xf0\x9f", b"\x99\x82", "!"),
        "\U0001f642!",
        ["bytes:\\xf0\\x9f", "bytes:\\x99\\x82", "!"],
        [0, 0, 1],
    ),
    # Ids are the caller's, a BOS among them included.
    ([1, 2], ("<s>", "ab"), "<s>ab", ["<s>", "ab"], [0, 3]),
    ([1, "ab"], ("<s>", "ab"), "<s>ab", ["<s>", "ab"], [0, 3]),
]


def complete(prompt: Any = "ab cd", **fields: Any) -> Call:
    return ask(COMPLETIONS, {"prompt": prompt, **fields})


def text_chunks(call: Call, events: list[Event]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks(streamed(COMPLETIONS, call, events)) for choice in chunk["choices"]]


@pytest.mark.parametrize(("prompt", "pieces", "text", "tokens", "offsets"), PROMPTS)
def test_an_echo_is_the_prompt_and_the_completion(
    prompt: Any, pieces: tuple[Any, ...], text: str, tokens: list[str], offsets: list[int]
) -> None:
    events = [prompted(0, *pieces), *said(0, [" ef"], "length")]
    (choice,) = answered(COMPLETIONS, complete(prompt, echo=True, logprobs=0), events).body["choices"]
    logprobs = choice["logprobs"]
    assert choice["text"] == text + " ef"
    assert (logprobs["tokens"], logprobs["text_offset"]) == ([*tokens, " ef"], [*offsets, len(text)])
    assert {len(entries) for entries in logprobs.values()} == {len(tokens) + 1}
    if tokens:
        assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
    assert None not in logprobs["token_logprobs"][1:]
    assert (text_chunks(complete(prompt, echo=True, stream=True), events)[0]["text"]) == (text or " ef")


@pytest.mark.parametrize(("prompt", "pieces", "text", "tokens", "offsets"), PROMPTS)
def test_a_streamed_echo_adds_up_to_the_whole_one(
    prompt: Any, pieces: tuple[Any, ...], text: str, tokens: list[str], offsets: list[int]
) -> None:
    first = [prompted(0, *pieces), *said(0, [" H", (b"\xf0", ""), (b"\x9f\x99\x82", "\U0001f642"), " e"])]
    events = woven(first, [prompted(1, *pieces), *said(1, ["x"], "length")])
    fields: dict[str, Any] = {"echo": True, "logprobs": 1, "n": 2}
    whole = answered(COMPLETIONS, complete(prompt, **fields), events).body["choices"]
    for index, expected in enumerate(whole):
        told = [c for c in text_chunks(complete(prompt, stream=True, **fields), events) if c["index"] == index]
        assert "".join(choice["text"] for choice in told) == expected["text"]
        assert [choice["finish_reason"] for choice in told][:-1] == [None] * (len(told) - 1)
        for key, entries in expected["logprobs"].items():
            assert [entry for c in told if c["logprobs"] for entry in c["logprobs"][key]] == entries


def test_the_sheets_own_example() -> None:
    call = complete(echo=True, max_tokens=1, logprobs=1)
    events = [prompted(0, "<s>", "ab", " cd", top=2), *said(0, [" ef"], "length", top=1)]
    (choice,) = answered(COMPLETIONS, call, events).body["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("ab cd ef", "length")
    assert choice["logprobs"] == {
        "tokens": ["ab", " cd", " ef"],
        "token_logprobs": [None, -2.0, -0.5],
        "top_logprobs": [None, {" other": -0.25, " cd": -2.0}, {" ef": -0.5}],
        "text_offset": [0, 2, 5],
    }


def test_a_prompt_is_scored_by_generating_nothing() -> None:
    call = complete([7, 8, 9], echo=True, max_tokens=0, logprobs=0)
    (choice,) = answered(COMPLETIONS, call, [prompted(0, "a", "b", "c"), *said(0, [], "length")]).body["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("abc", "length")
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -2.0]


def test_with_an_echo_every_token_is_counted_for_those_who_score() -> None:
    """lm-eval takes off the last entry: that of the one token it had to ask for, which may be the end of the turn."""
    call = complete([7, 8], echo=True, max_tokens=1, logprobs=0)
    (choice,) = answered(COMPLETIONS, call, [prompted(0, "a", "b"), *said(0, [])]).body["choices"]
    assert choice["text"] == "ab"
    assert choice["logprobs"]["tokens"] == ["a", "b", "<|im_end|>"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 2]


def test_an_echo_without_log_probabilities_has_none() -> None:
    events = [prompted(0, "ab", " cd"), *said(0, [" ef"])]
    assert answered(COMPLETIONS, complete(echo=True), events).body["choices"][0]["logprobs"] is None
    assert [c["logprobs"] for c in text_chunks(complete(echo=True, stream=True), events)] == [None] * 3


def test_several_prompts_are_echoed_each_for_itself_in_any_order() -> None:
    call = complete(["ab", [7]], n=2, echo=True)
    told = {
        choice: [prompted(choice, "ab" if choice < 2 else "z"), *said(choice, [f" {choice}"])] for choice in range(4)
    }
    events = woven(*(told[choice] for choice in (3, 1, 0, 2)))
    texts = [choice["text"] for choice in answered(COMPLETIONS, call, events).body["choices"]]
    assert texts == ["ab 0", "ab 1", "z 2", "z 3"]


@pytest.mark.parametrize("stream", [False, True])
def test_offsets_behind_token_ids_begin_where_their_text_ends(stream: bool) -> None:
    call = complete([7, 8], logprobs=0, stream=stream)
    events = [prompted(0, "four", "4"), *said(0, ["x", "y"])]
    told = text_chunks(call, events) if stream else answered(COMPLETIONS, call, events).body["choices"]
    assert [offset for c in told if c["logprobs"] for offset in c["logprobs"]["text_offset"]] == [5, 6]
    assert "".join(choice["text"] for choice in told) == "xy"


# ---- the best of several


def candidates(*logprobs: float, first: int = 0) -> list[Event]:
    told = [said(first + at, [f"{value}", "!"], "length", logprob=value) for at, value in enumerate(logprobs)]
    return woven(*told)


def test_the_likeliest_of_each_prompts_candidates_are_told_best_first() -> None:
    call = complete(["a", "b"], n=2, best_of=3)
    events = [*candidates(-3, -1, -2, first=3), *candidates(-0.5, -0.9, -0.1)]
    body = answered(COMPLETIONS, call, events).body
    answer = strict(SDKCompletion, body)
    assert [(c.index, c.text) for c in answer.choices] == [(0, "-0.1!"), (1, "-0.5!"), (2, "-1!"), (3, "-2!")]
    assert [c.logprobs for c in answer.choices] == [None] * 4


def test_a_mean_does_not_favour_the_short() -> None:
    long, short = said(0, ["a"] * 8, "length", logprob=-0.4), said(1, ["b"], "length", logprob=-0.5)
    body = answered(COMPLETIONS, complete(best_of=2), woven(long, short)).body
    assert [choice["text"] for choice in body["choices"]] == ["aaaaaaaa"]


def test_of_equally_likely_ones_the_earlier_is_told() -> None:
    events = woven(said(0, ["a"], "length"), said(1, ["b"], "length"))
    assert answered(COMPLETIONS, complete(best_of=2), events).body["choices"][0]["text"] == "a"


def test_the_losers_are_paid_for_but_their_prompt_is_not() -> None:
    usage = answered(COMPLETIONS, complete(best_of=3), candidates(-3, -1, -2)).body["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 6)


def test_log_probabilities_and_echo_are_those_of_the_winner() -> None:
    call = complete("ab", best_of=2, logprobs=0, echo=True)
    events = [prompted(0, "ab"), prompted(1, "ab"), *candidates(-3, -1)]
    (choice,) = answered(COMPLETIONS, call, events).body["choices"]
    assert choice["text"] == "ab-1!"
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -1.0]


def test_candidates_without_tokens_are_told_too() -> None:
    events = [*said(0, [], "length"), *said(1, [], "length")]
    assert answered(COMPLETIONS, complete(best_of=2, max_tokens=0), events).body["choices"][0]["text"] == ""

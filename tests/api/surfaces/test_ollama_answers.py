"""Events -> lines of a stream, and one object: sections 4.2, 4.6, 5.2 and 7.5."""

from __future__ import annotations

import math
from typing import Any

import ollama
import pytest
from ollama_scene import HELLO, RECEIVED, asked, finished, lines, surroundings, token, whole
from tropilla.api.framing import NDJSON
from tropilla.api.surface import Call, Surface
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.common.errors import ContextExceeded
from tropilla.common.generation import (
    Alternative,
    Event,
    Failed,
    Finished,
    Prompted,
    PromptToken,
    Reason,
    Timings,
    Usage,
)

NOW = "2026-01-02T03:04:05.500000Z"
METRICS = {
    "total_duration": 500_000_000,
    "load_duration": 360_000_000,
    "prompt_eval_count": 5,
    "prompt_eval_duration": 60_000_000,
    "eval_count": 4,
    "eval_duration": 80_000_000,
}
LOST = Failed(1, "worker_lost", "the worker cpu-1 was lost")


def call(surface: Surface, **more: Any) -> Call:
    said = {"prompt": "Hi"} if surface is GENERATE else {"messages": [{"role": "user", "content": "Hi"}]}
    return asked(surface, {"model": "Pocket", **said, **more})


def test_a_generate_stream_is_a_line_per_shown_token_and_one_that_is_done() -> None:
    said = lines(GENERATE, call(GENERATE), HELLO)
    assert said == [
        {"model": "Pocket", "created_at": NOW, "response": "Hel", "done": False},
        {"model": "Pocket", "created_at": NOW, "response": "lo", "done": False},
        {
            "model": "Pocket",
            "created_at": NOW,
            "response": "",
            "done": True,
            "done_reason": "stop",
            "context": [1, 2, 101, 102, 103],
            **METRICS,
        },
    ]
    assert [ollama.GenerateResponse.model_validate(line).response for line in said] == ["Hel", "lo", ""]
    assert all(NDJSON.frame(line, "").count(b"\n") == 1 for line in said)


def test_every_line_of_a_chat_has_a_message_with_its_role() -> None:
    said = lines(CHAT, call(CHAT), HELLO)
    assert [line.pop("message") for line in said] == [
        {"role": "assistant", "content": text} for text in ("Hel", "lo", "")
    ]
    assert said[-1] == {"model": "Pocket", "created_at": NOW, "done": True, "done_reason": "stop", **METRICS}


@pytest.mark.parametrize(("surface", "kind"), [(GENERATE, ollama.GenerateResponse), (CHAT, ollama.ChatResponse)])
def test_a_whole_answer_is_the_last_line_with_all_the_text(surface: Surface, kind: Any) -> None:
    asking = call(surface, stream=False)
    said = lines(surface, asking, HELLO)
    reply = whole(surface, asking, HELLO)
    shown = {"response": "Hello"} if surface is GENERATE else {"message": {"role": "assistant", "content": "Hello"}}
    assert reply.body == said[-1] | shown
    assert (reply.status, reply.headers) == (200, {"Content-Type": "application/json; charset=utf-8"})
    assert kind.model_validate(reply.body).done_reason == "stop"


@pytest.mark.parametrize(
    ("reason", "told"), [("eos", "stop"), ("stop", "stop"), ("length", "length"), ("cancelled", "stop")]
)
def test_ollama_knows_few_reasons_to_be_done(reason: Reason, told: str) -> None:
    (line,) = lines(CHAT, call(CHAT), (finished(0, reason),))
    assert line["done_reason"] == told


def test_an_answer_without_a_token_is_one_line_that_is_done() -> None:
    (line,) = lines(GENERATE, call(GENERATE), (HELLO[0], finished(1, "length", generated=0)))
    assert (line["response"], line["context"], line["eval_count"]) == ("", [1, 2], 0)


def test_a_raw_prompt_gets_no_context_back() -> None:
    assert "context" not in lines(GENERATE, call(GENERATE, raw=True), HELLO)[-1]
    assert "context" not in whole(GENERATE, call(GENERATE, raw=True), HELLO).body


@pytest.mark.parametrize(
    ("events", "context"),
    [
        # "us", "er:" spell the stop string and are not part of the text; "a\nu" is in part.
        ((token(0, "a"), token(1, ""), token(2, "", last=True), finished(3, "stop")), [1, 2, 100]),
        ((token(0, "a", last=True), finished(1, "stop")), [1, 2, 100]),
        # Half a character stands at the end of what was allowed: it was said.
        ((token(0, "a"), token(1, "", last=True), finished(2, "length")), [1, 2, 100, 101]),
    ],
)
def test_the_context_ends_where_the_text_ends(events: tuple[Event, ...], context: list[int]) -> None:
    assert lines(GENERATE, call(GENERATE), (HELLO[0], *events))[-1]["context"] == context
    assert whole(GENERATE, call(GENERATE), (HELLO[0], *events)).body["context"] == context


def test_no_line_of_a_stream_is_longer_than_gos_client_reads() -> None:
    """Section 1: 8,000,000 bytes. The last line is the longest, with the ids of a whole context; 2^18 tokens is the largest
    that models were trained for, and 2^18 ids of seven digits the largest vocabulary.
    """
    prompt = tuple(PromptToken(9_999_999, b"x") for _ in range(1 << 18))
    events = (Prompted(0, 0, prompt), token(1, "a" * 10_000), finished(2))
    said = lines(GENERATE, call(GENERATE), events)
    assert len(said[-1]["context"]) > 1 << 18
    assert max(len(NDJSON.frame(line, "")) for line in said) < 8_000_000


def test_a_context_can_be_asked_with_again() -> None:
    context = whole(GENERATE, call(GENERATE), HELLO).body["context"]
    (prompt,) = call(GENERATE, context=context).request.prompts
    assert prompt.context == tuple(context)


def test_no_duration_is_zero_or_broken() -> None:
    asking = call(GENERATE)
    quick = Finished(0, 0, "eos", Usage(5, 5, 1), seed=1, timings=Timings())
    slow = Finished(0, 0, "eos", Usage(5, 5, 1), seed=1, timings=Timings(prefill=0.3, decode=0.30000001))
    for ended in (quick, slow):
        (line,) = lines(GENERATE, asking, (ended,))
        durations = [value for key, value in line.items() if key.endswith("_duration")]
        assert len(durations) == 4
        assert all(type(duration) is int and duration > 0 for duration in durations)


def test_log_probabilities_ride_on_their_token_and_come_together_in_the_whole() -> None:
    half = token(
        0, "", piece=b"\xc3", logprob=-0.5, top=(Alternative(7, b"\xc3", -0.5), Alternative(8, b"", -math.inf))
    )
    rest = token(1, "é", piece=b"\xa9", logprob=1e-7, top=(Alternative(9, b"\xa9", 0.0),))
    end = token(2, "", piece=b"<|im_end|>", logprob=-0.1, special=True, last=True)
    asking = call(CHAT, logprobs=True, top_logprobs=2)
    events = (half, rest, end, finished(3))
    first, second, last = lines(CHAT, asking, events)
    assert first["message"]["content"] == ""
    assert first["logprobs"] == [
        {
            "token": "\N{REPLACEMENT CHARACTER}",
            "logprob": -0.5,
            "bytes": [0xC3],
            "top_logprobs": [
                {"token": "\N{REPLACEMENT CHARACTER}", "logprob": -0.5, "bytes": [0xC3]},
                {"token": "", "logprob": -9999.0},
            ],
        }
    ]
    assert second["logprobs"][0]["logprob"] == 0.0
    assert "logprobs" not in last
    body = whole(CHAT, asking, events).body
    assert body["logprobs"] == first["logprobs"] + second["logprobs"]
    assert len(ollama.ChatResponse.model_validate(body).logprobs or ()) == 2


def test_without_alternatives_there_is_no_list_of_them() -> None:
    said = lines(GENERATE, call(GENERATE, logprobs=True), (token(0, "a", piece=b"a", logprob=-1.0), finished(1)))
    assert said[0]["logprobs"] == [{"token": "a", "logprob": -1.0, "bytes": [97]}]


def test_a_stream_that_breaks_ends_in_an_error_line_and_nothing_else() -> None:
    said = lines(CHAT, call(CHAT), (token(0, "Hel"), LOST))
    assert said[1:] == [{"error": "the worker cpu-1 was lost"}]


def test_a_whole_answer_that_breaks_raises_for_the_fault() -> None:
    with pytest.raises(ContextExceeded):
        whole(CHAT, call(CHAT), (Failed(0, "context_length", "too long"),))


@pytest.mark.parametrize("surface", [GENERATE, CHAT])
def test_no_good_object_has_an_error(surface: Surface) -> None:
    asking = call(surface)
    assert all("error" not in line for line in [*lines(surface, asking, HELLO), whole(surface, asking, HELLO).body])


def test_load_time_counts_from_the_requests_arrival() -> None:
    asking = call(GENERATE)
    assert asking.received == RECEIVED == surroundings().now
    line = lines(GENERATE, asking, HELLO)[-1]
    spent = line["load_duration"] + line["prompt_eval_duration"] + line["eval_duration"]
    assert spent == line["total_duration"]

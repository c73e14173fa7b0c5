"""TGI streams and whole answers from events fed by hand, by the sheet's sections 6, 7 and 12."""

from __future__ import annotations

import math
from typing import Any

import pytest
from huggingface_hub import TextGenerationOutput, TextGenerationStreamOutput
from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Fold, Reply
from tropilla.api.surfaces.tgi.frames import TokenFrames
from tropilla.api.surfaces.tgi.headers import known_at_start
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.api.surfaces.tgi.whole import whole_compat, whole_generate
from tropilla.common.generation import (
    Alternative,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    Prompted,
    PromptToken,
    Reason,
    Sampling,
    TextPrompt,
    Timings,
    Token,
    Usage,
)

#: "Grüße" with the ü cut in two, then the end of the turn: pieces, and what may be shown after each.
PIECES = ((b"Gr", "Gr"), (b"\xc3", ""), (b"\xbc", "ü"), (b"\xc3\x9fe", "ße"))


def question(stream: bool = True, **answer: Any) -> Call:
    facts: dict[str, Any] = {
        "inputs": "Sag: ",
        "full_text": False,
        "details": True,
        "prefill": False,
        "top_tokens": False,
        "samples": True,
        "seed": None,
        "headers": {"x-compute-type": "gpu+optimized", "x-compute-characters": "5"},
    }
    max_tokens, candidates = answer.pop("max_tokens", 20), answer.pop("candidates", 1)
    request = GenerationRequest(
        id="r",
        model="pocket",
        prompts=(TextPrompt("Sag: "),),
        sampling=Sampling(),
        n=candidates,
        max_tokens=max_tokens,
        logprobs=0,
    )
    return Call(request, stream, received=100.0, queued=100.004, answer=Answer(**facts | answer))


def events(reason: Reason = "eos") -> list[Event]:
    told: list[Event] = [
        Token(index=at, choice=0, id=10 + at, text=text, piece=piece, logprob=-0.5)
        for at, (piece, text) in enumerate(PIECES)
    ]
    told.append(
        Token(index=4, choice=0, id=2, text="", special=True, last=True, piece=b"<|im_end|>", logprob=float("-inf"))
    )
    return [
        Prompted(0, 0, (PromptToken(1, b"<s>"), PromptToken(7, b"Sag", -2.5), PromptToken(8, b": ", -math.inf))),
        *told,
        Finished(
            index=5,
            choice=0,
            reason=reason,
            usage=Usage(prompt=3, cached=0, generated=5),
            seed=42,
            timings=Timings(queue=0.1, prefill=0.2, decode=0.5),
        ),
    ]


def streamed(call: Call, told: list[Event]) -> list[JSON]:
    frames = TokenFrames(call, lambda: 0.0)
    return [frame.data for event in told for frame in frames.feed(event)]


def folded(call: Call, told: list[Event], whole: Any = whole_generate) -> Reply:
    fold = Fold(call.request.choices)
    for event in told:
        fold.feed(event)
    reply = whole(call, fold.completion(), 101.0)
    assert isinstance(reply, Reply)
    return reply


def test_a_stream_is_one_event_per_token_numbered_from_one() -> None:
    told = streamed(question(), events())
    assert [data["index"] for data in told] == [1, 2, 3, 4, 5]
    assert told[0] == {
        "index": 1,
        "token": {"id": 10, "text": "Gr", "logprob": -0.5, "special": False},
        "generated_text": None,
        "details": None,
    }
    assert told[-1] == {
        "index": 5,
        "token": {"id": 2, "text": "<|im_end|>", "logprob": -9999.0, "special": True},
        "generated_text": "Grüße",
        "details": {"finish_reason": "eos_token", "generated_tokens": 5, "seed": 42, "input_length": 3},
    }
    for data in told:
        TextGenerationStreamOutput.parse_obj_as_instance(data)


def test_the_texts_that_are_no_markers_concatenate_to_the_generated_text() -> None:
    told = streamed(question(), events())
    shown = "".join(data["token"]["text"] for data in told if not data["token"]["special"])
    assert shown == told[-1]["generated_text"] == folded(question(), events()).body["generated_text"]


def test_the_details_of_a_stream_stay_null_unless_asked_for() -> None:
    assert all(data["details"] is None for data in streamed(question(details=False), events()))


def test_the_full_text_begins_with_the_inputs_in_the_last_event_only() -> None:
    told = streamed(question(full_text=True), events())
    assert told[0]["token"]["text"] == "Gr"
    assert told[-1]["generated_text"] == "Sag: Grüße"


def test_a_stream_goes_out_as_plain_data_lines_without_a_terminator() -> None:
    frames = TokenFrames(question(), lambda: 0.0)
    out = [frame for event in events() for frame in frames.feed(event)]
    lines = b"".join(SSE.frame(frame.data, frame.event) for frame in out).split(b"\n")
    assert all(line.startswith(b'data: {"index":') for line in lines[0:-1:2])
    assert not any(lines[1::2]), "a blank line ends each event, and nothing follows the last"
    assert len(lines) == 2 * len(PIECES) + 3


def test_a_failure_after_the_first_token_is_the_last_event() -> None:
    lost = Failed(index=1, code="worker_lost", message="w died")
    assert streamed(question(), [*events()[:2], lost])[1:] == [
        {"error": "Incomplete generation stream", "error_type": "incomplete_generation_stream"}
    ]
    broken = Failed(index=1, code="internal", message="no memory")
    assert streamed(question(), [*events()[:2], broken])[1:] == [
        {"error": "Request failed during generation: no memory", "error_type": "generation"}
    ]


def test_a_failure_between_the_last_token_and_its_end_still_shows_the_token() -> None:
    told = streamed(question(), [*events()[:-1], Failed(index=5, code="worker_lost", message="w died")])
    assert (told[-2]["index"], told[-2]["generated_text"]) == (5, None)
    assert "error" in told[-1]


def test_a_whole_answer_has_its_details() -> None:
    body = folded(question(stream=False), events()).body
    assert body["generated_text"] == "Grüße"
    details = body["details"]
    assert (details["finish_reason"], details["generated_tokens"], details["seed"]) == ("eos_token", 5, 42)
    assert details["prefill"] == []
    assert [token["text"] for token in details["tokens"]] == ["Gr", "", "ü", "ße", "<|im_end|>"]
    assert details.keys().isdisjoint({"top_tokens", "best_of_sequences"})
    TextGenerationOutput.parse_obj_as_instance(body)


def test_details_are_left_out_unless_something_asks_for_them() -> None:
    assert folded(question(details=False), events()).body == {"generated_text": "Grüße"}
    prefilled = folded(question(details=False, prefill=True), events()).body["details"]
    assert prefilled["prefill"] == [
        {"id": 1, "text": "<s>", "logprob": None},
        {"id": 7, "text": "Sag", "logprob": -2.5},
        {"id": 8, "text": ": ", "logprob": -9999.0},
    ]


def test_the_root_route_answers_with_an_array_of_one() -> None:
    reply = folded(question(full_text=True, details=False), events(), whole_compat)
    assert reply.body == [{"generated_text": "Sag: Grüße"}]
    assert reply.headers == folded(question(), events()).headers


@pytest.mark.parametrize(
    ("reason", "max_tokens", "told"),
    [
        ("eos", 20, "eos_token"),
        ("eos", None, "eos_token"),
        ("stop", 20, "stop_sequence"),
        ("length", 20, "length"),
        ("cancelled", 20, "length"),
        # On the last token allowed, length is tested first.
        ("eos", 5, "length"),
        ("stop", 5, "length"),
    ],
)
def test_finish_reasons_are_tgis_own_words(reason: Reason, max_tokens: int | None, told: str) -> None:
    call = question(max_tokens=max_tokens)
    assert folded(call, events(reason)).body["details"]["finish_reason"] == told
    assert streamed(call, events(reason))[-1]["details"]["finish_reason"] == told


@pytest.mark.parametrize(
    ("samples", "seed", "told"), [(False, None, None), (False, 7, None), (True, None, 42), (True, 2**60, 2**60)]
)
def test_the_seed_is_null_when_greedy_and_the_callers_own_when_given(
    samples: bool, seed: int | None, told: int | None
) -> None:
    call = question(samples=samples, seed=seed)
    assert folded(call, events()).body["details"]["seed"] == told
    assert streamed(call, events())[-1]["details"]["seed"] == told


def test_top_tokens_are_listed_for_every_token_likeliest_first() -> None:
    top = (Alternative(3, b"</s>", -2.0), Alternative(2, b"\xff", -1.0))
    token = Token(index=0, choice=0, id=3, text="", special=True, last=True, piece=b"</s>", logprob=-2.0, top=top)
    told = [token, events()[-1]]
    ranked = [
        {"id": 2, "text": "\ufffd", "logprob": -1.0, "special": False},
        {"id": 3, "text": "</s>", "logprob": -2.0, "special": True},
    ]
    assert folded(question(top_tokens=True), told).body["details"]["top_tokens"] == [ranked]
    assert streamed(question(top_tokens=True), told)[0]["top_tokens"] == ranked


def candidate(choice: int, *logprobs: float) -> list[Event]:
    """An answer of so many tokens, `a0 b0 ...`, sampled with seed 40 + choice."""
    last = len(logprobs) - 1
    told: list[Event] = [
        Token(at, choice, 10 + at, f"{chr(97 + at)}{choice} ", piece=b"x", logprob=logprob, last=at == last)
        for at, logprob in enumerate(logprobs)
    ]
    prompt = Prompted(0, choice, (PromptToken(1, b"<s>"),))
    usage = Usage(prompt=3, cached=0, generated=len(logprobs))
    return [prompt, *told, Finished(9, choice, "eos", usage, seed=40 + choice)]


#: Who is told in which order; the mean counts, not the sum, and of equals the first.
CONTESTS: list[tuple[list[Event], list[int]]] = [
    (candidate(0, -1.0) + candidate(1, -0.6, -0.6), [1, 0]),
    (candidate(1, -1.0, -0.1) + candidate(0, -0.5), [0, 1]),
    (candidate(0, -0.5) + candidate(1, -0.5), [0, 1]),
    (candidate(0, -math.inf) + candidate(1, -900.0), [1, 0]),
    (candidate(0) + candidate(1, -3.0), [1, 0]),
]


@pytest.mark.parametrize(("told", "ranked"), CONTESTS)
def test_the_candidate_with_the_likeliest_tokens_wins(told: list[Event], ranked: list[int]) -> None:
    body = folded(question(stream=False, candidates=2), told).body
    (loser,) = body["details"]["best_of_sequences"]
    assert [body["details"]["seed"], loser["seed"]] == [40 + choice for choice in ranked]
    TextGenerationOutput.parse_obj_as_instance(body)


def test_a_loser_is_shown_with_all_that_was_asked_for() -> None:
    call = question(stream=False, candidates=2, full_text=True, prefill=True, top_tokens=True)
    body = folded(call, candidate(0, -1.0) + candidate(1, -0.6, -0.6)).body
    assert body["generated_text"] == "Sag: a1 b1 "
    assert body["details"]["best_of_sequences"] == [
        {
            "generated_text": "Sag: a0 ",
            "finish_reason": "eos_token",
            "generated_tokens": 1,
            "seed": 40,
            "prefill": [{"id": 1, "text": "<s>", "logprob": None}],
            "tokens": [{"id": 10, "text": "a0 ", "logprob": -1.0, "special": False}],
            "top_tokens": [[]],
        }
    ]


def test_without_details_only_the_winner_is_told() -> None:
    reply = folded(question(details=False, candidates=2), candidate(0, -1.0) + candidate(1, -0.6, -0.6))
    assert reply.body == {"generated_text": "a1 b1 "}
    assert reply.headers["x-generated-tokens"] == "2"


def test_a_whole_answer_says_where_the_time_went() -> None:
    assert folded(question(), events()).headers == {
        "x-compute-type": "gpu+optimized",
        "x-compute-characters": "5",
        "x-compute-time": "1.000000",
        "x-total-time": "1000",
        "x-validation-time": "4",
        "x-queue-time": "296",
        "x-inference-time": "700",
        "x-time-per-token": "140",
        "x-prompt-tokens": "3",
        "x-generated-tokens": "5",
    }


def test_a_stream_says_only_what_is_known_at_its_start() -> None:
    assert set(known_at_start(question())) == {"x-compute-type", "x-compute-characters"}

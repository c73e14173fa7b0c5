"""Replies that think or call tools -> lines and whole answers: sections 4.2, 5.2, 7.2, 7.3 and 7.5."""

from __future__ import annotations

import re
from typing import Any

import ollama
import pytest
from ollama_scene import HELLO, asked, calling, finished, lines, token, whole, wise_chat, wise_generate
from tropilla.api.surface import JSON, Call
from tropilla.api.surfaces.ollama import CHAT, GENERATE
from tropilla.api.surfaces.ollama.tool_calls import call_id
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import CallDelta, Event, Prompted, PromptToken, Reason

TOOLS = [{"function": {"name": "f"}}, {"function": {"name": "g"}}]

#: "<think> hm</think> Yes": the markers show nothing, and one token has the end of the one and the beginning of the other.
THOUGHT: tuple[Event, ...] = (
    token(0, "", special=True),
    token(1, "", reasoning="h"),
    token(2, "Y", reasoning="m"),
    token(3, "es"),
    token(4, "", special=True, last=True),
    finished(5),
)

#: Text, then f(z=1, a="}") in pieces, then g(), and the marker.
CALLED: tuple[Event, ...] = (
    token(0, "Let me. "),
    calling(1, CallDelta(0, "f")),
    calling(2, CallDelta(0, arguments='{"z": 1, "a": "}')),
    calling(3, CallDelta(0, arguments='"}'), CallDelta(0, arguments="\n")),
    token(4, ""),
    calling(5, CallDelta(1, "g")),
    calling(6, last=True, special=True),
    finished(7),
)


def chatting(**more: Any) -> Call:
    return asked(CHAT, wise_chat(tools=TOOLS, **more))


def messages(said: list[JSON]) -> list[JSON]:
    return [line["message"] for line in said]


def assistant(content: str = "", **more: Any) -> JSON:
    return {"role": "assistant", "content": content, **more}


def function(index: int, name: str, **arguments: Any) -> JSON:
    return {"index": index, "name": name, "arguments": arguments}


def test_a_chat_streams_thoughts_before_text_on_lines_of_their_own() -> None:
    said = lines(CHAT, asked(CHAT, wise_chat()), THOUGHT)
    assert messages(said) == [
        assistant(thinking="h"),
        assistant(thinking="m"),
        assistant("Y"),
        assistant("es"),
        assistant(),
    ]
    assert [line["done"] for line in said] == [False] * 4 + [True]
    assert [ollama.ChatResponse.model_validate(line).message.thinking for line in said][:2] == ["h", "m"]


def test_a_generation_tells_its_thoughts_beside_its_response() -> None:
    call = asked(GENERATE, wise_generate())
    said = lines(GENERATE, call, THOUGHT)
    assert [(line["response"], line.get("thinking")) for line in said] == [
        ("", "h"),
        ("", "m"),
        ("Y", None),
        ("es", None),
        ("", None),
    ]
    body = whole(GENERATE, call, THOUGHT).body
    assert (body["response"], body["thinking"]) == ("Yes", "hm")
    assert ollama.GenerateResponse.model_validate(body).thinking == "hm"


def test_a_whole_chat_has_its_thoughts_together() -> None:
    body = whole(CHAT, asked(CHAT, wise_chat(stream=False)), THOUGHT).body
    assert body["message"] == assistant("Yes", thinking="hm")


def test_thoughts_that_nobody_wanted_are_kept_back_with_their_tokens() -> None:
    events = tuple(
        token(at, text, piece=b"x", logprob=-0.1, reasoning=thought)
        for at, (text, thought) in enumerate([("", "h"), ("Y", "m"), ("es", "")])
    )
    call = asked(CHAT, wise_chat(think=False, logprobs=True))
    said = lines(CHAT, call, (*events, finished(3)))
    assert messages(said) == [assistant("Y"), assistant("es"), assistant()]
    body = whole(CHAT, call, (*events, finished(3))).body
    assert body["message"] == assistant("Yes")
    assert len(body["logprobs"]) == sum(len(line.get("logprobs", [])) for line in said) == 2


def test_the_context_has_the_thoughts_and_not_the_last_marker() -> None:
    prompted = Prompted(0, 0, (PromptToken(1, b"<s>"),))
    assert lines(GENERATE, asked(GENERATE, wise_generate()), (prompted, *THOUGHT))[-1]["context"] == [
        1,
        *range(100, 104),
    ]


def test_each_call_comes_whole_on_a_line_before_the_last_one() -> None:
    call = chatting()
    said = lines(CHAT, call, CALLED)
    first, second = call_id(call.request.id, 0), call_id(call.request.id, 1)
    assert messages(said) == [
        assistant("Let me. "),
        assistant(tool_calls=[{"id": first, "function": function(0, "f", z=1, a="}")}]),
        assistant(tool_calls=[{"id": second, "function": function(1, "g")}]),
        assistant(),
    ]
    assert list(said[1]["message"]["tool_calls"][0]["function"]["arguments"]) == ["z", "a"]
    assert [line["done"] for line in said] == [False, False, False, True]
    assert said[-1]["done_reason"] == "stop"
    tool_calls = ollama.ChatResponse.model_validate(said[1]).message.tool_calls
    assert tool_calls is not None
    assert tool_calls[0].function.arguments == {"z": 1, "a": "}"}


def test_a_call_does_not_wait_for_the_end_once_its_arguments_are_whole() -> None:
    told = lines(CHAT, chatting(), CALLED[:4])
    assert "tool_calls" in told[-1]["message"]


def test_a_whole_chat_has_all_its_calls_in_one_message() -> None:
    call = chatting(stream=False)
    streamed = [called for message in messages(lines(CHAT, call, CALLED)) for called in message.get("tool_calls", [])]
    body = whole(CHAT, call, CALLED).body
    assert body["message"] == assistant("Let me. ", tool_calls=streamed)
    assert ollama.ChatResponse.model_validate(body).done_reason == "stop"


def test_ids_are_the_requests_own_and_the_same_every_time() -> None:
    ids = {call_id(request, number) for request in ("a", "b") for number in range(50)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"call_[a-z0-9]{8}", each) for each in ids)
    assert call_id("a", 1) in ids


#: Arguments as a model wrote them, how its turn ended, and what becomes of them: None is no call, a class a failure.
ENDINGS: list[tuple[tuple[str, ...], Reason, Any]] = [
    (("{}",), "eos", {}),
    (('{"a"', ': {"b": 1}', "}"), "eos", {"a": {"b": 1}}),
    (("",), "eos", {}),
    (('"{\\"a\\": 1}"',), "eos", {"a": 1}),
    (('{"a": 1}',), "length", {"a": 1}),
    (('{"a": ',), "length", None),
    (("",), "length", None),
    (('{"a": {}',), "stop", None),
    (('{"a": ',), "cancelled", None),
    (('{"a": ',), "eos", GenerationFailed),
    (("[1]",), "eos", GenerationFailed),
    (("{'a': 1}",), "eos", GenerationFailed),
    (('"x"',), "eos", GenerationFailed),
]


@pytest.mark.parametrize(("pieces", "reason", "becomes"), ENDINGS)
def test_half_a_call_is_none_and_a_broken_one_fails(pieces: tuple[str, ...], reason: Reason, becomes: Any) -> None:
    call = chatting()
    deltas = [CallDelta(0, "f"), *(CallDelta(0, arguments=piece) for piece in pieces)]
    events = (*(calling(at, delta) for at, delta in enumerate(deltas)), finished(9, reason))
    said = lines(CHAT, call, events)
    if becomes is GenerationFailed:
        assert said == [{"error": "the model called 'f' with arguments that are not a JSON object"}]
        with pytest.raises(GenerationFailed):
            whole(CHAT, call, events)
        return
    called = [] if becomes is None else [{"id": call_id(call.request.id, 0), "function": function(0, "f", **becomes)}]
    assert messages(said) == [*(assistant(tool_calls=[each]) for each in called), assistant()]
    assert whole(CHAT, call, events).body["message"].get("tool_calls", []) == called


def test_log_probabilities_come_with_every_token_of_thoughts_and_calls() -> None:
    """Contract, section 7.5: a line without any text may carry them; none is told twice."""
    events = (
        token(0, "", piece=b"<think>", logprob=-0.1, special=True),
        token(1, "Y", reasoning="h", piece=b"h", logprob=-0.2),
        calling(2, CallDelta(0, "f"), piece=b'{"f', logprob=-0.3),
        calling(
            3, CallDelta(0, arguments="{}"), CallDelta(1, "g"), CallDelta(1, arguments="{}"), piece=b"{}", logprob=-0.4
        ),
        token(4, "", piece=b"<|im_end|>", logprob=-0.5, special=True, last=True),
        finished(5),
    )
    call = chatting(logprobs=True)
    said = lines(CHAT, call, events)
    told = [[entry["logprob"] for entry in line.get("logprobs", [])] for line in said]
    assert told == [[-0.2], [], [-0.3], [-0.4], [], []]
    assert said[2]["message"] == assistant()
    assert [entry["logprob"] for entry in whole(CHAT, call, events).body["logprobs"]] == [-0.2, -0.3, -0.4]


def test_a_reply_without_thoughts_or_calls_has_no_empty_keys() -> None:
    for line in lines(CHAT, chatting(), HELLO):
        assert set(line["message"]) == {"role", "content"}

"""Events -> messages, whole and streamed, every event read strictly by the SDK's own types, and added up by its helper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from openai_events import Bit, answered, ask, called, said, streamed
from openai_strict import strict
from pydantic import TypeAdapter
from tropilla.api.surface import Call
from tropilla.api.surfaces.anthropic import MESSAGES
from tropilla.common.generation import Event, Failed, Finished, Reason, Usage

BASE: dict[str, Any] = {"model": "pocket", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
ADD: dict[str, Any] = {"name": "add", "input_schema": {"type": "object"}}
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

SPOKEN = said(0, ["Red", " fox"], cached=3)
THOUGHT_AND_CALLED = said(
    0,
    [
        Bit("Hm", reasoning="Hm"),
        Bit(".", reasoning="."),
        Bit("So", "So"),
        Bit("{", calls=called(0, "add")),
        Bit("x", calls=called(0, "", '{"a":')),
        Bit("y", calls=called(0, "", "1}")),
        Bit("z", calls=called(1, "add", "{}")),
    ],
    reasoning=2,
)


def message(**fields: Any) -> Call:
    return ask(MESSAGES, {**BASE, "tools": [ADD], **fields})


def told(call: Call, events: Iterable[Event]) -> list[dict[str, Any]]:
    frames = streamed(MESSAGES, call, events)
    for frame in frames:
        assert frame.event == frame.data["type"]
        if frame.event != "error":
            strict(RawMessageStreamEvent, frame.data)
    return [frame.data for frame in frames]


def whole(call: Call, events: Iterable[Event]) -> dict[str, Any]:
    body: dict[str, Any] = answered(MESSAGES, call, events).body
    strict(Message, body)
    return body


def added_up(stream: Iterable[dict[str, Any]]) -> Any:
    """What the SDK's stream helper makes of it."""
    snapshot, buffers = None, dict[int, bytes]()
    for event in stream:
        read = EVENTS.validate_python(event)
        snapshot = accumulate_event(event=read, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    message = snapshot.to_dict()
    # The helper's own.
    assert message.pop("stop_details") is None
    return message


def test_a_whole_message_is_anthropics() -> None:
    call = message()
    assert whole(call, SPOKEN) == {
        "id": f"msg_{call.request.id}",
        "type": "message",
        "role": "assistant",
        "model": "pocket",
        "content": [{"type": "text", "text": "Red fox"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 3,
        },
    }


def test_a_turn_is_thinking_text_and_calls() -> None:
    body = whole(message(), THOUGHT_AND_CALLED)
    thinking, text, first, second = body["content"]
    assert thinking == {"type": "thinking", "thinking": "Hm.", "signature": ""}
    assert text == {"type": "text", "text": "So"}
    assert (first["name"], first["input"], second["input"]) == ("add", {"a": 1}, {})
    assert first["id"].startswith("toolu_")
    assert first["id"] != second["id"]
    assert body["stop_reason"] == "tool_use"


def test_the_events_of_a_message_come_in_order() -> None:
    shown = [
        (event["type"], event.get("index"), event.get("delta", {}).get("type"))
        for event in told(message(), THOUGHT_AND_CALLED)
    ]
    assert shown == [
        ("message_start", None, None),
        ("content_block_start", 0, None),
        ("content_block_delta", 0, "thinking_delta"),
        ("content_block_delta", 0, "thinking_delta"),
        ("content_block_delta", 0, "signature_delta"),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, None),
        ("content_block_delta", 1, "text_delta"),
        ("content_block_stop", 1, None),
        ("content_block_start", 2, None),
        ("content_block_delta", 2, "input_json_delta"),
        ("content_block_delta", 2, "input_json_delta"),
        ("content_block_stop", 2, None),
        ("content_block_start", 3, None),
        ("content_block_delta", 3, "input_json_delta"),
        ("content_block_stop", 3, None),
        ("message_delta", None, None),
        ("message_stop", None, None),
    ]


def test_a_stream_starts_empty_and_ends_with_everything_counted() -> None:
    start, *_, delta, stop = told(message(), SPOKEN)
    begun = start["message"]
    assert (begun["content"], begun["stop_reason"], begun["usage"]["output_tokens"]) == ([], None, 1)
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert delta["usage"] == whole(message(), SPOKEN)["usage"]
    assert stop == {"type": "message_stop"}


@pytest.mark.parametrize("events", [SPOKEN, THOUGHT_AND_CALLED, said(0, [])], ids=["spoken", "called", "empty"])
@pytest.mark.parametrize("display", ["summarized", "omitted"])
def test_a_stream_adds_up_to_the_whole(events: list[Event], display: str) -> None:
    call = message(thinking={"type": "adaptive", "display": display})
    assert added_up(told(call, events)) == whole(call, events)


def test_omitted_thoughts_are_a_block_all_the_same() -> None:
    body = whole(message(thinking={"type": "adaptive", "display": "omitted"}), THOUGHT_AND_CALLED)
    assert body["content"][0] == {"type": "thinking", "thinking": "", "signature": ""}


@pytest.mark.parametrize("length", range(len(THOUGHT_AND_CALLED)))
def test_a_stream_cut_anywhere_is_whole_blocks(length: int) -> None:
    stream = told(message(), [*THOUGHT_AND_CALLED[:length], Finished(0, 0, "length", Usage(5, 0, length), seed=1)])
    started = [event["index"] for event in stream if event["type"] == "content_block_start"]
    stopped = [event["index"] for event in stream if event["type"] == "content_block_stop"]
    assert started == stopped == list(range(len(started)))
    assert [event["type"] for event in stream[-2:]] == ["message_delta", "message_stop"]
    assert added_up(stream)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("length", range(1, len(THOUGHT_AND_CALLED)))
def test_a_stream_that_fails_ends_with_an_error(length: int) -> None:
    *begun, last = told(message(), [*THOUGHT_AND_CALLED[:length], Failed(0, "worker_lost", "gone")])
    assert "message_stop" not in [event["type"] for event in begun]
    assert last == {"type": "error", "error": {"type": "api_error", "message": "the answer was lost: gone"}}


@pytest.mark.parametrize(
    ("reason", "stop", "expected"),
    [
        ("eos", "", ("end_turn", None)),
        ("stop", "Paris", ("stop_sequence", "Paris")),
        ("length", "", ("max_tokens", None)),
        ("cancelled", "", ("end_turn", None)),
    ],
)
def test_every_reason_is_one_the_sdk_knows(reason: Reason, stop: str, expected: tuple[str, str | None]) -> None:
    events = [*said(0, ["a"], reason)[:-1], Finished(0, 0, reason, Usage(5, 0, 1), seed=1, stop=stop)]
    body = whole(message(), events)
    assert (body["stop_reason"], body["stop_sequence"]) == expected
    assert added_up(told(message(), events))["stop_reason"] == expected[0]


def test_a_call_that_was_cut_short_is_left_out_of_a_whole_message() -> None:
    events = said(0, ["So", Bit("x", calls=called(0, "add", '{"a":'))], "length")
    body = whole(message(), events)
    assert ([block["type"] for block in body["content"]], body["stop_reason"]) == (["text"], "max_tokens")
    done = said(0, ["So", Bit("x", calls=called(0, "add", '{"a":1}'))], "length")
    assert whole(message(), done)["content"][1]["input"] == {"a": 1}


@pytest.mark.parametrize(("written", "expected"), [("", {}), ("5", {"arguments": "5"}), ("{a", {"arguments": "{a"})])
def test_arguments_that_are_no_object_are_handed_over_as_they_are(written: str, expected: dict[str, Any]) -> None:
    events = said(0, [Bit("x", calls=called(0, "add", written))])
    assert whole(message(), events)["content"][0]["input"] == expected


def test_silence_is_told_by_an_event_of_its_own() -> None:
    assert MESSAGES.framing.heartbeat == b'event: ping\ndata: {"type":"ping"}\n\n'

"""Events -> responses, whole and streamed, every event read strictly by the SDK's own types."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai_events import NOW, Bit, answered, ask, called, said, streamed
from openai_strict import strict
from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.responses import RESPONSES
from tropilla.common.generation import Event, Failed, Finished, Usage

TOOL: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}}
MORE = {"ResponseFunctionCallArgumentsDoneEvent": {"name"}, "Logprob": {"bytes"}, "LogprobTopLogprob": {"bytes"}}
LOGPROBS: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}

SPOKEN = said(0, ["Red", " fox"], cached=3)
THOUGHT_AND_CALLED = said(
    0,
    [
        Bit("Hm", reasoning="Hm"),
        Bit(".", reasoning="."),
        Bit("So", "So"),
        Bit(" be", " be"),
        Bit("{", calls=called(0, "add")),
        Bit("x", calls=called(0, "", '{"a":')),
        Bit("y", calls=called(0, "", "1}")),
        Bit("z", calls=called(1, "add", "{}")),
    ],
    reasoning=2,
)


def response(**fields: Any) -> Call:
    return ask(RESPONSES, {"input": "Hi", "tools": [TOOL], **fields})


def told(call: Call, events: Iterable[Event]) -> list[dict[str, Any]]:
    frames = streamed(RESPONSES, call, events)
    for frame in frames:
        assert frame.event == frame.data["type"]
        strict(ResponseStreamEvent, frame.data, more=MORE)
    assert [frame.data["sequence_number"] for frame in frames] == list(range(len(frames)))
    return [frame.data for frame in frames]


def whole(call: Call, events: Iterable[Event]) -> dict[str, Any]:
    body: dict[str, Any] = answered(RESPONSES, call, events).body
    strict(Response, body)
    return body


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_whole_response_is_openais() -> None:
    call = response(metadata={"a": "b"}, max_output_tokens=9)
    reply = answered(RESPONSES, call, SPOKEN)
    assert reply.headers == {}
    body = whole(call, SPOKEN)
    assert (body["id"], body["object"], body["status"]) == (f"resp_{call.request.id}", "response", "completed")
    assert (body["created_at"], body["completed_at"]) == (int(NOW), int(NOW + 1.5))
    assert (body["error"], body["incomplete_details"]) == (None, None)
    assert (body["metadata"], body["max_output_tokens"], body["tool_choice"]) == ({"a": "b"}, 9, "auto")
    assert body["output"] == [
        {
            "type": "message",
            "id": f"msg_{call.request.id}_0",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Red fox", "annotations": [], "logprobs": []}],
        }
    ]
    assert body["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }


def test_the_repeated_request_is_typed_in_every_form() -> None:
    whole(
        response(
            instructions="Be.",
            text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
            reasoning={"effort": "low"},
            tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]},
            truncation="auto",
            max_output_tokens=2**63 - 1,
        ),
        SPOKEN,
    )


def test_the_events_of_a_message_come_in_order() -> None:
    events = told(response(), SPOKEN)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["response"]["status"] for event in (events[0], events[1], events[-1])] == [
        "in_progress",
        "in_progress",
        "completed",
    ]


def test_a_turn_is_a_reasoning_a_message_and_calls() -> None:
    call = response()
    output = whole(call, THOUGHT_AND_CALLED)["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert (output[0]["content"][0]["text"], output[0]["summary"]) == ("Hm.", [])
    assert output[1]["content"][0]["text"] == "So be"
    assert [(item["name"], item["arguments"]) for item in output[2:]] == [("add", '{"a":1}'), ("add", "{}")]
    assert len({item["id"] for item in output}) == 4
    assert len({item["call_id"] for item in output[2:]}) == 2
    assert kinds(told(call, THOUGHT_AND_CALLED)) == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def check_nesting(events: list[dict[str, Any]]) -> None:
    """Items one after the other; within one, its own id; what is done is what its deltas add up to."""
    item: dict[str, Any] = {}
    spelled, place = "", -1
    for event in events:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert not item
            assert event["output_index"] == place + 1
            item, place, spelled = event["item"], event["output_index"], ""
        elif kind == "output_item.done":
            assert (event["item"]["id"], event["output_index"]) == (item["id"], place)
            item = {}
        elif "item_id" in event:
            assert (event["item_id"], event["output_index"]) == (item["id"], place)
        if kind.endswith(".delta"):
            spelled += event["delta"]
        if kind.endswith(("text.done", "arguments.done")):
            assert event.get("text", event.get("arguments")) == spelled


@pytest.mark.parametrize("events", [SPOKEN, THOUGHT_AND_CALLED], ids=["spoken", "called"])
def test_deltas_add_up_to_what_is_done_and_that_to_the_whole(events: list[Event]) -> None:
    call = response()
    stream = told(call, events)
    check_nesting(stream)
    done = [event["item"] for event in stream if event["type"] == "response.output_item.done"]
    whole_body = whole(call, events)
    assert done == stream[-1]["response"]["output"] == whole_body["output"]
    assert {**stream[-1]["response"], "completed_at": 0} == {**whole_body, "completed_at": 0}


@pytest.mark.parametrize("length", range(len(THOUGHT_AND_CALLED)))
def test_an_answer_cut_anywhere_is_nested_and_incomplete(length: int) -> None:
    usage = Usage(5, 0, length, min(length, 2))
    stream = told(response(), [*THOUGHT_AND_CALLED[:length], Finished(0, 0, "length", usage, seed=1)])
    check_nesting(stream)
    last = stream[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["completed_at"] is None
    assert [item["status"] for item in last["response"]["output"]][:-1] == ["completed"] * (
        len(last["response"]["output"]) - 1
    )
    assert all(item["status"] == "incomplete" for item in last["response"]["output"][-1:])


@pytest.mark.parametrize("length", range(len(THOUGHT_AND_CALLED)))
def test_a_stream_that_fails_anywhere_ends_with_an_error_and_a_failed_response(length: int) -> None:
    stream = told(response(), [*THOUGHT_AND_CALLED[:length], Failed(0, "worker_lost", "gone")])
    *begun, error, last = stream
    assert not any(kind in ("error", "completed", "incomplete", "failed") for kind in kinds(begun))
    assert (error["type"], error["code"], error["message"]) == ("error", "server_error", "The answer was lost: gone.")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": "The answer was lost: gone."}
    items = last["response"]["output"]
    assert [item["status"] for item in items[:-1]] == ["completed"] * len(items[:-1])
    assert kinds(begun).count("output_item.added") == len(items)


def test_the_kind_of_text_that_follows_a_call_is_another_message() -> None:
    events = said(0, [Bit("a", "a"), Bit("c", calls=called(0, "add", "{}")), Bit("b", "b")])
    assert [item["type"] for item in whole(response(), events)["output"]] == ["message", "function_call", "message"]


@pytest.mark.parametrize(("reason", "output"), [("eos", ["message"]), ("length", [])])
def test_a_complete_answer_of_nothing_has_a_message_all_the_same(reason: Any, output: list[str]) -> None:
    events = said(0, [], reason)
    assert [item["type"] for item in whole(response(), events)["output"]] == output
    check_nesting(told(response(), events))


def test_thoughts_alone_are_followed_by_an_empty_message() -> None:
    output = whole(response(), said(0, [Bit("Hm", reasoning="Hm")]))["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]


def test_logprobs_are_those_of_the_text() -> None:
    call = response(**LOGPROBS)
    events = said(0, [Bit("Hm", reasoning="Hm"), "Red", (b"\xf0\x9f", ""), (b"\x98\x80", "😀")], top=2)
    stream = told(call, events)
    deltas = [event["logprobs"] for event in stream if event["type"] == "response.output_text.delta"]
    assert [[entry["bytes"] for entry in logprobs] for logprobs in deltas] == [
        [list(b"Red")],
        [[0xF0, 0x9F], [0x98, 0x80]],
    ]
    (done,) = [event for event in stream if event["type"] == "response.output_text.done"]
    message = whole(call, events)["output"][1]
    assert list(itertools.chain(*deltas)) == done["logprobs"] == message["content"][0]["logprobs"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in done["logprobs"])


def test_every_telling_has_the_same_ids() -> None:
    call = response()
    assert told(call, THOUGHT_AND_CALLED) == told(call, THOUGHT_AND_CALLED)

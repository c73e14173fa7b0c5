from __future__ import annotations

import json
from typing import Any

import pytest
from tropilla.api.framing import NDJSON, SSE, Framing, compact, ndjson, sse

AWKWARD: list[Any] = [{"t": "line\nline\r\n\u2028"}, {"t": "naïve 👍"}, [], None, 7, {"data": ": x\n\ndata: y"}]


@pytest.mark.parametrize("value", AWKWARD)
def test_an_event_is_one_data_line_and_a_blank_one(value: Any) -> None:
    frame = sse(value)
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 2
    assert b"\r" not in frame
    assert json.loads(frame[6:]) == value


@pytest.mark.parametrize("value", AWKWARD)
def test_an_ndjson_object_is_one_line(value: Any) -> None:
    line = ndjson(value)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == value


def test_text_goes_out_as_it_stands() -> None:
    assert sse("[DONE]") == b"data: [DONE]\n\n"


def test_an_events_name_stands_before_its_data() -> None:
    assert sse({"a": 1}, "error") == b'event: error\ndata: {"a":1}\n\n'
    assert ndjson({"a": 1}, "error") == b'{"a":1}\n'


def test_numbers_json_does_not_know_become_null() -> None:
    assert compact([float("nan"), float("inf"), float("-inf"), 1.5]) == b"[null,null,null,1.5]"


def test_a_heartbeat_is_a_comment_to_sse_and_blank_to_json() -> None:
    assert all(line == b"" or line.startswith(b":") for line in SSE.heartbeat.split(b"\n"))
    # A blank line would end an event, and one that has inherited an `id` is told by OpenAI's client.
    assert SSE.heartbeat.count(b"\n") == 1
    assert SSE.comment is not None
    assert SSE.comment("queued") == b": queued\n"
    assert json.loads(NDJSON.heartbeat + ndjson({"a": 1})) == {"a": 1}
    assert b"\n" not in NDJSON.heartbeat


@pytest.mark.parametrize("framing", [SSE, NDJSON])
def test_nothing_between_us_and_the_client_may_hold_a_token_back(framing: Framing) -> None:
    assert (framing.headers["Cache-Control"], framing.headers["X-Accel-Buffering"]) == ("no-cache, no-store", "no")

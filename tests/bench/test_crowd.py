"""What callers heard -> figures."""

from __future__ import annotations

import json

import pytest

from bench.crowd import Heard, answers, gaps


def event(*indices: int) -> bytes:
    return json.dumps({"choices": [{"text": "".join(f" {index}.a0" for index in indices)}]}).encode()


#: Three events in one read, one of two tokens; then one; then the end.
HEARD = Heard(1.0, 200, [(1.5, [event(0), event(1, 2)]), (1.7, [event(3)]), (1.9, [event(), b"[DONE]"])])


def test_every_token_has_the_time_of_its_read() -> None:
    assert HEARD.tokens() == [1.5, 1.5, 1.5, 1.7]


def test_only_what_came_in_the_window_counts_and_streams_are_apart() -> None:
    other = Heard(0.0, 200, [(1.0, [event(0)]), (2.0, [event(1)]), (9.0, [event(2)])])
    seen = gaps([HEARD, other], 1.2, 2.0)
    assert seen["tokens"] == 5
    assert seen["gap_p50_ms"] == 0
    assert seen["gap_p99_ms"] == pytest.approx(200)


def test_an_answer_begins_with_its_first_event() -> None:
    seen = answers([HEARD, Heard(0.0, 200, [(0.1, [event(0)])])])
    assert (seen["requests"], seen["tokens"]) == (2, 5)
    assert seen["ttft_p50_ms"] == pytest.approx(100)
    assert seen["ttft_p99_ms"] == pytest.approx(500)

"""Answers of all three servers, cut everywhere."""

from __future__ import annotations

import pytest

from bench.wire import Answer, Chunked, Events, post, read_head

EVENTS = [b'{"choices":[{"text":" w1"}]}', b'{"choices":[],"usage":{"completion_tokens":1}}', b"[DONE]"]
STREAM = b"".join(b"data: " + event + b"\n\n" for event in EVENTS)


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + STREAM
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(STREAM, 7)
CARRIAGE = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + chunked(
    b": ping\r\n\r\n" + STREAM.replace(b"\n", b"\r\n"), 1000
)


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, CARRIAGE])
def test_events_are_the_same_wherever_the_bytes_are_cut(answer: bytes) -> None:
    for cut in range(len(answer) + 1):
        reading = Answer()
        assert [*reading.feed(answer[:cut]), *reading.feed(answer[cut:])] == EVENTS


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, CARRIAGE])
def test_events_are_the_same_byte_by_byte(answer: bytes) -> None:
    reading = Answer()
    assert [event for byte in answer for event in reading.feed(bytes([byte]))] == EVENTS


def test_an_error_is_kept_whole() -> None:
    reading = Answer()
    said = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b'{"error": "no"}', 4)
    assert not reading.feed(said[:50])
    assert not reading.feed(said[50:])
    assert (reading.head and reading.head.status, reading.rest) == (400, b'{"error": "no"}')


def test_a_chunk_extension_and_what_follows_the_last_chunk_are_passed_over() -> None:
    coding = Chunked()
    assert coding.feed(b"3;name=value\r\nabc\r\n0\r\n\r\nnext") == b"abc"
    assert coding.finished


def test_an_event_is_complete_with_its_line() -> None:
    events = Events()
    assert events.feed(b"event: x\ndata: a") == []
    assert events.feed(b"b\n") == [b"ab"]


def test_a_head_says_status_and_coding() -> None:
    head = read_head(b"HTTP/1.1 503 Service Unavailable\r\nServer: x")
    assert (head.status, head.chunked) == (503, False)


def test_a_request_says_its_length() -> None:
    assert post("/v1/completions", 80, b"{}").endswith(b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")

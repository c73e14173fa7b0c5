"""Objects -> body bytes: server-sent events and newline-delimited JSON, and what each sends when nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson


def compact(value: Any) -> bytes:
    """JSON on one line. NaN and infinities become null: no client reads them."""
    return orjson.dumps(value)


def sse(data: Any, event: str = "", place: str = "") -> bytes:
    """One server-sent event; text goes out as it stands (`[DONE]`), everything else as JSON. `place`: what a client that
    comes again says in `Last-Event-ID`.
    """
    body = data.encode() if isinstance(data, str) else compact(data)
    head = f"event: {event}\n".encode() if event else b""
    # Behind the data: clients that read line by line take the first line for the event's.
    tail = f"\nid: {place}".encode() if place else b""
    return head + b"data: " + body + tail + b"\n\n"


def ndjson(data: Any, _event: str = "", _place: str = "") -> bytes:
    """One line; this framing has no place for names and places: lines can be counted."""
    return compact(data) + b"\n"


def sse_comment(text: str) -> bytes:
    """A line, and no blank one behind it: an event ends there, and OpenAI's client takes one that has inherited the `id` of
    the last for an event without data.
    """
    return f": {text}\n".encode()


class Frame(Protocol):
    def __call__(self, data: Any, event: str = "", place: str = "", /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream looks on the wire. `heartbeat` is what every parser of the format passes over; `comment` makes such a
    thing of a line of text, where the format has a place for words.
    """

    frame: Frame
    heartbeat: bytes
    headers: Mapping[str, str]
    comment: Callable[[str], bytes] | None = None

    @property
    def comments(self) -> bool:
        return self.comment is not None


#: Nothing between us and the client may hold a token back.
_NO_BUFFER = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
SSE = Framing(sse, sse_comment(""), {"Content-Type": "text/event-stream; charset=utf-8", **_NO_BUFFER}, sse_comment)
#: One space before the next object: the Python, JavaScript and Go clients of Ollama accept it, a blank line they do not.
NDJSON = Framing(ndjson, b" ", {"Content-Type": "application/x-ndjson", **_NO_BUFFER})

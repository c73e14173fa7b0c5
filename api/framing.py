"""Objects -> body bytes: server-sent events and newline-delimited JSON, and what each sends when nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


def compact(value: Any) -> bytes:
    """JSON on one line. NaN and infinities become null: no client reads them."""
    return orjson.dumps(value)


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event; text goes out as it stands (`[DONE]`), everything else as JSON."""
    body = data.encode() if isinstance(data, str) else compact(data)
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + body + b"\n\n"


def ndjson(data: Any, _event: str = "") -> bytes:
    """One line; this framing has no place for event names."""
    return compact(data) + b"\n"


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream looks on the wire. `heartbeat` is what every parser of the format passes over."""

    frame: Callable[[Any, str], bytes]
    heartbeat: bytes
    headers: Mapping[str, str]


#: Nothing between us and the client may hold a token back.
_NO_BUFFER = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
SSE = Framing(sse, b": \n\n", {"Content-Type": "text/event-stream; charset=utf-8", **_NO_BUFFER})
#: One space before the next object: the Python, JavaScript and Go clients of Ollama accept it, a blank line they do not.
NDJSON = Framing(ndjson, b" ", {"Content-Type": "application/x-ndjson", **_NO_BUFFER})

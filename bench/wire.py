"""Bytes of an HTTP answer -> server-sent events. Pure: objects that are fed, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LINE_END = b"\r\n"
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of the status line and the headers."""

    status: int
    chunked: bool


def read_head(head: bytes) -> Head:
    """From everything before the empty line."""
    first, *lines = head.split(LINE_END)
    headers = dict(line.lower().split(b":", 1) for line in lines if b":" in line)
    return Head(int(first.split(b" ", 2)[1]), b"chunked" in headers.get(b"transfer-encoding", b""))


def post(path: str, port: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The whole request; one connection each, so that no server gains by another's habits of keeping them."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + body


class Chunked:
    """Takes chunked transfer coding off (RFC 9112, section 7.1). `finished` after the last chunk."""

    def __init__(self) -> None:
        self.finished = False
        self._waiting = b""
        self._missing = 0

    def feed(self, data: bytes) -> bytes:
        self._waiting += data
        parts: list[bytes] = []
        while not self.finished and self._step(parts):
            pass
        return b"".join(parts)

    def _step(self, parts: list[bytes]) -> bool:
        """One piece further; False where bytes are missing."""
        if self._missing:
            return self._take(parts)
        size, found, rest = self._waiting.partition(LINE_END)
        if not found:
            return False
        self._waiting = rest
        length = int(size.split(b";")[0], 16)
        self.finished = length == 0
        # The line end that closes a chunk is counted with it, and cut off when it is complete.
        self._missing = length + len(LINE_END) if length else 0
        return True

    def _take(self, parts: list[bytes]) -> bool:
        if not self._waiting:
            return False
        now, self._waiting = self._waiting[: self._missing], self._waiting[self._missing :]
        before, self._missing = self._missing, self._missing - len(now)
        parts.append(now[: max(0, before - len(LINE_END))])
        return True


class Events:
    """Text of an event stream -> the data of every complete event; comments and other fields are passed over."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


class Answer:
    """One answer on one connection: `head` when it is known, then events."""

    def __init__(self) -> None:
        self.head: Head | None = None
        #: What an answer said that is no stream: an error in full.
        self.rest = b""
        self._waiting = b""
        self._chunked = Chunked()
        self._events = Events()

    def feed(self, data: bytes) -> list[bytes]:
        if self.head is None:
            self._waiting += data
            head, found, data = self._waiting.partition(HEAD_END)
            if not found:
                return []
            self.head = read_head(head)
        if self.head.chunked:
            data = self._chunked.feed(data)
        if self.head.status != 200:
            self.rest += data
            return []
        return self._events.feed(data)

"""Requests of which two servers could think differently where they end, each with another one hidden in it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Somebody who has answered this was led astray: nobody asks for it but from inside of another request's body.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
HONEST = HIDDEN + HIDDEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
#: Of one answer, in seconds; a server that waits for the rest of a body says nothing.
ANSWER_SECONDS = 5.0


def _post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"\r\n".join((b"POST /v1/completions HTTP/" + version, b"Host: localhost", *headers))
    return head + b"\r\n\r\n" + body


_CHUNKED, _END = b"Transfer-Encoding: chunked", b"0\r\n\r\n"
_LENGTH = b"Content-Length: %d" % len(_END + HIDDEN)
_SHORT = b"Content-Length: 4"
_JSON = b"Content-Type: application/json"

PROBES: Mapping[str, bytes] = {
    "length and chunks": _post(_LENGTH, _CHUNKED, body=_END + HIDDEN),
    "chunks and length": _post(_CHUNKED, _SHORT, body=b"5c\r\n" + HIDDEN + _END),
    "two lengths": _post(b"Content-Length: 0", _LENGTH, body=_END + HIDDEN),
    "a list of lengths": _post(b"Content-Length: 0, 48", body=HIDDEN),
    "a length with a sign": _post(b"Content-Length: +0", body=HIDDEN),
    "a negative length": _post(b"Content-Length: -1", body=HIDDEN),
    "a length in hex": _post(b"Content-Length: 0x0", body=HIDDEN),
    "another coding": _post(b"Transfer-Encoding: xchunked", body=_END + HIDDEN),
    "chunked not last": _post(b"Transfer-Encoding: chunked, identity", body=_END + HIDDEN),
    "chunked twice": _post(b"Transfer-Encoding: chunked, chunked", body=_END + HIDDEN),
    "two codings": _post(_CHUNKED, b"Transfer-Encoding: identity", body=_END + HIDDEN),
    "a space before the colon": _post(b"Transfer-Encoding : chunked", b"Content-Length: 4", body=b"5c\r\n" + HIDDEN),
    "a vertical tab": _post(b"Transfer-Encoding:\x0bchunked", b"Content-Length: 4", body=b"5c\r\n" + HIDDEN),
    "a folded line": _post(b"X-A: b\r\n Content-Length: 0", b"Content-Length: 0", body=HIDDEN),
    "a folded coding": _post(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 4", body=b"5c\r\n" + HIDDEN),
    "a NUL in a value": _post(b"X-A: b\0c", b"Content-Length: 0", body=HIDDEN),
    "a bare CR in a value": _post(b"X-A: b\rContent-Length: 48", b"Content-Length: 0", body=HIDDEN),
    "no name": _post(b": b", b"Content-Length: 0", body=HIDDEN),
    "a chunk size with a prefix": _post(_JSON, _CHUNKED, body=b"0x2\r\n{}\r\n" + _END + HIDDEN),
    "a chunk size with a sign": _post(_JSON, _CHUNKED, body=b"+2\r\n{}\r\n" + _END + HIDDEN),
    "a negative chunk": _post(_JSON, _CHUNKED, body=b"-2\r\n{}\r\n" + _END + HIDDEN),
    "a chunk that is longer than it says": _post(_JSON, _CHUNKED, body=b"2\r\n{}{}\r\n" + _END + HIDDEN),
    "no chunk size": _post(_JSON, _CHUNKED, body=b"\r\n" + _END + HIDDEN),
    "a header of 70 kB": _post(b"X-A: " + b"b" * 70_000, b"Content-Length: 0", body=HIDDEN),
    "a path of 70 kB": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "a thousand headers": _post(*(b"X-%d: b" % n for n in range(5000)), b"Content-Length: 0", body=HIDDEN),
    "no such version": _post(_LENGTH, body=_END + HIDDEN, version=b"1.9.9"),
}


@contextmanager
def plain(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as line:
        yield line


@contextmanager
def tls(port: int, certificate: Path) -> Iterator[socket.socket]:
    trust = ssl.create_default_context(cafile=str(certificate))
    with plain(port) as bare, trust.wrap_socket(bare, server_hostname="localhost") as line:
        yield line


def statuses(sent: bytes, line: socket.socket) -> list[int]:
    """Of every answer until the server closes the connection, which it has to."""
    heard = bytearray()
    try:
        line.sendall(sent)
        while piece := line.recv(65536):
            heard += piece
    except TimeoutError:
        raise AssertionError(f"the connection stays open after {bytes(heard[:200])!r}") from None
    except OSError:
        # Closed while we were still talking.
        pass
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", bytes(heard))]


def check(probe: bytes, line: socket.socket) -> None:
    """One refusal at the most, and then nothing: what is hidden in it is asked of nobody."""
    found = statuses(probe, line)
    assert len(found) <= 1, found
    assert all(400 <= status < 600 and status != 500 for status in found), found

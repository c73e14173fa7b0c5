"""A cluster to talk to that is none: HTTP answers out of a table, and what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Any
    headers: dict[str, str]


#: What goes out: a JSON value, or pieces of a stream, of which a callable is called in their turn.
Piece = bytes | Callable[[], None]


class StandIn:
    """`answers`: (method, path) -> (status, JSON value | list of pieces). Where nothing is known, 404 in Ollama's words."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        #: Set when somebody hung up in the middle of a stream.
        self.left = threading.Event()
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(data) if data else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                standin.asked.append(Asked(self.command, self.path, body, headers))
                default = (404, {"error": f"model '{(body or {}).get('model')}' not found"})
                status, answer = standin.answers.get((self.command, self.path), default)
                self.send_response(status)
                if isinstance(answer, list):
                    self.stream(answer)
                    return
                whole = (
                    answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer is not None else b""
                )
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def stream(self, pieces: list[Piece]) -> None:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in pieces:
                        if callable(piece):
                            piece()
                        else:
                            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except ConnectionError:
                    standin.left.set()
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def streams(self, path: str, *items: Any) -> None:
        """One object a line; what is bytes or callable goes as it is."""
        pieces = [item if isinstance(item, bytes) or callable(item) else lines(item) for item in items]
        self.answers["POST", path] = (200, pieces)


def lines(*items: Any) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def endless(standin: StandIn, piece: Callable[[], bytes]) -> Any:
    """Pieces without end, until somebody leaves."""

    class Pieces(list[Any]):
        def __iter__(self) -> Any:
            while not standin.left.is_set():
                yield piece()

    return Pieces()


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


Tropilla = Callable[..., Said]

"""Stand-ins for what models are fetched from: small real servers on real sockets, in threads.

An `Upstream` answers by a table of routes; each is a function from what was asked to what is said. `Content` serves a file
with ranges, and misbehaves as it is told to, one request after the other; `Hub` and `OllamaRegistry` are tables of routes.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

#: For the name localhost, signed by itself.
CERTIFICATE = Path(__file__).with_name("localhost.pem")
COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def start(self) -> int | None:
        """Where the wanted range begins."""
        found = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", self.headers.get("range", ""))
        return int(found[1]) if found else None


@dataclass
class Said:
    """`length` announces another one than the body has, -1 none; `stall` says nothing more behind the body, and stays."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    stall: bool = False


Route = Callable[[Asked], Said]


class _Server(http.server.ThreadingHTTPServer):
    """A client that goes away, or does not trust us, is what some tests are about."""

    def handle_error(self, *_: object) -> None:
        pass


class Upstream:
    """A server; `asked` is everything it was asked, in order. Routes are by path, without the query."""

    def __init__(self, routes: Mapping[str, Route] | None = None, *, tls: bool = False) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.asked: list[Asked] = []
        self._closing = threading.Event()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
                upstream.asked.append(asked)
                route = upstream.routes.get(asked.path.partition("?")[0], lambda _: Said(404))
                self._say(route(asked))

            do_GET = do_HEAD = _answer  # noqa: N815

            def _say(self, said: Said) -> None:
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                if said.length != -1:
                    self.send_header("Content-Length", str(len(said.body) if said.length is None else said.length))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(said.body)
                    self.wfile.flush()
                if said.stall:
                    upstream._closing.wait()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.place}{path}"

    @property
    def gets(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "GET"]

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Content:
    """A file. `turns` are what happens to the next GET requests; after them, it is served as it should be.

    ranges · no-ranges · wrong-start · wrong-total · drop:N (N bytes, then the line is cut) · stall:N · STATUS ·
    STATUS@SECONDS (with Retry-After) · html · short (a size less than announced before)
    """

    def __init__(self, data: bytes, *turns: str, etag: str = '"v1"', no_head: bool = False) -> None:
        self.data = data
        self.turns = deque(turns)
        self.etag = etag
        self.no_head = no_head

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "HEAD":
            return Said(405) if self.no_head else Said(200, headers=self._headers(), length=len(self.data))
        kind, _, number = (self.turns.popleft() if self.turns else "ranges").partition(":")
        if kind == "html":
            return Said(200, b"<!DOCTYPE html><html>Sign in</html>", {"Content-Type": "text/html"})
        if kind[0].isdigit():
            status, _, seconds = kind.partition("@")
            return Said(int(status), headers={"Retry-After": seconds} if seconds else {})
        said = self._whole() if kind == "no-ranges" else self._ranged(asked, kind)
        if kind in ("drop", "stall"):
            said.length, said.body, said.stall = len(said.body), said.body[: int(number)], kind == "stall"
        if kind == "short":
            said = Said(200, self.data[:-7], self._headers())
        return said

    def _headers(self) -> dict[str, str]:
        return {"ETag": self.etag} if self.etag else {}

    def _whole(self) -> Said:
        return Said(200, self.data, self._headers())

    def _ranged(self, asked: Asked, kind: str) -> Said:
        start, total = asked.start, len(self.data)
        if start is None or asked.headers.get("if-range", self.etag) != self.etag:
            return self._whole()
        if start >= total:
            return Said(416, headers={"Content-Range": f"bytes */{total}"})
        end = total if asked.headers["range"][-1] == "-" else int(asked.headers["range"].rpartition("-")[2]) + 1
        first = start + (1 if kind == "wrong-start" else 0)
        claimed = total + (1 if kind == "wrong-total" else 0)
        return Said(
            206, self.data[start:end], self._headers() | {"Content-Range": f"bytes {first}-{end - 1}/{claimed}"}
        )


@dataclass
class Hub:
    """The hub's three questions about one repository, whose content is on another server: sizes, sums and a listing."""

    repo: str
    files: Mapping[str, bytes]
    content: Upstream
    page: int = 2
    #: Path of a file -> (status, X-Error-Code).
    faults: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def routes(self) -> dict[str, Route]:
        listing = f"/api/models/{self.repo}/tree/main"
        found: dict[str, Route] = {listing: self._tree}
        for path, data in self.files.items():
            self.content.routes.setdefault(f"/cdn/{quote(path)}", Content(data))
            for revision in ("main", COMMIT):
                found[f"/{self.repo}/resolve/{revision}/{quote(path)}"] = self._resolve
        for path, (status, code) in self.faults.items():
            headers = {"X-Error-Code": code} if code else {}
            found[f"/{self.repo}/resolve/main/{quote(path)}"] = lambda _, s=status, h=headers: Said(s, headers=h)
        missing = Said(404, headers={"X-Error-Code": "EntryNotFound"})
        for total in (2, 3):
            for index in range(1, total + 1):
                path = f"/{self.repo}/resolve/main/m-{index:05d}-of-{total:05d}.gguf"
                found.setdefault(path, lambda _: missing)
        return found

    def _resolve(self, asked: Asked) -> Said:
        path = unquote(asked.path.split("/", 5)[5])
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(self.files[path]).hexdigest()}"',
            "X-Linked-Size": str(len(self.files[path])),
            "Location": self.content.url(f"/cdn/{quote(path)}"),
        }
        return Said(302, headers=headers)

    def _tree(self, asked: Asked) -> Said:
        cursor = int(asked.path.partition("cursor=")[2] or 0)
        paths = list(self.files)
        items = [{"type": "file", "path": path, "size": len(self.files[path])} for path in paths]
        headers = {}
        if cursor + self.page < len(items):
            link = f"/api/models/{self.repo}/tree/main?recursive=true&cursor={cursor + self.page}"
            headers["Link"] = f'<{link}>; rel="next"'
        shown = [{"type": "directory", "path": "sub"}, *items[cursor : cursor + self.page]]
        return Said(200, json.dumps(shown).encode(), headers)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def registry_routes(name: str, layers: list[tuple[str, bytes]], config: Any = None) -> dict[str, Route]:
    """An Ollama registry with one model, `ns/model:tag`; layers are (the end of the media type, content)."""
    path, _, tag = name.partition(":")
    about = json.dumps(config or {"model_format": "gguf"}).encode()
    manifest = {
        "schemaVersion": 2,
        "config": _layer("application/vnd.docker.container.image.v1+json", about),
        "layers": [_layer(f"application/vnd.ollama.image.{kind}", data) for kind, data in layers],
    }
    routes: dict[str, Route] = {f"/v2/{path}/manifests/{tag}": lambda _: Said(200, json.dumps(manifest).encode())}
    for data in (about, *(data for _, data in layers)):
        routes[f"/v2/{path}/blobs/{digest(data)}"] = Content(data)
    return routes


def _layer(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}

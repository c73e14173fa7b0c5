"""A server of files by their digests, as the API is one: for workers that have none yet."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tropilla.workers.card import digest_of


class Shop(ThreadingHTTPServer):
    """Answers as the API does: files by their digests, to whoever shows the secret. `asked` are the paths."""

    secret = "the cluster's own"

    def __init__(self, *paths: Path) -> None:
        self.files = {f"/internal/blobs/{digest_of(path)}": path.read_bytes() for path in paths}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Counter)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Counter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Shop)
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        known = self.headers["authorization"] == f"Bearer {self.server.secret}"
        content = content if known else None
        self.send_response(401 if not known else 404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass

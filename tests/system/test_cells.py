"""The router in front of cells: nginx (Debian's package nginx) with the configuration that docs/scale.md shows."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cluster.herd import free_port, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
CELLS = ("cell-a", "cell-b")
KEYS = 200

AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{shown}
}}
"""


class Cell(ThreadingHTTPServer):
    """Says which one it is."""

    def __init__(self, name: str) -> None:
        self.called = name
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Cell)
        body = self.server.called.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def shown(port: int, cells: list[Cell]) -> str:
    """The page's configuration, with the addresses of this test in place of a cluster's."""
    text = PAGE.read_text().split("```nginx\n")[1].split("```")[0]
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    for cell in cells:
        text = text.replace(f"tropilla-api.{cell.called}.svc.cluster.local", f"127.0.0.1:{cell.server_port}")
    return text.replace("resolver kube-dns.kube-system.svc.cluster.local valid=10s;", "")


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert nginx, "there is no nginx: apt-get install nginx"
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with ExitStack() as stack:
        cells = [stack.enter_context(Cell(name)) for name in CELLS]
        for cell in cells:
            Thread(target=cell.serve_forever, daemon=True).start()
            stack.callback(cell.shutdown)
        file = folder / "nginx.conf"
        file.write_text(AROUND.format(folder=folder, shown=shown(port, cells)))
        process = subprocess.Popen([nginx, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")])
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        wait_for(lambda: _listens(port), "nginx")
        yield port


def _listens(port: int) -> bool:
    try:
        return bool(asked(port, {}))
    except OSError:
        return False


def asked(port: int, headers: dict[str, str]) -> str:
    """Which cell answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/v1/models", headers=headers)
        return connection.getresponse().read().decode()


def test_a_key_always_comes_to_the_same_cell(router: int) -> None:
    keys = [{"Authorization": f"Bearer trp_{number}"} for number in range(KEYS)]
    keys += [{"x-api-key": f"trp_{number}"} for number in range(KEYS)]
    first, again = ([asked(router, key) for key in keys] for _ in range(2))
    assert first == again
    shares = Counter(first)
    assert set(shares) == set(CELLS)
    assert min(shares.values()) > 0.4 * len(keys)


def test_who_has_no_key_is_answered_by_one_cell(router: int) -> None:
    assert len({asked(router, {}) for _ in range(5)}) == 1

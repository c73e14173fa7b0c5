"""Behind Debian's nginx with compose/nginx/tropilla.conf as it stands, but for its ports, certificate and one time-out."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import endless
import pytest
from cluster import smuggling
from cluster.herd import Herd, free_port, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, ask, text_of
from tropilla.common import names

ROOT = Path(__file__).parents[2]
CERTIFICATE = ROOT / "tests" / "localhost.pem"
#: Much shorter than a queue is long, and longer than the herd is ever silent.
READ_SECONDS, HEARTBEAT_SECONDS = 2, 0.5

#: What a whole nginx needs around the file, without root.
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tropilla.conf;
}}
"""


class Proxy:
    """nginx before a herd, in a folder of its own. To be stopped."""

    def __init__(self, herd: Herd, folder: Path) -> None:
        binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        assert binary, "there is no nginx on this machine: apt-get install nginx-light"
        self.herd, self.folder = herd, folder
        self.plain_port, self.port = free_port(), free_port()
        (folder / "tropilla.conf").write_text(self._rendered())
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
        command = [binary, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self._listens, "nginx")

    def _rendered(self) -> str:
        text = (ROOT / "compose" / "nginx" / "tropilla.conf").read_text()
        for written, meant in {
            "server 127.0.0.1:8000": f"server 127.0.0.1:{self.herd.api_port}",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/tropilla/fullchain.pem": str(CERTIFICATE),
            "/etc/ssl/tropilla/privkey.pem": str(CERTIFICATE),
            "/var/log/nginx/tropilla.log": str(self.folder / "access.log"),
            "proxy_read_timeout    3660s": f"proxy_read_timeout    {READ_SECONDS}s",
        }.items():
            assert text.count(written) == 1, f"tropilla.conf says {written!r} {text.count(written)} times"
            text = text.replace(written, meant)
        return text

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.folder / "error.log").read_text()
        try:
            self.connect().request("GET", "/livez")
        except OSError:
            return False
        return True

    def connect(self) -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cafile=str(CERTIFICATE))
        return http.client.HTTPSConnection("localhost", self.port, timeout=30, context=trust)

    def ask(
        self, path: str, body: object = None, *, method: str = "POST", headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = self.connect()
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        return connection.getresponse()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Before one worker with one slot, whose model never stops by itself."""
    folder = tmp_path_factory.mktemp("behind")
    (folder / "nginx").mkdir()
    model = f"endless={endless.write(folder / 'endless.gguf')}"
    herd = Herd(folder, model=model, context=8192, threads=1, slots=1, max_queue=1, heartbeat_seconds=HEARTBEAT_SECONDS)
    try:
        herd.start_worker()
        herd.start_api()
        proxy = Proxy(herd, folder / "nginx")
        try:
            yield proxy
        finally:
            proxy.stop()
    finally:
        herd.stop()


def items(response: http.client.HTTPResponse) -> Iterator[Any]:
    for line in response:
        data = line.strip().removeprefix(b"data:").strip()
        if data and not data.startswith((b":", b"id:", b"event:")):
            yield "[DONE]" if data == b"[DONE]" else json.loads(data)


def running(herd: Herd) -> int:
    return herd.redis.scard(names.running_key("endless"))


def free(herd: Herd) -> None:
    wait_for(lambda: not running(herd) and not herd.waiting("endless.cpu"), "the slot to be free", seconds=10)


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_tokens_arrive_one_by_one(proxy: Proxy, path: str) -> None:
    body = ask(path, "a", "endless", tokens=100, temperature=0.0)
    response = proxy.ask(path, body)
    arrivals, told = [], []
    for item in items(response):
        arrivals.append(time.monotonic())
        told.append(item)
    assert response.status == 200
    assert text_of(path, told)
    # A buffer would hand over all of it at once.
    spread = arrivals[-1] - arrivals[0]
    assert len({round(at, 3) for at in arrivals}) > 20
    assert spread > 0.1


def test_a_stream_that_waits_outlives_the_time_out_by_its_heartbeats(proxy: Proxy) -> None:
    holder = proxy.ask(OPENAI, ask(OPENAI, "a", "endless", tokens=8000))
    next(items(holder))
    # Two wait with the worker, and this one in the queue, long enough for nginx to give up on a silent one.
    waiting = [proxy.ask(OPENAI, ask(OPENAI, "b", "endless", tokens=2)) for _ in range(3)]
    began = time.monotonic()
    heartbeats = 0
    while time.monotonic() - began < 2.5 * READ_SECONDS:
        assert waiting[-1].readline(), "nginx has cut a stream that said it lives"
        heartbeats += 1
    assert heartbeats >= 2
    refused = proxy.ask(OPENAI, ask(OPENAI, "c", "endless", tokens=2))
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert json.load(refused)["error"]["code"] == "rate_limit_exceeded"
    holder.close()
    for each in waiting:
        assert list(items(each))[-1] == "[DONE]"
    free(proxy.herd)


def test_who_hangs_up_frees_the_slot(proxy: Proxy) -> None:
    for path in (OPENAI, OLLAMA, TGI):
        response = proxy.ask(path, ask(path, "a", "endless", tokens=8000))
        next(items(response))
        assert running(proxy.herd) == 1
        response.close()
        free(proxy.herd)


def test_a_stream_is_resumed_through_the_proxy(proxy: Proxy) -> None:
    body = ask(OPENAI, "a", "endless", tokens=60, temperature=0.0)
    whole = [line for line in proxy.ask(OPENAI, body, headers={"Idempotency-Key": "nginx"}) if line.strip()]
    cut = proxy.ask(OPENAI, body, headers={"Idempotency-Key": "nginx-2"})
    stream = cut.headers["x-stream-id"]
    place = ""
    while not place:
        line = cut.readline()
        if line.startswith(b"id:"):
            place = line.decode().removeprefix("id:").strip()
    cut.close()
    rest = proxy.ask(f"/v1/streams/{stream}", method="GET", headers={"Last-Event-ID": place})
    assert rest.status == 200
    later = [item for item in items(rest) if isinstance(item, dict)]
    assert later
    texts = "".join(choice["text"] for item in later for choice in item["choices"])
    datas = [json.loads(line[5:]) for line in whole if line.startswith(b"data: {")]
    assert "".join(choice["text"] for item in datas for choice in item["choices"]).endswith(texts)


def test_a_large_body_passes_and_a_larger_one_is_refused_by_the_api_and_the_largest_by_nginx(proxy: Proxy) -> None:
    fits = {"model": "endless", "prompt": "x", "max_tokens": 1, "user": "x" * (3 << 20)}
    assert proxy.ask(OPENAI, fits).status == 200
    for path, told in {
        OPENAI: lambda said: said["error"]["message"],
        "/v1/messages": lambda said: said["error"]["message"],
        OLLAMA: lambda said: said["error"],
        TGI: lambda said: said["error"],
    }.items():
        for size, words in ((5 << 20, "larger than 4194304 bytes"), (9 << 20, "too large")):
            refused = proxy.ask(path, b" " * size)
            assert (refused.status, refused.headers["Content-Type"]) == (413, "application/json"), (path, size)
            assert words in told(json.load(refused))
            assert refused.headers["X-Request-Id"]


def test_who_asks_is_told_apart_and_traced(proxy: Proxy) -> None:
    kept = proxy.ask("/v1/models", method="GET", headers={"X-Request-Id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    made = proxy.ask("/v1/models", method="GET", headers={"X-Request-Id": "not fit\tfor a log"})
    assert len(made.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/internal/blobs/" + "0" * 64, "/metrics"])
def test_what_is_not_for_the_world_stays_inside(proxy: Proxy, path: str) -> None:
    assert proxy.ask(path, method="GET").status == 404


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", proxy.plain_port, timeout=10)
    plain.request("POST", "/v1/completions?a=b", b"{}", {"Host": "llm.example.com"})
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, "https://llm.example.com/v1/completions?a=b")


@pytest.mark.parametrize("probe", smuggling.PROBES)
def test_nothing_is_smuggled_through(proxy: Proxy, probe: str) -> None:
    with smuggling.tls(proxy.port, CERTIFICATE) as line:
        smuggling.check(smuggling.PROBES[probe], line)


def test_two_honest_requests_on_one_connection_are_two(proxy: Proxy) -> None:
    with smuggling.tls(proxy.port, CERTIFICATE) as line:
        assert smuggling.statuses(smuggling.HONEST, line) == [404, 404]

"""Behind Debian's nginx with compose/nginx/tropilla.conf as it stands, but for its ports, certificate and one time-out."""

from __future__ import annotations

import getpass
import http.client
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import endless
import pytest
from cluster import smuggling
from cluster.herd import Herd, free_port, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, text_of
from tropilla.common import names

ROOT = Path(__file__).parents[2]
CERTIFICATE = ROOT / "tests" / "localhost.pem"
#: Much shorter than a queue is long, and longer than the herd is ever silent.
READ_SECONDS, HEARTBEAT_SECONDS = 2, 0.5

#: What a whole nginx needs around the file; who is not root may name himself only, and is warned of it.
AROUND = """
daemon off;
user {user};
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
        self.answers = ExitStack()
        self.plain_port, self.port = free_port(), free_port()
        (folder / "tropilla.conf").write_text(self._rendered())
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=getpass.getuser()))
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
            with socket.create_connection(("127.0.0.1", self.port)):
                return True
        except OSError:
            return False

    def ask(
        self, path: str, body: object = b"", *, method: str = "POST", headers: dict[str, str] | None = None
    ) -> Answer:
        """To be closed at the end of the test, if not before."""
        trust = ssl.create_default_context(cafile=str(CERTIFICATE))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=trust)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Type": "application/json", **(headers or {})}
        return self.answers.enter_context(Answer(self.herd, path, data, method, told, connection))

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


@pytest.fixture(autouse=True)
def answers(proxy: Proxy) -> Iterator[None]:
    with proxy.answers:
        yield


def running(herd: Herd) -> int:
    return herd.redis.scard(names.running_key("endless"))


def free(herd: Herd) -> None:
    wait_for(lambda: not running(herd) and not herd.waiting("endless.cpu"), "the slot to be free", seconds=10)


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_tokens_arrive_one_by_one(proxy: Proxy, path: str) -> None:
    answer = proxy.ask(path, ask(path, "a", "endless", tokens=100, temperature=0.0))
    arrivals, told = [], []
    for item in answer.items():
        arrivals.append(time.monotonic())
        told.append(item)
    assert answer.status == 200
    assert text_of(path, told)
    # A buffer would hand over all of it at once; the publisher puts together what comes within 30 ms.
    assert len({round(at, 2) for at in arrivals}) > 5
    assert arrivals[-1] - arrivals[0] > 0.1


def test_a_stream_that_waits_outlives_the_time_out_by_its_heartbeats(proxy: Proxy) -> None:
    holder = proxy.ask(OPENAI, ask(OPENAI, "a", "endless", tokens=8000))
    next(holder.items())
    # Two wait with the worker, and the last one in the queue: for longer than nginx waits for a silent one.
    waiting = [proxy.ask(OPENAI, ask(OPENAI, "b", "endless", tokens=2)) for _ in range(3)]
    signs = waiting[-1].lines()
    ends = time.monotonic() + 2.5 * READ_SECONDS
    heard = 0
    while time.monotonic() < ends:
        assert next(signs).startswith(b":")
        heard += 1
    assert heard >= 3
    refused = proxy.ask(OPENAI, ask(OPENAI, "c", "endless", tokens=2))
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    holder.close()
    for each in waiting:
        assert list(each.items())[-1] == "[DONE]"
    free(proxy.herd)


@pytest.mark.parametrize("path", [OPENAI, OLLAMA, TGI])
def test_who_hangs_up_frees_the_slot(proxy: Proxy, path: str) -> None:
    answer = proxy.ask(path, ask(path, "a", "endless", tokens=8000))
    next(answer.items())
    assert running(proxy.herd) == 1
    answer.close()
    free(proxy.herd)


def test_a_stream_is_resumed_through_the_proxy(proxy: Proxy) -> None:
    body = ask(OPENAI, "a", "endless", tokens=60, temperature=0.0)
    expected = list(proxy.ask(OPENAI, body).items())
    # Who has a word for it may hang up and come back.
    cut = proxy.ask(OPENAI, body, headers={"Idempotency-Key": "nginx"})
    lines = list(itertools.islice(cut.lines(), 10))
    cut.close()
    place = [line for line in lines if line.startswith(b"id: ")][-1].removeprefix(b"id: ").decode()
    rest = list(proxy.ask(OPENAI, b"{}", headers={"Last-Event-ID": place}).items())
    # Ten lines are five frames: data and id.
    assert rest[-1] == "[DONE]"
    assert len(rest) == len(expected) - 5
    assert text_of(OPENAI, rest) == text_of(OPENAI, expected[5:])


#: Where a dialect's refusal says what is wrong.
SENTENCES: Mapping[str, Callable[[Any], str]] = {
    OPENAI: lambda said: said["error"]["message"],
    "/v1/messages": lambda said: said["error"]["message"],
    OLLAMA: lambda said: said["error"],
    TGI: lambda said: said["error"],
}


def test_a_large_body_passes(proxy: Proxy) -> None:
    fits = {"model": "endless", "prompt": "x", "max_tokens": 1, "user": "x" * (3 << 20)}
    assert proxy.ask(OPENAI, fits).status == 200


@pytest.mark.parametrize("path", SENTENCES)
@pytest.mark.parametrize(("megabytes", "words"), [(5, "larger than 4194304 bytes"), (57, "too large")])
def test_what_is_too_large_is_refused_in_the_dialects_form(proxy: Proxy, path: str, megabytes: int, words: str) -> None:
    """By the API, and by nginx itself."""
    refused = proxy.ask(path, b" " * (megabytes << 20) + b"{}")
    assert refused.status == 413
    assert refused.headers["Content-Type"].startswith("application/json")
    assert words in SENTENCES[path](refused.json())
    assert refused.headers["X-Request-Id"]


def test_who_asks_is_told_apart_and_traced(proxy: Proxy) -> None:
    kept = proxy.ask("/v1/models", method="GET", headers={"X-Request-Id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    made = proxy.ask("/v1/models", method="GET", headers={"X-Request-Id": "not fit for a log"})
    assert len(made.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/internal/blobs/" + "0" * 64, "/metrics"])
def test_what_is_not_for_the_world_stays_inside(proxy: Proxy, path: str) -> None:
    assert proxy.ask(path, method="GET").status == 404


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", proxy.plain_port, timeout=10)
    answer = Answer(proxy.herd, "/v1/completions?a=b", b"{}", "POST", {"Host": "llm.example.com"}, plain)
    proxy.answers.enter_context(answer)
    assert (answer.status, answer.headers["Location"]) == (308, "https://llm.example.com/v1/completions?a=b")


@pytest.mark.parametrize("probe", smuggling.PROBES)
def test_nothing_is_smuggled_through(proxy: Proxy, probe: str) -> None:
    with smuggling.tls(proxy.port, CERTIFICATE) as line:
        smuggling.check(smuggling.PROBES[probe], line)


def test_two_honest_requests_on_one_connection_are_two(proxy: Proxy) -> None:
    with smuggling.tls(proxy.port, CERTIFICATE) as line:
        assert smuggling.statuses(smuggling.HONEST, line) == [404, 404]

"""`tropilla up`, as a person uses it: started, asked, looked at with Flower, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.herd import free_port, wait_for


class Up:
    """A running `tropilla up` and everything it has said so far."""

    def __init__(self, folder: Path, *flags: str, **settings: str) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TROPILLA_")}
        clean |= {f"TROPILLA_{key.upper()}": value for key, value in settings.items()}
        self.output = folder / f"up-{len(list(folder.iterdir()))}.log"
        argv = [sys.executable, "-m", "tropilla.compose.cli", "up", "--home", str(folder / "home"), *flags]
        with self.output.open("wb") as output:
            self.child = subprocess.Popen(argv, stdout=output, stderr=output, env=clean, start_new_session=True)

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.child.poll() is None, self.said
            return "Tropilla is up" in self.said

        wait_for(ready, "tropilla up")

    def address(self, title: str) -> str:
        found = re.search(rf"^\s*{title}\s+(http\S+)", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.child.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.child.poll() is None:
            self.child.send_signal(number)
        return self.child.wait(40)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("up"), "--port", "0", "--flower-port", "0", "--slots", "4")
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.stop(signal.SIGTERM)


def fetch(url: str, body: object | None = None, *, key: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return answer.read().decode()


def test_the_commands_it_prints_to_paste_work_as_they_stand(up: Up) -> None:
    commands = re.findall(r"^\s*(curl .*)$", up.said, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        pasted = subprocess.run(
            ["sh", "-c", f"{command} -sS --fail"], capture_output=True, text=True, timeout=60, check=True
        )
        assert len(pasted.stdout.splitlines()) > 3


def test_it_says_what_it_is_doing_while_it_starts(up: Up) -> None:
    assert "loading pocket" in up.said
    assert {"redis", "api", "cpu-1"} <= set(re.findall(r"^(\S+)\s*\|", up.said, re.MULTILINE)), up.said[:2000]


def test_flower_shows_the_worker_and_the_tasks_with_their_model_and_no_prompt(up: Up) -> None:
    secret = "a fox nobody must see"
    fetch(f"{up.address('API')}/generate", {"inputs": secret, "parameters": {"max_new_tokens": 2}})
    columns = {f"columns[{at}][data]": name for at, name in enumerate(("name", "uuid", "state", "args", "result"))}
    query = {"draw": "1", "start": "0", "length": "20", "search[value]": "", "order[0][column]": "0",
             "order[0][dir]": "asc", **columns}  # fmt: skip

    def task() -> Any:
        shown = fetch(f"{up.address('Flower')}/tasks/datatable?{urllib.parse.urlencode(query)}")
        assert secret not in shown
        rows = json.loads(shown)["data"]
        return next(
            (row for row in rows if row["state"] == "SUCCESS" and "completed 2 tokens of pocket" in row["result"]), None
        )

    found = wait_for(task, "the task in Flower", 20)
    assert found["name"] == "tropilla.generate"
    assert "pocket" in found["args"]
    assert "cpu-1" in fetch(f"{up.address('Flower')}/workers")
    page = fetch(f"{up.address('Flower')}/tasks").lower()
    assert {"args", "result"} <= set(re.findall(r"<th[^>]*>\s*(\w+)", page))


def test_a_second_one_beside_it_works_with_another_home_and_ports_and_with_keys(up: Up, tmp_path: Path) -> None:
    second = Up(tmp_path, "--port", "0", "--flower-port", "off", "--slots", "2", keys="on")
    try:
        second.wait_until_ready()
        (key,) = re.findall(r"^tropilla: the first API key is (trp_\S{43})$", second.said, re.MULTILINE)
        for one, secret in ((up, ""), (second, key)):
            assert json.loads(fetch(f"{one.address('API')}/v1/models", key=secret))["data"][0]["id"] == "pocket"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(f"{second.address('API')}/v1/models")
        environment = {**os.environ, "TROPILLA_API_KEY": key}
        pasted = next(line for line in second.said.splitlines() if "/api/generate" in line)
        said = subprocess.run(
            ["sh", "-c", f"{pasted} -sS --fail"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environment,
        )
        assert len(said.stdout.splitlines()) > 3
    finally:
        assert second.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_and_no_port(tmp_path: Path, number: int) -> None:
    up = Up(tmp_path, "--port", "0", "--flower-port", "0")
    up.wait_until_ready()
    family, port = up.family(), int(up.address("API").rsplit(":", 1)[1])
    assert len(family) >= 4
    assert up.stop(number) == 0
    assert not [process for process in family if process.is_running()]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_killing_it_leaves_no_process_either(tmp_path: Path) -> None:
    up = Up(tmp_path, "--port", "0", "--flower-port", "0")
    up.wait_until_ready()
    family = up.family()
    assert up.stop(signal.SIGKILL) == -signal.SIGKILL
    psutil.wait_procs(family, timeout=20)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_that_dies_is_started_again(up: Up) -> None:
    def workers() -> list[psutil.Process]:
        # Their witnesses are forks of them.
        others = {psutil.STATUS_ZOMBIE, "witness"}
        alive = [process for process in up.family() if others.isdisjoint({process.status(), process.name()})]
        return [process for process in alive if "tropilla.workers" in " ".join(process.cmdline())]

    before = workers()[-1]
    before.kill()
    wait_for(lambda: before.pid not in {process.pid for process in workers()} and workers(), "another worker")

    def answers() -> bool:
        try:
            return "generated_text" in fetch(f"{up.address('API')}/generate", {"inputs": "x", "parameters": {}})
        except OSError:
            return False

    wait_for(answers, "an answer of the new worker")


@pytest.mark.parametrize(
    ("flags", "sentence", "status"),
    [
        (("--port", "{taken}"), "port {taken}", 2),
        (("--flower-port", "{taken}"), "port {taken}", 2),
        (("--model", "ghost=/nowhere/ghost.gguf"), "/nowhere/ghost.gguf", 2),
        (("--model", "words={file}"), "not a GGUF file", 2),
        (("--redis", "redis://127.0.0.1:1/0"), "Redis at redis://127.0.0.1:1/0 cannot be reached", None),
        (("--slots", "many"), "'many' is not a number", 2),
        (("--gpu", "1"), "a gpu worker needs a GPU", None),
    ],
)
def test_what_cannot_work_is_one_sentence_and_leaves_nothing_running(
    tmp_path: Path, flags: tuple[str, ...], sentence: str, status: int | None
) -> None:
    words = tmp_path / "words.gguf"
    words.write_text("these are words")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        facts = {"taken": squatter.getsockname()[1], "file": words}
        given = [flag.format(**facts) for flag in flags]
        defaults = ["--port", str(free_port())] if "--port" not in given else []
        defaults += ["--flower-port", "off"] if "--flower-port" not in given else []
        up = Up(tmp_path, *defaults, *given)
        left = up.child.wait(60)
    assert left == status if status is not None else left > 0
    assert sentence.format(**facts) in up.said
    assert "Traceback" not in up.said
    assert not [process for process in psutil.process_iter(["pid"]) if _in_session(process.pid, up.child.pid)]


def _in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False

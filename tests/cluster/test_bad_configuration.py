"""What cannot be run as it is asked for ends at once, with one sentence that names it: every process by itself.

(Models and GPUs that are not there: test_bad_input.py, test_up.py.)
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from cluster.herd import free_port, wait_for
from tropilla.compose import cli, redis_server

TROPILLA = (sys.executable, "-m", "tropilla.compose.cli")
PASSWORD = "the-secret-of-this-test"

#: process, its flags, its variables without the prefix -> what the sentence says. `{...}` are facts of the scene.
CASES: dict[str, tuple[str, str, dict[str, str], tuple[str, ...]]] = {
    "web, unknown variable": ("web", "", {"PROT": "1"}, ("TROPILLA_PROT is not a setting", "TROPILLA_PORT?")),
    "worker, unknown variable": ("worker", "", {"SLOT": "1"}, ("TROPILLA_SLOT is not a setting", "TROPILLA_SLOTS?")),
    "store, wrong number": ("store", "", {"SLOTS": "many"}, ("TROPILLA_SLOTS='many' is not a number",)),
    "flower, out of range": ("flower", "", {"FLOWER_PORT": "70000"}, ("TROPILLA_FLOWER_PORT='70000'", "0 to 65535")),
    "web, no origin": ("web", "", {"CORS_ORIGINS": "chat"}, ("TROPILLA_CORS_ORIGINS='chat'", "origin")),
    "web, port taken": ("web", "--port {taken}", {}, ("port {taken} on 127.0.0.1", "in use", "TROPILLA_PORT")),
    "web, no address": ("web", "--host 192.0.2.1", {}, ("192.0.2.1", "another --host (TROPILLA_HOST)")),
    "web, no Redis": ("web", "", {"REDIS_URL": "redis://127.0.0.1:1/0"}, ("127.0.0.1:1/0 cannot be reached",)),
    "worker, no URL": ("worker", "", {"REDIS_URL": "http://x"}, ("TROPILLA_REDIS_URL=http://x is not a Redis URL",)),
    "store, wrong password": ("store", "", {"REDIS_URL": "redis://:wrong@{place}"}, ("refuses the password",)),
    "flower, no password": ("flower", "", {"REDIS_URL": "redis://{place}"}, ("refuses the password",)),
    "worker, evicting": ("worker", "", {"REDIS_URL": "{evicting}"}, ("maxmemory-policy allkeys-lru", "noeviction")),
    "store, home is a file": ("store", "--home {file}", {}, ("{file}/models cannot be made", "TROPILLA_HOME")),
    "worker, idle with a model": ("worker", "--idle --model m=x", {}, ("an idle worker has no model of its own",)),
    "up, home is a file": ("up", "--home {file} --port 0", {}, ("home folder {file} cannot be used", "--home")),
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Redis with a password, one that evicts, a port that is taken, and a file that is no model."""
    folder = tmp_path_factory.mktemp("bad")
    file = folder / "words.gguf"
    file.write_text("these are words")
    with ExitStack() as open_things:
        sound = _redis(open_things, folder, "noeviction")
        evicting = _redis(open_things, folder, "allkeys-lru")
        taken = open_things.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        urls = {"sound": f"redis://:{PASSWORD}@{sound}", "evicting": f"redis://:{PASSWORD}@{evicting}"}
        yield {"place": sound, **urls, "taken": str(taken), "file": str(file)}


def _redis(open_things: ExitStack, folder: Path, policy: str) -> str:
    """HOST:PORT/NUMBER of one that runs until the end."""
    port = free_port()
    argv = [str(redis_server.find().path), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save",
            "", "--requirepass", PASSWORD, "--maxmemory-policy", policy]  # fmt: skip
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    open_things.callback(process.wait)
    open_things.callback(process.kill)
    with redis.Redis(port=port, password=PASSWORD) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_for(answers, "Redis")
    return f"127.0.0.1:{port}/0"


#: What only the process itself finds out; the others end before they have become one.
THEMSELVES = frozenset({"worker, no URL", "store, wrong password", "worker, evicting", "store, home is a file"})


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_run_is_one_sentence_that_names_it(
    case: str,
    facts: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    process, flags, variables, words = CASES[case]
    asked = {"REDIS_URL": "{sound}", "HOME": str(tmp_path), **variables}
    for name in [name for name in os.environ if name.startswith("TROPILLA_")]:
        monkeypatch.delenv(name)
    for name, text in asked.items():
        monkeypatch.setenv(f"TROPILLA_{name}", text.format(**facts))
    arguments = [process, *flags.format(**facts).split()]
    if case in THEMSELVES:
        status = subprocess.run((*TROPILLA, *arguments), timeout=60, check=False).returncode
    else:
        status = cli.main(arguments)
    said = capfd.readouterr()
    assert (status, said.out) == (2, ""), said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("tropilla")
    for word in words:
        assert word.format(**facts) in said.err
    assert PASSWORD not in said.err
    assert "wrong@" not in said.err

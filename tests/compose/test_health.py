"""`tropilla health` of processes that are well, not well, and not there."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import WORKER
from tropilla.common.catalogue import Sign, Worker
from tropilla.common.settings import Settings
from tropilla.compose import health
from tropilla.compose.cli import main

WELL = replace(WORKER, name="cpu-1@host", sign=Sign(1.5, 0.02))
LOADING = replace(WELL, name="cpu-2@host", state="loading", sign=None)
WEDGED = replace(WELL, name="cpu-3@host", sign=Sign(99.0, 0.02, "a step has been running for 99 s"))
ELSEWHERE = replace(WEDGED, name="cpu-1@other")


@pytest.mark.parametrize(
    ("workers", "name", "well", "said"),
    [
        ((WELL, ELSEWHERE), "", True, "cpu-1@host computed a step 1.5 s ago"),
        ((WELL, LOADING), "", True, "cpu-1@host computed a step 1.5 s ago; cpu-2@host is loading"),
        ((WELL, WEDGED), "", False, "cpu-3@host: a step has been running for 99 s"),
        ((WELL, WEDGED), "cpu-1", True, "cpu-1@host computed a step 1.5 s ago"),
        ((WELL,), "cpu-4", False, "Redis knows no worker cpu-4@host"),
        ((ELSEWHERE,), "", False, "Redis knows no worker of host"),
    ],
)
def test_a_worker_is_judged_by_what_it_announces(workers: tuple[Worker, ...], name: str, well: bool, said: str) -> None:
    assert health.judged(workers, name, "host") == health.Verdict(well, said)


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = told[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    told: dict[str, tuple[int, bytes]] = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.told = told  # type: ignore[attr-defined]
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_the_api_is_asked_whether_it_turns(server: Any) -> None:
    settings = Settings(host="0.0.0.0", port=server.server_port)
    server.told["/livez"] = 200, b"{}"
    assert health.api(settings, "").well
    server.told["/livez"] = 503, json.dumps({"threads": {"inbox": "has not turned for 40 s"}}).encode()
    assert health.api(settings, "") == health.Verdict(False, "the API answers 503: inbox has not turned for 40 s")
    server.told["/livez"] = 502, b"<html>"
    assert health.api(settings, "") == health.Verdict(False, "the API answers 502: and says no more")


def test_flower_is_asked_on_its_own_page(server: Any) -> None:
    settings = Settings(flower_port=server.server_port)
    server.told["/healthcheck"] = 200, b"OK"
    assert health.flower(settings, "").well
    server.told["/healthcheck"] = 500, b""
    assert not health.flower(settings, "").well


def test_who_does_not_answer_is_not_well(server: Any) -> None:
    server.server_close()
    assert "does not answer" in health.api(Settings(port=server.server_port), "").sentence
    assert "does not answer" in health.flower(Settings(flower_port=server.server_port), "").sentence


def test_nothing_is_held_against_a_worker_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TROPILLA_REDIS_URL", "redis://127.0.0.1:1/0")
    for what in ("worker", "store"):
        assert main(["health", what]) == 0
        assert "nothing is known against" in capsys.readouterr().out


def test_the_command_says_one_sentence_and_has_a_status(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(server.server_port)
    server.told["/livez"] = 200, b"{}"
    assert main(["health", "api", "--port", port]) == 0
    assert capsys.readouterr().out == f"the API turns on port {port}\n"
    server.told["/livez"] = 500, b""
    assert main(["health", "api", "--port", port]) == 1
    assert capsys.readouterr().err.startswith("tropilla: the API answers 500")


@pytest.mark.parametrize("wrong", [["health"], ["health", "redis"], ["health", "api", "--port", "x"], ["health", "-x"]])
def test_the_short_way_says_what_the_long_one_says(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for way in (main, health.main):
        with pytest.raises(SystemExit) as ended:
            way(wrong)
        said.append((ended.value.code, capsys.readouterr().err))
    # The long one shows every command there is.
    assert said[0] == said[1]


def test_the_short_way_refuses_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TROPILLA_SLOTS", "many")
    assert health.main(["health", "api"]) == 2
    assert capsys.readouterr().err.startswith("tropilla: TROPILLA_SLOTS='many'")


def test_a_look_imports_little() -> None:
    """It is taken every few seconds: with the whole command line it cost five times as much."""
    look = (
        "import sys; from tropilla.compose import entry; sys.argv[1:] = ['health', 'api', '--port', '1']; "
        "entry.main(); print(*{name.partition('.')[0] for name in sys.modules}, *sys.modules)"
    )
    imported = set(
        subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "tropilla.compose.health" in imported
    assert not imported & {
        "redis",
        "celery",
        "flask",
        "numpy",
        "urllib3",
        "rich",
        "tropilla.compose.cli",
        "tropilla.api",
    }

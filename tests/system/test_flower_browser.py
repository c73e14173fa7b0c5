"""Flower, as an operator sees it in a real browser: behind its password, with workers online, models and outcomes."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster.herd import wait_for
from playwright.sync_api import Browser, BrowserContext, sync_playwright

TROPILLA = (sys.executable, "-m", "tropilla.compose.cli")
USER, PASSWORD = "operator", "correct horse"
START_SECONDS = 120.0


def chromium() -> str:
    found = shutil.which("chromium")
    assert found, "chromium is missing: apt-get install chromium"
    return found


@dataclass(frozen=True)
class Cluster:
    """`tropilla up` with Flower behind a password. `pictures`: where screenshots go."""

    home: Path
    pictures: Path

    @property
    def published(self) -> Any:
        return json.loads((self.home / "up.json").read_text())

    @property
    def flower(self) -> str:
        return str(self.published["flower"])

    @contextmanager
    def ask(self, path: str, body: object) -> Iterator[http.client.HTTPResponse]:
        """Leaving is hanging up."""
        port = int(self.published["api"].rpartition(":")[2])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as caller:
            caller.request("POST", path, json.dumps(body))
            with caller.getresponse() as answer:
                yield answer


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("flower")
    auth = {"TROPILLA_FLOWER_AUTH": f"{USER}:{PASSWORD}", "TROPILLA_DRAIN_SECONDS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROPILLA_")}
    command = (*TROPILLA, "up", "--home", str(home), "--port", "0", "--flower-port", "0")
    log = home.parent / "up.log"
    with log.open("wb") as said:
        up = subprocess.Popen(command, env={**kept, **auth}, stdout=said, stderr=said)
    try:
        wait_for(lambda: (home / "up.json").exists() or up.poll() is not None, "tropilla up", START_SECONDS)
        assert up.poll() is None, log.read_text()
        yield Cluster(home, Path(tempfile.mkdtemp(prefix="flower-")))
    finally:
        up.terminate()
        up.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # No sandbox: its user namespaces are forbidden to root, as whom containers run this.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def operator(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(
        http_credentials={"username": USER, "password": PASSWORD}, viewport={"width": 1500, "height": 700}
    )
    yield context
    context.close()


@pytest.mark.parametrize("given", [None, {"username": USER, "password": "wrong"}], ids=["none", "wrong"])
def test_who_has_no_password_sees_nothing(cluster: Cluster, browser: Browser, given: Any) -> None:
    context = browser.new_context(http_credentials=given) if given else browser.new_context()
    for path in ("/", "/tasks", "/workers", "/api/workers"):
        reply = context.request.get(cluster.flower + path)
        assert reply.status == 401, path
        assert "cpu-1" not in reply.text()
    context.close()


def test_the_worker_is_online(cluster: Cluster, operator: BrowserContext) -> None:
    page = operator.new_page()
    page.goto(f"{cluster.flower}/workers")
    row = page.locator("tr", has_text="cpu-1@")
    row.wait_for()
    assert "Online" in row.inner_text()
    page.screenshot(path=cluster.pictures / "workers.png")


def test_tasks_show_models_and_outcomes_and_no_prompt(cluster: Cluster, operator: BrowserContext) -> None:
    secret = "a prompt that nobody should see"
    with cluster.ask("/generate", {"inputs": secret, "parameters": {"max_new_tokens": 5}}) as answer:
        assert answer.status == 200, answer.read()
        answer.read()
    endless = {"model": "pocket", "prompt": secret, "max_tokens": 3000, "stream": True, "ignore_eos": True}
    with cluster.ask("/v1/completions", endless) as left:
        left.readline()
    wrong = {"model": "pocket", "messages": [{"role": "user", "content": f"{secret} " * 4000}]}
    with cluster.ask("/v1/chat/completions", wrong) as refused:
        assert refused.status == 400

    page = operator.new_page()
    page.goto(f"{cluster.flower}/tasks")
    page.locator("th", has_text="Result").first.wait_for()
    for state, result in (
        ("SUCCESS", "completed 5 tokens of pocket"),
        ("REVOKED", "cancelled after"),
        ("FAILURE", "failed:context_length of pocket"),
    ):
        row = page.locator("tr", has_text=result).filter(has_text=state)
        wait_for(lambda row=row: page.reload() and row.count() > 0, f"{state}: {result}", 30)
        shown = row.first.inner_text()
        assert "tropilla.generate" in shown
        assert "('pocket')" in shown
        assert "cpu-1@" in shown
    page.screenshot(path=cluster.pictures / "tasks.png")
    print(f"screenshots: {cluster.pictures}")
    assert secret not in page.content()
    page.locator("tr", has_text="failed:").locator("a").first.click()
    page.wait_for_load_state()
    assert secret not in page.content()

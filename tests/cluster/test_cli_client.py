"""The command line as a person uses it, on a cluster with a store, an idle worker, and somewhere to fetch models from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cluster.herd import Herd, wait_for
from tropilla.workers import pocket
from upstream import Content, Upstream, registry_routes

PARAMETERS = json.dumps({"temperature": 0, "num_predict": 8, "stop": ["STOP"]}).encode()
LICENSE, SYSTEM = b"Do what you like.", b"You are brief."


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    layers = [("model", pocket.path().read_bytes()), ("system", SYSTEM), ("params", PARAMETERS), ("license", LICENSE)]
    with Upstream(registry_routes("library/tiny:latest", layers)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Herd]:
    herd = Herd(tmp_path_factory.mktemp("stocked"), pull_hosts=f"*,{upstream.place}", swap_seconds=1)
    try:
        herd.start_worker(slots=4)
        herd.start_worker("--idle", ready=False, slots=2)
        herd.start_store()
        herd.start_api()
        wait_for(lambda: len(herd.bus.catalogue().workers) == 2, "both workers")
        yield herd
    finally:
        herd.stop()


class Typed:
    """Commands for one cluster, by TROPILLA_URL."""

    def __init__(self, herd: Herd) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TROPILLA_")}
        self.environment = {**clean, "TROPILLA_URL": herd.base_url, "TROPILLA_HOME": str(herd.folder)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tropilla.compose.cli", *arguments], env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as child:
            out, err = child.communicate(timeout=60)
        assert child.returncode == status, err
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

    def names(self, command: str = "list") -> set[str]:
        """Of the table's first column."""
        return {line.split()[0] for line in self(command).stdout.splitlines()[1:]}


@pytest.fixture
def tropilla(stocked: Herd) -> Typed:
    return Typed(stocked)


def test_a_model_is_pulled_shown_asked_copied_stopped_and_removed(tropilla: Typed, upstream: Upstream) -> None:
    name = f"{upstream.place.replace(':', '-')}/library/tiny:latest"
    pulled = tropilla("pull", f"http://{upstream.place}/library/tiny", "--insecure")
    assert pulled.stderr.splitlines()[0] == "pulling manifest"
    assert "(100%)" in pulled.stderr
    wait_for(lambda: name in tropilla.names(), "the model in the list")

    assert tropilla("show", name, "--system").stdout == "You are brief.\n"
    assert tropilla("show", name, "--license").stdout == "Do what you like.\n"
    assert "STOP" in tropilla("show", name, "--parameters").stdout
    assert tropilla("show", name, "--modelfile").stdout.startswith("# Modelfile")
    assert {"Model", "architecture", "llama", "quantization"} <= set(tropilla("show", name).stdout.split())

    answered = tropilla("run", name, "What is the capital of France?", "--verbose")
    assert answered.stdout.strip()
    assert "eval rate:" in answered.stderr
    assert name in tropilla.names("ps")

    tropilla("cp", name, "second")
    wait_for(lambda: "second:latest" in tropilla.names(), "the copy in the list")
    assert tropilla("run", "second", "What is the capital of France?").stdout == answered.stdout

    tropilla("stop", name)
    wait_for(lambda: name not in tropilla.names("ps"), "the model to be let go of")

    tropilla("rm", "second", name)
    wait_for(lambda: tropilla.names() == {"pocket:latest"}, "both names to be gone")
    assert "`tropilla pull second` fetches it" in tropilla("run", "second", "hi", status=1).stderr


def test_a_pull_that_is_stopped_goes_on_where_it_was(tropilla: Typed, upstream: Upstream) -> None:
    data = pocket.path().read_bytes()
    half = len(data) // 2
    upstream.routes["/files/story.gguf"] = Content(data, f"stall:{half}")
    url = upstream.url("/files/story.gguf")
    with tropilla.start("pull", url, "--json") as child:
        assert child.stdout is not None
        heard = (json.loads(line) for line in child.stdout)
        assert any(line.get("completed", 0) > 0 for line in heard)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        assert child.stderr is not None
        assert "goes on from there" in child.stderr.read()
    tropilla("pull", url)
    starts = [asked.start for asked in upstream.gets if asked.path == "/files/story.gguf"]
    assert starts[-1] is not None
    assert 0 < starts[-1] <= half
    wait_for(lambda: any(name.startswith("story") for name in tropilla.names()), "the model in the list")


def test_what_cannot_be_pulled_is_said_in_the_clusters_words(tropilla: Typed, upstream: Upstream) -> None:
    unknown = tropilla("pull", f"http://{upstream.place}/library/ghost", "--insecure", status=1)
    assert unknown.stderr.splitlines()[-1] == "tropilla: pull model manifest: file does not exist"
    assert tropilla("pull", "^", status=1).stderr == "tropilla: invalid model name\n"
    assert "not found" in tropilla("rm", "ghost", status=1).stderr
    assert "not found" in tropilla("cp", "ghost", "copy", status=1).stderr
    assert "not found" in tropilla("stop", "ghost", status=1).stderr


def test_an_answer_as_json_is_ollamas_stream(tropilla: Typed) -> None:
    lines = [json.loads(line) for line in tropilla("run", "pocket", "Hello", "--json").stdout.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert {model["name"] for model in json.loads(tropilla("list", "--json").stdout)["models"]} >= {"pocket:latest"}

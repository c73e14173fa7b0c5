"""The life of a model over HTTP: fetched or imported, started, changed, asked, stopped and deleted, on a whole cluster."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cluster.herd import Herd, wait_for
from jan_scene import valid
from openai.types import Model as OpenAIModel
from openai.types import ModelDeleted
from tropilla.workers import pocket


@dataclass
class Site:
    """Has one file, and sends the second half of it only while its gate is open."""

    host: str
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}/files/small.gguf"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    data = pocket.path().read_bytes()
    made = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            made.gate.wait(60)
            self.wfile.write(data[len(data) // 2 :])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.host = f"127.0.0.1:{server.server_port}"
    yield made
    made.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Herd]:
    """A store, and one worker without a model."""
    herd = Herd(tmp_path_factory.mktemp("jan"), pull_hosts=f"*,{site.host}", swap_seconds=1)
    try:
        herd.start_store()
        herd.start_worker("--idle", ready=False)
        herd.start_api()
        yield herd
    finally:
        herd.stop()


@pytest.fixture
def http(stocked: Herd) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stocked.base_url}/v1", timeout=120) as client:
        yield client


@pytest.fixture
def client(stocked: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stocked.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def imported(stocked: Herd, http: httpx.Client) -> Iterator[str]:
    """A model of a file on the store's machine."""
    path = shutil.copy(pocket.path(), Path(stocked.folder) / "mine.gguf")
    body = {"model": "mine", "modelPath": str(path), "option": "symlink"}
    said = http.post("/models/import", json=body)
    assert (said.status_code, said.json()["state"]) == (200, "downloaded"), said.text
    yield "mine"
    http.delete("/models/mine")
    assert path.exists(), "a link leaves the original"


def state(http: httpx.Client, name: str) -> str:
    return str(http.get(f"/models/status/{name}").json().get("state"))


def until(http: httpx.Client, name: str, wanted: str) -> None:
    wait_for(lambda: state(http, name) == wanted, f"{name} {wanted}")


def events(http: httpx.Client, task: str) -> Iterator[dict[str, Any]]:
    with http.stream("GET", f"/models/pull/{task}/events") as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_model_is_started_asked_changed_stopped_and_deleted(
    http: httpx.Client, client: openai.OpenAI, imported: str
) -> None:
    (listed,) = client.models.list().data
    assert (listed.id, state(http, imported)) == (imported, "downloaded")
    started = http.post("/models/start", json={"model": imported})
    assert (started.status_code, started.json()["state"]) == (200, "running"), started.text
    valid("StartModelResponse", started.json())
    assert http.put(f"/models/{imported}/start").json()["message"] == "already running"
    turn: Any = [{"role": "user", "content": "What is 2 plus 3?"}]
    assert client.chat.completions.create(model=imported, messages=turn, max_tokens=5).choices[0].message.content
    # Other settings are another way to load it: what runs makes way.
    again = http.put(f"/models/{imported}/start", json={"ctx_len": "512", "n_parallel": 2, "temperature": 0})
    assert again.json()["state"] == "running", again.text
    shown = http.get(f"/models/{imported}").json()
    valid("GetModelResponse", shown)
    assert shown["model_parameters"] | {"ctx_len": 512, "n_parallel": 2, "temperature": 0} == shown["model_parameters"]
    answers = {client.chat.completions.create(model=imported, messages=turn, max_tokens=8).choices[0].message.content
               for _ in range(3)}  # fmt: skip
    assert len(answers) == 1, "its temperature is 0 for everybody who says no other"
    stopped = http.post("/models/stop", json={"model": imported})
    valid("StopModelResponse", stopped.json())
    until(http, imported, "downloaded")
    assert http.put(f"/models/{imported}/stop").status_code == 200
    gone = client.models.delete(imported)
    assert ModelDeleted.model_validate(gone, from_attributes=True).deleted
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(imported)
    assert client.models.list().data == []


def test_who_does_not_wait_finds_it_running_later(http: httpx.Client, imported: str) -> None:
    said = http.post("/models/start?wait=false", json={"model": imported})
    assert (said.status_code, said.json()["state"]) == (202, "starting")
    until(http, imported, "running")


def test_what_a_name_lays_over_its_weights_holds_in_every_dialect(http: httpx.Client, imported: str) -> None:
    laid = {"prompt_template": "<S>{system_message}\n<U>{prompt}\n<A>", "pre_prompt": "Be brief.", "stop": ["\n"]}
    assert http.patch(f"/models/{imported}", json=laid).status_code == 200
    shown = http.get(f"/models/{imported}").json()["engine_parameters"]
    assert (shown["pre_prompt"], shown["system_prompt"], shown["ai_prompt"]) == ("Be brief.", "<S>", "\n<A>")
    root = str(http.base_url).removesuffix("/v1/")
    chat = {"model": imported, "messages": [{"role": "user", "content": "Hi"}]}
    prompt = "<S>Be brief.\n<U>Hi\n<A>"
    applied = httpx.post(f"{root}/apply-template", json=chat, timeout=60)
    assert applied.json() == {"prompt": prompt}, applied.text
    assert httpx.post(f"{root}/chat_tokenize", json=chat, timeout=60).json()["templated_text"] == prompt
    counted = http.post("/messages/count_tokens", json=chat).json()["input_tokens"]
    assert (
        counted == http.post("/responses/input_tokens", json={"model": imported, "input": "Hi"}).json()["input_tokens"]
    )


def test_a_download_is_told_from_its_first_byte_to_its_last(
    http: httpx.Client, client: openai.OpenAI, site: Site
) -> None:
    site.gate.clear()
    begun = http.post("/models/pull", json={"model": site.url, "id": "small"})
    assert begun.status_code == 200, begun.text
    valid("DownloadModelResponse", begun.json())
    task = begun.json()["task"]["id"]
    assert http.post("/models/pull", json={"model": site.url, "id": "small"}).json()["task"]["id"] == task
    told = events(http, task)
    half = next(event for event in told if any(item["downloadedBytes"] for item in event["task"]["items"]))
    assert half["type"] == "DownloadUpdated"
    until(http, "small", "downloading")
    whole = http.get("/models", params={"all": "1"}).json()
    valid("ListModelsResponse", whole)
    (coming,) = whole["data"]
    assert (coming["state"], coming["metadata"]["download"]["taskId"]) == ("downloading", task)
    assert http.get("/models").json()["data"] == []
    assert http.delete("/models/small").status_code == 409
    site.gate.set()
    assert [event["type"] for event in told][-1] == "DownloadSuccess"
    assert http.get(f"/models/pull/{task}").json()["status"] == "Completed"
    (found,) = client.models.list().data
    OpenAIModel.model_validate(found, from_attributes=True)
    assert http.get("/models/small").json()["source_url"] == site.url
    assert http.post("/models/pull", json={"model": site.url, "id": "small"}).json()["state"] == "downloaded"
    assert http.delete("/models/small").json()["deleted"] is True


@pytest.mark.parametrize("how", ["abort", "delete"])
def test_a_download_is_given_up(http: httpx.Client, site: Site, how: str) -> None:
    site.gate.clear()
    task = http.post("/models/pull", json={"model": site.url, "id": "other"}).json()["task"]["id"]
    told = events(http, task)
    next(event for event in told if any(item["downloadedBytes"] for item in event["task"]["items"]))
    if how == "abort":
        said = http.request("DELETE", "/models/pull", json={"taskId": task})
        assert said.json()["message"] == "Download stopped successfully"
    else:
        said = http.delete("/models/other", params={"force": "1"})
        assert said.json().get("deleted") is True, said.text
    assert [event["type"] for event in told][-1] == "DownloadStopped"
    site.gate.set()
    assert http.get("/models/pull").json()["data"] == []
    assert http.get("/models", params={"all": "1"}).json()["data"] == []


def test_what_cannot_be_fetched_says_why(http: httpx.Client) -> None:
    begun = http.post("/models/pull", json={"model": "http://127.0.0.1:1/files/x.gguf", "id": "never"})
    *_, last = events(http, begun.json()["task"]["id"])
    assert (last["type"], last["task"]["status"]) == ("DownloadError", "Error")
    assert last["message"]
    http.delete("/models/never")


def test_a_client_that_only_listens_stops_nothing_by_leaving(http: httpx.Client, site: Site) -> None:
    site.gate.clear()
    task = http.post("/models/pull", json={"model": site.url, "id": "heard"}).json()["task"]["id"]
    told = events(http, task)
    next(told)
    told.close()  # type: ignore[attr-defined]
    site.gate.set()
    assert [event["type"] for event in events(http, task)][-1] == "DownloadSuccess"
    http.delete("/models/heard")


def test_a_file_elsewhere_is_not_imported(http: httpx.Client) -> None:
    said = http.post("/models/import", json={"model": "secret", "modelPath": "/etc/hostname"})
    assert said.status_code in (400, 403, 404), said.text
    assert said.json()["message"] == said.json()["error"]["message"]

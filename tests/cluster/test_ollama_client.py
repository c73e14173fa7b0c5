"""Every call of Ollama's Python client (section 12) on a cluster with a store, a registry and an idle worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ollama
import pytest
from cluster.herd import Herd, wait_for
from cluster.wire import Answer, get
from tropilla.common.gguf import read_header
from tropilla.common.keystore import Keystore
from tropilla.workers import pocket

GREEDY = {"temperature": 0, "num_predict": 12}
QUESTION = "What is the capital of France?"
TURN = [{"role": "user", "content": QUESTION}]
#: As a registry keeps it: what stands under a name.
SYSTEM = b"You are brief."
PARAMETERS = json.dumps({"stop": ["STOP"], "temperature": 0}).encode()


@dataclass(frozen=True)
class Registry:
    """A registry of one model, `library/tiny:latest`: the built-in one, with a system text and parameters."""

    host: str
    asked: list[str]

    @property
    def name(self) -> str:
        return f"http://{self.host}/library/tiny"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    contents = {
        f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in (pocket.path().read_bytes(), SYSTEM, PARAMETERS)
    }
    config = b'{"model_format":"gguf"}'
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": len(data)}
        for kind, (digest, data) in zip(("model", "system", "params"), contents.items(), strict=True)
    ]
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    contents[digest] = config
    about = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest, "size": len(config)}
    manifest = {"schemaVersion": 2, "config": about, "layers": layers}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            root, _, last = self.path.rpartition("/")
            body = contents.get(last) if root == "/v2/library/tiny/blobs" else None
            if self.path == "/v2/library/tiny/manifests/latest":
                body = json.dumps(manifest).encode()
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Registry(f"127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[Herd]:
    """One worker that was started for the built-in model, one without any, and the store."""
    herd = Herd(tmp_path_factory.mktemp("stocked"), pull_hosts=f"*,{registry.host}", swap_seconds=1)
    try:
        herd.start_worker(slots=4)
        herd.start_worker("--idle", ready=False, slots=2)
        herd.start_store()
        herd.start_api()
        wait_for(lambda: len(herd.bus.catalogue().workers) == 2, "both workers")
        yield herd
    finally:
        herd.stop()


@pytest.fixture
def client(stocked: Herd) -> Iterator[ollama.Client]:
    with ollama.Client(host=stocked.base_url) as client:
        yield client


@asynccontextmanager
async def connected(herd: Herd) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=herd.base_url) as client:
        yield client


def names(client: ollama.Client) -> set[str]:
    return {str(model.model) for model in client.list().models}


def loaded(client: ollama.Client) -> dict[str, Any]:
    return {str(model.model): model for model in client.ps().models}


def statuses(progress: Any) -> list[str | None]:
    return [each.status for each in progress]


def soon(claim: Callable[[], Any], what: str) -> None:
    """The catalogue is read a few times a second."""
    wait_for(claim, what, 20)


def test_a_created_model_answers_as_its_overlay_says_and_is_shown_and_deleted(client: ollama.Client) -> None:
    said = statuses(
        client.create(
            "bard",
            from_="pocket",
            system="You are brief.",
            template="{{ .System }}|{{ range .Messages }}{{ .Content }}|{{ end }}",
            parameters={"temperature": 0, "stop": ["a", "b"], "num_predict": 3},
            messages=[{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}],
            license="MIT",
            stream=True,
        )
    )
    assert said[-2:] == ["writing manifest", "success"]
    assert "bard:latest" in names(client)
    shown = client.show("bard")
    assert (shown.license, shown.template) == ("MIT", "{{ .System }}|{{ range .Messages }}{{ .Content }}|{{ end }}")
    assert shown.details is not None
    assert shown.details.parent_model == "pocket"
    assert 'PARAMETER stop "a"' in (shown.modelfile or "")
    assert shown.modelinfo is not None
    header = read_header(pocket.path())
    assert shown.modelinfo["general.parameter_count"] == header.parameter_count
    # What the worker sees.
    rendered = client._request_raw(
        "POST", "/api/chat", json={"model": "BARD", "messages": TURN, "_debug_render_only": True}
    ).json()
    assert rendered["_debug_info"]["rendered_template"] == f"You are brief.|You are brief.|1+1|2|{QUESTION}|"
    answer = client.generate("bard", "Hi")
    assert (answer.model, answer.done, (answer.eval_count or 9) <= 3) == ("bard", True, True)
    # The weights are those that were loaded before: another name costs nothing.
    assert loaded(client)["bard:latest"].digest != loaded(client)["pocket:latest"].digest
    assert client.delete("Bard").status == "success"
    assert "bard:latest" not in names(client)
    with pytest.raises(ollama.ResponseError, match="not found") as gone:
        client.delete("bard")
    assert gone.value.status_code == 404


def test_a_model_is_made_of_an_uploaded_file_loaded_on_demand_and_let_go_of(client: ollama.Client) -> None:
    digest = client.create_blob(pocket.path())
    assert digest == client.create_blob(pocket.path()), "it is there already"
    assert client.create("mine", files={"pocket.gguf": digest}, stream=False).status == "success"
    assert "mine:latest" in names(client)
    assert "mine:latest" not in loaded(client)
    answer = client.generate("mine", QUESTION, options=GREEDY, keep_alive="10m")
    assert "Paris" in answer.response
    told = loaded(client)["mine:latest"]
    assert told.size
    assert told.context_length
    assert told.expires_at is not None
    # What this request brought, not what held before it.
    assert 590 < told.expires_at.timestamp() - time.time() <= 601
    verbose = client._request_raw("POST", "/api/show", json={"model": "mine", "verbose": True}).json()
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) == read_header(pocket.path()).vocabulary
    assert {"name", "type", "shape"} <= verbose["tensors"][0].keys()
    assert verbose["model_info"].keys() == client.show("mine").modelinfo.keys()  # type: ignore[union-attr]
    # Nothing to generate, and no time to stay.
    unloaded = client.generate("mine", keep_alive=0)
    assert (unloaded.response, unloaded.done_reason) == ("", "unload")
    soon(lambda: "mine:latest" not in loaded(client), "the model to leave")
    assert "mine:latest" in names(client)
    # A load is answered when the model is there.
    assert client.chat("mine", []).done_reason == "load"
    assert "mine:latest" in loaded(client)
    assert client.delete("mine").status == "success"
    soon(lambda: "mine:latest" not in loaded(client), "the weights to leave with their only name")


def test_a_worker_of_another_machine_fetches_a_part_of_a_file(client: ollama.Client, stocked: Herd) -> None:
    digest, data = client.create_blob(pocket.path()), pocket.path().read_bytes()
    path = f"/internal/blobs/{digest}"
    ours = {"Authorization": f"Bearer {Keystore(stocked.bus).internal_secret()}"}
    with Answer(stocked, path, b"", "GET", {"Range": "bytes=1000000-", **ours}) as answer:
        assert (answer.status, answer.data()) == (206, data[1_000_000:])
    with Answer(stocked, path, b"", "GET", ours) as answer:
        assert (answer.status, answer.data()) == (200, data)
    # Also on a loopback address, where callers need no key.
    with get(stocked, path) as answer:
        assert answer.status == 401


def test_a_model_is_pulled_with_what_its_registry_lays_over_it(client: ollama.Client, registry: Registry) -> None:
    progress = list(client.pull(registry.name, insecure=True, stream=True))
    digest = hashlib.sha256(pocket.path().read_bytes()).hexdigest()
    said = list(dict.fromkeys(statuses(progress)))
    assert said[0] == "pulling manifest"
    assert f"pulling {digest[:12]}" in said
    assert said[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    ends = [each for each in progress if each.status == f"pulling {digest[:12]}"]
    assert ends[-1].completed == ends[-1].total == pocket.path().stat().st_size
    name = f"{registry.host.replace(':', '-')}/library/tiny:latest"
    assert name in names(client)
    shown = client.show(registry.name)
    assert (shown.parameters or "").split() == ["stop", '"STOP"', "temperature", "0"]
    assert "Paris" in client.chat(f"{registry.host}/library/tiny", TURN, options={"num_predict": 12}).message.content  # type: ignore[operator]
    # Under a second name that stays when the first one goes.
    assert client.copy(name, "Second").status == "success"
    assert client.copy("second", "SECOND").status == "success"
    client.delete(name)
    assert names(client) == {"pocket:latest", "Second:latest"}
    assert "Paris" in client.generate("second", QUESTION, options=GREEDY).response
    client.delete("second")


def test_what_is_there_is_pulled_at_once_and_what_is_nowhere_fails_in_the_stream(
    client: ollama.Client, registry: Registry
) -> None:
    assert client.pull("pocket").status == "success"
    assert statuses(client.pull("pocket", stream=True))[-1] == "success"
    nowhere = f"http://{registry.host}/library/nowhere"
    said = client.pull(nowhere, insecure=True, stream=True)
    with pytest.raises(ollama.ResponseError, match="file does not exist") as streamed:
        list(said)
    with pytest.raises(ollama.ResponseError, match="file does not exist") as whole:
        client.pull(nowhere, insecure=True)
    assert (streamed.value.status_code, whole.value.status_code) in {(-1, 500), (500, 500)}
    assert names(client) == {"pocket:latest"}


def test_a_push_is_refused_either_way(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="pushing is not supported") as whole:
        client.push("pocket")
    assert whole.value.status_code == 501
    said = []
    with pytest.raises(ollama.ResponseError, match="pushing is not supported"):
        said += [each.status for each in client.push("pocket", stream=True)]
    assert said == []


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"from_": "nobody"}, 404, 'model "nobody" not found'),
        ({"from_": "pocket", "template": "{{ .Prompt"}, 400, "template error: template: :1: unclosed action"),
        ({"files": {"x.gguf": "sha256:" + "0" * 64}}, 404, "was not uploaded"),
        ({"from_": "pocket", "quantize": "Q2_K"}, None, "quantiz"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_cannot_be_created_is_told_with_a_status(
    client: ollama.Client, more: Any, status: int | None, text: str, stream: bool
) -> None:
    with pytest.raises(ollama.ResponseError, match=text) as refused:
        list(client.create("never", **more, stream=stream))  # type: ignore[call-overload]
    assert status is None or refused.value.status_code in (status, -1)
    assert "never:latest" not in names(client)


def test_every_other_call_answers(client: ollama.Client, stocked: Herd) -> None:
    assert "Paris" in client.generate("pocket", QUESTION, options=GREEDY).response
    parts = list(client.chat("pocket", TURN, options=GREEDY, stream=True, keep_alive=-1))
    assert "Paris" in "".join(part.message.content or "" for part in parts)
    assert len(client.embed("pocket", ["a", "b"]).embeddings) == 2
    assert client.embed("pocket", "").embeddings == []
    assert len(client.embeddings("pocket", "a").embedding) > 0
    assert loaded(client)["pocket:latest"].expires_at.year > 2300
    with get(stocked, "/api/status") as answer:
        assert answer.json()["cloud"]["disabled"] is True


def test_everything_works_asynchronously(stocked: Herd, registry: Registry, tmp_path: Path) -> None:
    async def talk() -> None:
        async with connected(stocked) as client:
            answer = await client.generate("pocket", QUESTION, options=GREEDY)
            assert "Paris" in answer.response
            stream = await client.chat("pocket", TURN, options=GREEDY, stream=True)
            assert "Paris" in "".join([part.message.content or "" async for part in stream])
            assert len((await client.embed("pocket", "a")).embeddings) == 1
            assert (await client.embeddings("pocket", "a")).embedding
            # Chunked, without a length.
            digest = await client.create_blob(pocket.path())
            progress = await client.create("async", files={"pocket.gguf": digest}, system="Hm.", stream=True)
            assert [each.status async for each in progress][-1] == "success"
            assert (await client.copy("async", "again")).status == "success"
            assert (await client.show("async")).template
            assert (await client.ps()).models
            pulled = await client.pull(registry.name, insecure=True, stream=True)
            assert [each.status async for each in pulled][-1] == "success"
            with pytest.raises(ollama.ResponseError, match="pushing is not supported"):
                await client.push("async")
            for name in ("async", "again", registry.name):
                assert (await client.delete(name)).status == "success"
            with pytest.raises(ollama.ResponseError, match="not found"):
                await client.delete("nobody")

    asyncio.run(talk())


def test_nothing_broke_behind_the_answers(stocked: Herd) -> None:
    for process in stocked.processes:
        assert process.alive, process.log
        assert "Traceback" not in process.log, process.log

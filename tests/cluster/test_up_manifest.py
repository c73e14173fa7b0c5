"""`tropilla up --manifest`: models fetched, loaded by idle workers, and asked."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.test_up import Up
from tropilla.workers import pocket
from upstream import Content, Upstream

MANIFEST = """#syntax=ghcr.io/sozercan/aikit:latest
apiVersion: v1alpha1
backends:
  - stablediffusion
models:
  - name: fox
    source: {url}
  - name: ghost
    source: {missing}
config: |
  - name: fox
    parameters:
      model: fox.gguf
      temperature: 0
    context_size: 512
  - name: ghost
    parameters: {{model: ghost.gguf}}
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"/m/fox.gguf": Content(pocket.path().read_bytes())}) as upstream:
        yield upstream


@pytest.fixture
def manifest(tmp_path: Path, upstream: Upstream) -> str:
    file = tmp_path / "aikitfile.yaml"
    file.write_text(MANIFEST.format(url=upstream.url("/m/fox.gguf"), missing=upstream.url("/m/ghost.gguf")))
    return str(file)


def ask(url: str, body: Any) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_cluster_comes_up_with_what_a_manifest_says_and_comes_up_again(
    tmp_path: Path, upstream: Upstream, manifest: str
) -> None:
    flags = ("--port", "0", "--flower-port", "off", "--manifest", manifest, "--slots", "2")
    for _ in range(2):
        up = Up(tmp_path, *flags, pull_hosts=f"*,{upstream.place}")
        try:
            up.wait_until_ready()
            api = up.address("API")
            said = ask(
                f"{api}/v1/chat/completions", {"model": "fox", "messages": [{"role": "user", "content": "Hello"}]}
            )
            assert said["model"] == "fox"
            assert said["usage"]["completion_tokens"] > 0
            assert "model    fox on cpu-1" in up.said
            assert "model    ghost cannot be used:" in up.said
            assert "manifest: backend stablediffusion is declared but not provided" in up.said
        finally:
            assert up.stop(signal.SIGINT) == 0
    fetched = [asked for asked in upstream.gets if asked.path == "/m/fox.gguf"]
    # What is there is not fetched again.
    assert len(fetched) == 1


def test_what_was_wrong_the_last_time_is_wrong_no_more(tmp_path: Path) -> None:
    file = tmp_path / "aikitfile.yaml"
    file.write_text("apiVersion: v1alpha1\nmodels: [{name: fox, source: fox.gguf}]\n")
    flags = ("--port", "0", "--flower-port", "off", "--manifest", str(file), "--slots", "2")
    up = Up(tmp_path, *flags)
    try:
        assert up.child.wait(60) == 1, up.said
    finally:
        up.stop()
    assert "no model of the manifest can be used:" in up.said
    shutil.copy(pocket.path(), tmp_path / "fox.gguf")
    up = Up(tmp_path, *flags)
    try:
        up.wait_until_ready()
        assert "model    fox.gguf on cpu-1" in up.said
    finally:
        assert up.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("flags", "sentence", "status"),
    [
        (("--manifest-runtime", "cuda"), "it needs a gpu worker (--gpu 1)", 2),
        (("--manifest-runtime", "tpu"), "runtime tpu is not supported", 2),
        (("--model", "a=/a.gguf"), "a manifest says which models there are", 2),
        (("--manifest-model", "{missing}"), "no model of the manifest can be used:", 1),
    ],
)
def test_a_manifest_that_comes_to_nothing_is_one_sentence(
    tmp_path: Path, upstream: Upstream, manifest: str, flags: tuple[str, ...], sentence: str, status: int
) -> None:
    given = [flag.format(missing=upstream.url("/m/ghost.gguf")) for flag in flags]
    common = ("--port", "0", "--flower-port", "off", "--manifest", manifest)
    up = Up(tmp_path, *common, *given, pull_hosts=f"*,{upstream.place}")
    try:
        assert up.child.wait(60) == status, up.said
    finally:
        up.stop()
    assert sentence in up.said
    assert "Traceback" not in up.said

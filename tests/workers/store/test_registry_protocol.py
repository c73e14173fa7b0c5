"""Manifests of Ollama's registry, and what their layers lay over a model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tropilla.common.errands import Progress
from tropilla.common.generation import Message
from tropilla.common.recipes import Overlay
from tropilla.workers.store.pulling import FetchFailed
from tropilla.workers.store.registry_protocol import Layer, Manifest, overlay_of, read_manifest

HEX = "ab" * 32


def layer(kind: str, digest: Any = f"sha256:{HEX}", size: Any = 3) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": size}


def test_a_manifest_is_read() -> None:
    read = read_manifest(
        {"config": layer("config"), "layers": [layer("model"), layer("license"), layer("license", size=0)]}
    )
    assert read.config == Layer("config", HEX, 3)
    assert [one.kind for one in read.layers] == ["model", "license", "license"]
    assert read.of_kind("model") == (Layer("model", HEX, 3),)


@pytest.mark.parametrize(
    "digest", ["sha256:../../../etc/passwd", f"sha256:{HEX[1:]}", f"md5:{HEX}", "", None, 5, f"{HEX}/.."]
)
def test_a_digest_that_is_none_never_becomes_a_path(digest: Any) -> None:
    """CVE-2024-37032."""
    with pytest.raises(FetchFailed, match="makes no sense"):
        read_manifest({"layers": [layer("model", digest)]})


@pytest.mark.parametrize(
    ("found", "code", "message"),
    [
        ([], "download_failed", "the manifest makes no sense: it has no layers"),
        ({"layers": {}}, "download_failed", "the manifest makes no sense: it has no layers"),
        ({"layers": []}, "not_gguf", "error: not a GGUF model"),
        ({"layers": [layer("tensor"), layer("tensor")]}, "not_gguf", "error: not a GGUF model"),
        ({"layers": [layer("model"), layer("draft")]}, "not_gguf", "error: not a GGUF model"),
        ({"layers": [layer("model"), layer("model")]}, "download_failed", "the manifest names 2 models, one is wanted"),
        ({"layers": ["model"]}, "download_failed", "the manifest makes no sense: 'model'"),
        ({"layers": [layer("model", size=-1)]}, "download_failed", None),
        ({"layers": [layer("model", size="3")]}, "download_failed", None),
    ],
)
def test_what_is_no_manifest_is_refused(found: Any, code: str, message: str | None) -> None:
    with pytest.raises(FetchFailed) as caught:
        read_manifest(found)
    assert caught.value.code == code
    assert message in (None, caught.value.message)


def overlaid(*texts: tuple[str, str], config: Any = None) -> tuple[Overlay, tuple[str, ...], list[Progress]]:
    contents: dict[str, bytes] = {}
    layers = []
    for kind, text in (*texts, ("config", json.dumps(config or {}))):
        digest = hashlib.sha256(text.encode()).hexdigest()
        contents[digest] = text.encode()
        layers.append(Layer(kind, digest, len(text)))
    said: list[Progress] = []
    overlay, warnings = overlay_of(
        Manifest(tuple(layers[:-1]), layers[-1]), lambda one: contents[one.digest], said.append
    )
    return overlay, warnings, said


def test_layers_become_an_overlay() -> None:
    overlay, warnings, said = overlaid(
        ("model", "never read"),
        ("template", "{{ .Prompt }}"),
        ("system", "Be brief."),
        ("params", '{"stop": ["<s>", "</s>"], "num_ctx": 4096, "temperature": 1, "num_gpu": 1, "odd": 1}'),
        ("messages", '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]'),
        ("license", "MIT"),
        ("license", "And more"),
    )
    assert overlay == Overlay(
        template="{{ .Prompt }}",
        system="Be brief.",
        messages=(Message("user", "Hi"), Message("assistant", "Yes?")),
        parameters=(("stop", ("<s>", "</s>")), ("context", 4096), ("temperature", 1.0)),
        licenses=("MIT", "And more"),
    )
    assert warnings == ("its parameter odd has no effect here",)
    assert [word.total for word in said] == [13, 9, 84, 77, 3, 8]
    digest = hashlib.sha256(b"MIT").hexdigest()
    assert said[4] == Progress(f"pulling {digest[:12]}", f"sha256:{digest}", 3, 3)


def test_the_template_is_the_files_own_where_ollama_renders_in_code() -> None:
    overlay, _, _ = overlaid(("template", "{{ .Prompt }}"), ("system", "S"), config={"renderer": "qwen3-coder"})
    assert overlay == Overlay(system="S")


def test_an_old_prompt_layer_is_a_template() -> None:
    assert overlaid(("prompt", "old"))[0].template == "old"
    assert overlaid(("prompt", "old"), ("template", "new"))[0].template == "new"


def test_files_that_nothing_reads_are_said() -> None:
    warnings = overlaid(("projector", "x"), ("adapter", "y"))[1]
    assert warnings == ("its adapter is not taken: the model answers without it",)


@pytest.mark.parametrize("text", [("params", "[]"), ("params", "{"), ("messages", "{}"), ("params", "[" * 100_000)])
def test_a_layer_that_is_not_its_json_is_refused(text: tuple[str, str]) -> None:
    with pytest.raises(FetchFailed, match="is not the JSON that it should be"):
        overlaid(text)

"""Ollama's registry: a manifest of layers, each a blob of its own (contracts, models sheet 5.5). hf.co speaks it, too.

Every digest of a manifest is read by one grammar before it becomes part of an address or a path (CVE-2024-37032).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tropilla.common.blobs import digest_of
from tropilla.common.errands import Progress
from tropilla.common.generation import Message
from tropilla.common.options import read_parameters
from tropilla.common.origins import RegistryModel, public, stored_name
from tropilla.common.recipes import Overlay
from tropilla.workers.store.patience import expect_patience
from tropilla.workers.store.pulling import FetchFailed, Report
from tropilla.workers.store.wanted import Address, Wanted
from tropilla.workers.store.wire import Answer, Wire

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
PREFIX = "application/vnd.ollama.image."
#: Of a layer that is a text. The longest licenses known have 40 kB.
MAX_TEXT_BYTES = 4 << 20
#: Layers of models that are not in one GGUF file.
_OTHER_FORMATS = ("tensor", "draft", "embed")
_TEXTS = ("template", "prompt", "system", "params", "messages", "license")


@dataclass(frozen=True, slots=True)
class Layer:
    """`kind` is the end of its media type."""

    kind: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    layers: tuple[Layer, ...]
    #: Digest of what the registry says of the model as a whole; "" for nothing.
    config: Layer | None = None

    def of_kind(self, kind: str) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.kind == kind)


def read_manifest(found: Any) -> Manifest:
    """Raises `FetchFailed` for what is no manifest, and for one of a model that is not in GGUF."""
    layers = found.get("layers") if isinstance(found, dict) else None
    if not isinstance(layers, list):
        raise FetchFailed("download_failed", "the manifest makes no sense: it has no layers")
    config = found.get("config")
    manifest = Manifest(tuple(map(_layer, layers)), _layer(config) if isinstance(config, dict) else None)
    models = manifest.of_kind("model")
    if any(layer.kind in _OTHER_FORMATS for layer in manifest.layers) or not models:
        raise FetchFailed("not_gguf", "error: not a GGUF model", refusal="invalid")
    if len(models) > 1:
        raise FetchFailed("download_failed", f"the manifest names {len(models)} models, one is wanted")
    return manifest


def _layer(found: Any) -> Layer:
    kind, digest, size = (
        found.get(key) if isinstance(found, dict) else None for key in ("mediaType", "digest", "size")
    )
    read = digest_of(digest) if isinstance(digest, str) else None
    if not isinstance(kind, str) or read is None or not isinstance(size, int) or size < 0:
        raise FetchFailed("download_failed", f"the manifest makes no sense: {found!r:.200}")
    return Layer(kind.removeprefix(PREFIX), read, size)


@dataclass(frozen=True, slots=True)
class Registry:
    """One model of one registry."""

    model: RegistryModel
    wire: Wire

    @property
    def _base(self) -> str:
        model = self.model
        return f"{'http' if model.insecure else 'https'}://{model.host}/v2/{model.namespace}/{model.model}"

    def manifest(self) -> Manifest:
        """Raises `Unreachable` and `FetchFailed`."""
        with self.wire.ask(f"{self._base}/manifests/{self.model.tag}", headers={"accept": MANIFEST_TYPE}) as answer:
            if answer.status != 200:
                raise self._failure(answer)
            return read_manifest(answer.json())

    def text(self, layer: Layer) -> bytes:
        """A small layer's content, verified. Raises `Unreachable` and `FetchFailed`."""
        with self.wire.ask(self._blob(layer)) as answer:
            if answer.status != 200:
                raise self._failure(answer)
            content = answer.body(MAX_TEXT_BYTES)
        if (found := hashlib.sha256(content).hexdigest()) != layer.digest:
            raise FetchFailed("checksum_mismatch", f"sha256 mismatch: want {layer.digest} got {found}")
        return content

    def wanted(self, layer: Layer) -> Wanted:
        """The file of a model, or of what reads images for it."""
        address = Address(self._blob(layer), public(self.model))
        name = stored_name(self.model)
        return Wanted(name if layer.kind == "model" else f"mmproj-{name}", (address,), layer.digest, layer.size)

    def _blob(self, layer: Layer) -> str:
        return f"{self._base}/blobs/sha256:{layer.digest}"

    def _failure(self, answer: Answer) -> FetchFailed:
        expect_patience(answer)
        if answer.status == 404:
            return FetchFailed("download_failed", "pull model manifest: file does not exist", refusal="unknown")
        if answer.status in (401, 403):
            message = f"{self.model.host} gives {public(self.model)} to those only who are signed in"
            return FetchFailed("download_failed", message, refusal="forbidden")
        return FetchFailed("download_failed", f"{answer.host} answers with status {answer.status}")


def overlay_of(manifest: Manifest, read: Callable[[Layer], bytes], report: Report) -> tuple[Overlay, tuple[str, ...]]:
    """(what the layers lay over the weights, what is not taken of them). Raises what `read` raises, and `FetchFailed`."""
    texts: dict[str, list[str]] = {}
    for layer in manifest.layers:
        if layer.kind in _TEXTS:
            texts.setdefault(layer.kind, []).append(read(layer).decode("utf-8", errors="replace"))
            said = Progress(f"pulling {layer.digest[:12]}", f"sha256:{layer.digest}", layer.size, layer.size)
            report(said)
    config = _json(read(manifest.config).decode("utf-8", errors="replace"), {}) if manifest.config else {}
    parameters, strange = read_parameters(_json((texts.get("params") or ["{}"])[-1], {}))
    warnings = [f"its parameter {name} has no effect here" for name in strange]
    warnings += [NOT_TAKEN[layer.kind] for layer in manifest.layers if layer.kind in NOT_TAKEN]
    templates = [*texts.get("prompt", ()), *texts.get("template", ())]
    if config.get("renderer"):
        # Ollama renders these in code of its own, and the layer is a placeholder: the file's Jinja says it all.
        templates = []
    overlay = Overlay(
        template=templates[-1] if templates else "",
        system=(texts.get("system") or [""])[-1],
        messages=_messages(_json((texts.get("messages") or ["[]"])[-1], [])),
        parameters=parameters,
        licenses=tuple(texts.get("license", ())),
    )
    return overlay, tuple(warnings)


#: Layers of files that nothing here reads.
NOT_TAKEN: Mapping[str, str] = MappingProxyType({"adapter": "its adapter is not taken: the model answers without it"})


def _json(text: str, empty: Any) -> Any:
    """Raises `FetchFailed` for what is no JSON of the type of `empty`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FetchFailed("download_failed", "a layer of the manifest is not the JSON that it should be") from error
    if not isinstance(found, type(empty)):
        raise FetchFailed("download_failed", "a layer of the manifest is not the JSON that it should be")
    return found


def _messages(found: list[Any]) -> tuple[Message, ...]:
    return tuple(
        Message(str(message.get("role", "")), str(message.get("content", "")))
        for message in found
        if isinstance(message, dict)
    )

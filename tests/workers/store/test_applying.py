"""Manifests brought to a store: what is defined when, what goes wrong by itself, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_scene import Scene
from tropilla.common.catalogue import Trouble
from tropilla.common.errands import Apply, Done, Refused
from tropilla.common.generation import LocalTemplates
from tropilla.common.origins import LocalFile
from tropilla.workers.store.pulling import FetchFailed

MANIFEST = """
apiVersion: v1alpha1
models:
  - name: one
    source: https://example.com/one.gguf
    promptTemplates:
      - name: chat
        template: "{{.Input}}!"
  - name: two
    source: https://example.com/two.gguf
config: |
  - name: one
    context_size: 32
    pinned: true
    parameters:
      model: one.gguf
      temperature: 0.2
    template:
      chat: chat
  - name: same
    context_size: 32
    parameters:
      model: one.gguf
  - name: two
    parameters:
      model: two.gguf
"""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.fetch.named = {"one.gguf": scene.decoder("one.gguf"), "two.gguf": scene.decoder("two.gguf", layers=3)}
    return scene


def apply(scene: Scene, manifest: str = MANIFEST) -> Done | Refused | None:
    return scene.do(Apply("a", manifest, str(scene.folder)))


def test_every_entry_becomes_a_model_that_is_loaded_beforehand(scene: Scene) -> None:
    assert apply(scene) == Done()
    assert scene.names == {"one", "same", "two"}
    one, same = scene["one"], scene["same"]
    assert one.recipe == same.recipe
    assert (one.recipe.context, one.model.context_length) == (32, 32)
    assert (one.preload, one.keeps, same.keeps) == (True, True, False)
    assert one.source == "https://example.com/one.gguf"
    assert isinstance(one.model.overlay.template, LocalTemplates)
    assert one.model.overlay.defaults["temperature"] == 0.2
    assert scene["two"].recipe.pin != one.recipe.pin
    assert len(scene.fetch.asked) == 2, "one file, two models"
    assert not scene.registry.troubles


def test_what_is_there_serves_while_the_rest_is_on_its_way(scene: Scene) -> None:
    seen: list[tuple[set[str], dict[str, Trouble]]] = []
    scene.fetch.meanwhile = lambda: seen.append((scene.names, dict(scene.registry.troubles)))
    apply(scene)
    (before, troubled), (between, rest) = seen
    assert not before
    assert {name: trouble.code for name, trouble in troubled.items()} == dict.fromkeys(
        ("one", "same", "two"), "downloading"
    )
    assert between == {"one", "same"}
    assert set(rest) == {"two"}


def test_what_goes_wrong_with_one_model_is_its_own_trouble(scene: Scene) -> None:
    scene.fetch.named["two.gguf"] = FetchFailed("checksum_mismatch", "sha256 mismatch")
    word = apply(scene)
    assert isinstance(word, Done)
    assert "two: sha256 mismatch" in word.warnings
    assert scene.names == {"one", "same"}
    assert scene.registry.troubles == {"two": Trouble("checksum_mismatch", "sha256 mismatch")}
    page = scene.folder / "page"
    page.write_text("<html>")
    scene.fetch.named["two.gguf"] = page
    apply(scene)
    assert scene.registry.troubles["two"].code == "not_gguf"


def test_applying_again_changes_nothing_that_has_not_changed(scene: Scene) -> None:
    apply(scene)
    before = {name: scene[name] for name in scene.names}
    scene.clock.advance(60)
    apply(scene)
    assert {name: scene[name] for name in scene.names} == before
    apply(scene, MANIFEST.replace("pinned: true", "pinned: false"))
    assert not scene["one"].keeps
    assert scene["two"] == before["two"]


def test_relative_sources_are_below_the_manifests_folder(scene: Scene) -> None:
    apply(scene, MANIFEST.replace("https://example.com/two.gguf", "./two.gguf"))
    assert any(isinstance(source, LocalFile) for source in scene.fetch.asked)


def test_a_manifest_that_is_none_is_refused(scene: Scene) -> None:
    word = apply(scene, "apiVersion: v9")
    assert isinstance(word, Refused)
    assert (word.code, word.field, word.message) == ("invalid", "apiVersion", "apiVersion v9 is not supported")
    assert not scene.names


def test_a_stopped_apply_keeps_what_it_has(scene: Scene) -> None:
    def stop() -> None:
        scene.stops = len(scene.fetch.asked) == 2

    scene.fetch.meanwhile = stop
    assert apply(scene) is None
    assert scene.names == {"one", "same"}
    assert not scene.registry.troubles

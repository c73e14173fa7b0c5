"""Models that read images, from their files' arrival to their end: the small pair that sees, and one that does not fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sight import MODEL, PROJECTOR
from store_scene import FakeFetch, Scene
from tropilla.common.errands import (
    Apply,
    Configure,
    Copy,
    Create,
    Delete,
    Done,
    Errand,
    Import,
    Progress,
    Pull,
    Refused,
    Word,
)
from tropilla.workers.store.fetch import fetch
from tropilla.workers.store.pulling import Pulling
from tropilla.workers.store.shelves import Shelves
from upstream import Content, Hub, Upstream, registry_routes


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


SIGHT, EYE = sha(MODEL), sha(PROJECTOR)


class Online(Scene):
    """A store that fetches for itself, from one server that is the hub, a registry and the web, and one with the hub's
    content.
    """

    def __init__(self, folder: Path, first: Upstream, content: Upstream) -> None:
        super().__init__(folder)
        self.first, self.content = first, content
        self.words: list[Progress] = []
        pulling = Pulling(
            folder / "home",
            hosts=f"{first.place},{content.place}",
            environment={"HF_ENDPOINT": first.url(""), "HOME": str(folder)},
            insecure=True,
            sleep=lambda _: None,
        )
        self.shelves = Shelves(self.stock, pulling, fetch, self._look)

    def hub(self, **files: Path) -> None:
        held = {f"{name.replace('__', '-')}.gguf": path.read_bytes() for name, path in files.items()}
        self.first.routes.update(Hub("o/r", held, self.content).routes())

    def _hear(self, word: Word) -> None:
        super()._hear(word)
        assert isinstance(word, Progress)
        self.words.append(word)


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Online]:
    with Upstream() as first, Upstream() as content:
        yield Online(tmp_path, first, content)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def seeing(scene: Scene) -> Scene:
    """With a model called `sight`."""
    files = ((MODEL.name, SIGHT), (PROJECTOR.name, EYE))
    for path in (MODEL, PROJECTOR):
        scene.upload(path)
    assert scene.do(Create("c", "sight", files=files)) == Done("sight")
    return scene


def sees(scene: Scene, name: str) -> bool:
    """Whether everything says so."""
    definition = scene[name]
    model, projector = definition.model, definition.recipe.projector
    if projector is None:
        assert (model.projector, "vision" in model.capabilities) == ("", False)
        return False
    assert (projector.digest, model.projector) == (EYE, EYE)
    assert "vision" in model.capabilities
    assert model.size_bytes == MODEL.stat().st_size + PROJECTOR.stat().st_size
    assert json.loads(scene.registry.informed[EYE])["model_info"]["general.architecture"] == "clip"
    assert json.loads(scene.registry.informed[SIGHT])["model_info"]["general.architecture"] == "llama"
    return True


def refused(word: Done | Refused | None, code: str, text: str, field: str = "") -> None:
    assert isinstance(word, Refused), word
    assert (word.code, word.field) == (code, field), word
    assert text in word.message


def test_a_repository_brings_its_projector_along(online: Online) -> None:
    online.hub(sight=MODEL, mmproj__sight=PROJECTOR)
    assert online.do(Pull("p", "hf.co/o/r", "sight")) == Done("sight")
    assert sees(online, "sight")
    assert online.stored() == {SIGHT, EYE}
    sizes = {word.digest: word.completed for word in online.words if word.digest}
    assert sizes == {f"sha256:{SIGHT}": MODEL.stat().st_size, f"sha256:{EYE}": PROJECTOR.stat().st_size}


def test_a_download_of_a_projector_goes_on_where_it_broke_off(online: Online) -> None:
    online.content.routes["/cdn/mmproj-sight.gguf"] = Content(PROJECTOR.read_bytes(), "drop:1000")
    online.hub(sight=MODEL, mmproj__sight=PROJECTOR)
    assert online.do(Pull("p", "hf.co/o/r", "sight")) == Done("sight")
    ranges = [asked.headers.get("range") for asked in online.content.gets if "mmproj" in asked.path]
    assert ranges == [None, "bytes=1000-"]


def test_a_registry_has_it_in_a_layer(online: Online) -> None:
    layers = [("model", MODEL.read_bytes()), ("projector", PROJECTOR.read_bytes())]
    online.first.routes.update(registry_routes("library/sight:latest", layers))
    source = online.first.url("/library/sight:latest")
    assert online.do(Pull("p", source, "sight", insecure=True)) == Done("sight")
    assert sees(online, "sight")


def test_one_that_does_not_fit_is_left_and_told_of(online: Online) -> None:
    online.hub(tiny=online.decoder(), mmproj__sight=PROJECTOR)
    word = online.do(Pull("p", "hf.co/o/r", "tiny"))
    assert isinstance(word, Done)
    assert "it reads no images: mmproj-sight.gguf is not for this model" in word.warnings[0]
    assert not sees(online, "tiny")
    assert EYE not in online.stored()


def test_one_that_somebody_names_has_to_fit(online: Online) -> None:
    online.first.routes.update({"/m.gguf": Content(MODEL.read_bytes()), "/eye.gguf": Content(PROJECTOR.read_bytes())})
    online.first.routes["/other.gguf"] = Content(online.decoder().read_bytes())
    eye = online.first.url("/eye.gguf")
    refused(
        online.do(Pull("p", online.first.url("/other.gguf"), "m", projector=eye)), "failed", "is not for this model"
    )
    assert online.stored() == set()
    assert online.registry.troubles["m"].code == "not_gguf"
    assert online.do(Pull("p", online.first.url("/m.gguf"), "m")) == Done("m")
    assert not sees(online, "m")
    assert online.do(Pull("p", online.first.url("/m.gguf"), "m", projector=eye)) == Done("m")
    assert sees(online, "m")


def test_uploads_make_a_model_that_sees_and_what_is_made_of_it_does_too(seeing: Scene) -> None:
    assert sees(seeing, "sight")
    assert seeing.do(Create("c", "poet", "sight")) == Done("poet")
    assert seeing.do(Copy("c", "sight", "twin")) == Done("twin")
    assert sees(seeing, "poet")
    assert sees(seeing, "twin")
    assert len({seeing[name].recipe.pin for name in seeing.names}) == 1
    for name in ("sight", "twin"):
        seeing.do(Delete("d", name))
        assert seeing.stored() == {SIGHT, EYE}
    seeing.do(Delete("d", "poet"))
    assert seeing.stored() == set()
    assert seeing.registry.informed == {}


def test_uploads_that_do_not_go_together_are_refused(scene: Scene) -> None:
    other, eye = scene.upload(scene.decoder()), scene.upload(PROJECTOR)
    pairs = ((other.name, other.digest), (eye.name, eye.digest))
    refused(scene.do(Create("c", "m", files=pairs)), "invalid", "is not for this model", "files")
    twice = (*pairs, ("again.gguf", eye.digest))
    refused(scene.do(Create("c", "m", files=twice)), "invalid", "a model has one projector", "files")
    refused(scene.do(Create("c", "m", files=pairs[1:])), "invalid", "the files hold no model", "files")
    assert scene.names == set()


@pytest.mark.parametrize("link", [False, True])
def test_files_of_this_machine_become_a_model_that_sees(scene: Scene, link: bool) -> None:
    paths = [scene.folder / path.name for path in (MODEL, PROJECTOR)]
    for path, source in zip(paths, (MODEL, PROJECTOR), strict=True):
        path.write_bytes(source.read_bytes())
    asked = Import("i", "m", str(paths[0]), link=link, projector=str(paths[1]))
    assert scene.do(asked) == Done("m")
    assert sees(scene, "m")
    assert scene.do(asked) == Done("m"), "it is there already"
    refused(scene.do(Import("i", "m", str(paths[0]))), "conflict", "is there already", "model")
    scene.do(Delete("d", "m"))
    assert scene.stored() == set()
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("/etc/passwd", "forbidden", "is outside of the folders"),
        ("gone.gguf", "invalid", "gone.gguf cannot be read"),
        ("tiny.gguf", "invalid", "tiny.gguf is no projector"),
        ("page.gguf", "invalid", "page.gguf"),
    ],
)
def test_a_file_that_reads_no_images_is_refused(scene: Scene, name: str, code: str, text: str) -> None:
    model = scene.decoder()
    (scene.folder / "page.gguf").write_text("<html>not found</html>")
    asked: list[Errand] = [Import("i", "m", str(model), projector=name)]
    scene.do(Import("i", "other", str(model)))
    asked.append(Configure("c", "other", projector=name))
    for errand in asked:
        refused(scene.do(errand), code, text, "projector")
    assert not sees(scene, "other")
    assert len(scene.stored()) == 1


def test_a_model_learns_to_see_and_forgets_it(scene: Scene) -> None:
    for path in (MODEL, PROJECTOR):
        (scene.folder / path.name).write_bytes(path.read_bytes())
    scene.do(Import("i", "m", MODEL.name))
    before = scene["m"].recipe.pin
    assert scene.do(Configure("c", "m", projector=PROJECTOR.name)) == Done("m")
    assert sees(scene, "m")
    assert scene["m"].recipe.pin != before
    # Other numbers leave it as it is.
    assert scene.do(Configure("c", "m", recipe=scene["m"].recipe)) == Done("m")
    assert sees(scene, "m")
    assert scene.do(Configure("c", "m", projector="")) == Done("m")
    assert not sees(scene, "m")
    assert scene.stored() == {SIGHT}


MANIFEST = """
apiVersion: v1alpha1
models:
  - name: sight
    source: https://example.com/sight.gguf
  - name: other
    source: https://example.com/other.gguf
  - name: eye
    source: https://example.com/mmproj-sight.gguf
config: |
  - name: seer
    mmproj: mmproj-sight.gguf
    parameters: {model: sight.gguf}
  - name: blind
    parameters: {model: sight.gguf}
  - name: wrong
    mmproj: eye
    parameters: {model: other.gguf}
"""


def test_a_manifest_says_which_model_reads_images_by_what(scene: Scene) -> None:
    paths = {"sight.gguf": MODEL, "other.gguf": scene.decoder("other.gguf"), "mmproj-sight.gguf": PROJECTOR}
    scene.fetch = FakeFetch(scene.blobs, named=dict(paths))
    scene.shelves = Shelves(scene.stock, Pulling(scene.folder / "home"), scene.fetch, scene._look)
    word = scene.do(Apply("a", MANIFEST, str(scene.folder)))
    assert isinstance(word, Done)
    assert [warning for warning in word.warnings if "is not for this model" in warning]
    assert scene.names == {"seer", "blind"}
    assert sees(scene, "seer")
    assert not sees(scene, "blind")
    assert scene.registry.troubles["wrong"].code == "not_gguf"
    pins = {name: scene[name].recipe.pin for name in scene.names}
    assert scene.do(Apply("b", MANIFEST, str(scene.folder))) == word
    assert {name: scene[name].recipe.pin for name in scene.names} == pins

"""What errands do to a store, on real files and a registry in memory."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import tiny
from store_scene import Scene
from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Configure, Copy, Create, Delete, Done, Import, Pull, Refused
from tropilla.common.generation import LocalTemplates, Message
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Overlay, Recipe
from tropilla.workers.store.layout import path_of
from tropilla.workers.store.pulling import FetchFailed
from tropilla.workers.store.settling import PARTIAL_SECONDS, settle

TOOLS = "{{ range .Messages }}{{ .Role }}{{ .Content }}{{ end }}{{ .Tools }}"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def stocked(scene: Scene) -> Scene:
    """With a model called `base`."""
    assert scene.do(Import("i", "base", str(scene.decoder()))) == Done("base")
    return scene


def refused(word: object, code: str, text: str, field: str | None = None) -> None:
    assert isinstance(word, Refused), word
    assert word.code == code, word
    assert text in word.message, word
    if field is not None:
        assert word.field == field, word


# -- import ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [False, True])
def test_a_file_of_this_machine_becomes_a_model(scene: Scene, link: bool) -> None:
    path = scene.decoder("some model.gguf")
    assert scene.do(Import("i", "m", str(path), link=link)) == Done("m")
    definition, digest = scene["m"], hashlib.sha256(path.read_bytes()).hexdigest()
    assert definition.recipe.files == (File(digest, path.stat().st_size, path.name),)
    assert definition.source == "file:some model.gguf"
    model = definition.model
    assert (model.digest, model.family, model.trained_context) == (digest, "llama", tiny.TRAINED)
    assert (model.pin, model.context_length) == (definition.recipe.pin, tiny.TRAINED)
    assert model.pin.startswith("m@")
    assert scene.blobs.path(digest).is_symlink() is link
    assert json.loads(scene.registry.informed[digest])["model_info"]["llama.block_count"] == 2
    assert not list((scene.blobs.folder / "partial").iterdir())


def test_a_relative_path_is_below_the_first_folder(scene: Scene) -> None:
    scene.decoder("x.gguf")
    assert scene.do(Import("i", "m", "x.gguf")) == Done("m")


def test_importing_again_is_done_already_and_another_file_is_a_conflict(stocked: Scene) -> None:
    again = Import("i", "base", str(stocked.decoder()))
    assert stocked.do(again) == Done("base")
    refused(stocked.do(Import("i", "base", str(stocked.decoder("other.gguf", layers=3)))), "conflict", "there already")


def test_only_files_below_the_folders_are_looked_at(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tiny.write_decoder(tmp_path_factory.mktemp("outside") / "m.gguf")
    (scene.folder / "way out.gguf").symlink_to(outside)
    for path in (str(outside), "/etc/passwd", "/no/such/file", "../../up.gguf", "way out.gguf"):
        said = scene.do(Import("i", "m", path))
        refused(said, "forbidden", "is outside of the folders", "path")
        # Nor is anything said of where those are.
        assert isinstance(said, Refused)
        assert str(scene.folder) not in said.message.replace(path, "")
    assert not scene.stored()


def test_what_is_no_model_is_not_taken_in(scene: Scene) -> None:
    page = scene.folder / "page.gguf"
    page.write_text("<!DOCTYPE html>")
    refused(scene.do(Import("i", "m", str(page))), "invalid", "page.gguf is not a GGUF file: it is a web page (HTML)")
    refused(scene.do(Import("i", "m", str(scene.folder))), "invalid", "is no file", "path")
    refused(scene.do(Import("i", "m", "absent.gguf")), "invalid", "No such file", "path")
    (scene.folder / "loop").symlink_to("loop")
    for path in ("", "a\0b", "loop/x.gguf"):
        refused(scene.do(Import("i", "m", path)), "invalid", "path must name", "path")
    refused(scene.do(Import("i", "../m", str(scene.decoder()))), "invalid", "cannot be a model's name", "model")
    assert not scene.stored()
    assert not scene.names


@pytest.mark.parametrize("link", [False, True])
def test_any_shard_brings_the_others_along(scene: Scene, link: bool) -> None:
    tiny.write_decoder(scene.folder / "m.gguf", shards_of=8)
    assert scene.do(Import("i", "m", "m-00002-of-00003.gguf", link=link)) == Done("m")
    assert [file.name for file in scene["m"].recipe.files] == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert scene["m"].model.size_bytes == sum(path.stat().st_size for path in scene.folder.glob("m-*.gguf"))
    path = path_of(scene["m"].recipe.files, scene.blobs)
    assert path.is_file()
    assert scene.do(Delete("d", "m")) == Done("m")
    assert not scene.stored()
    assert not path.parent.exists(), "the folder of links goes, too"
    (scene.folder / "m-00003-of-00003.gguf").unlink()
    refused(scene.do(Import("i", "m", "m-00001-of-00003.gguf")), "invalid", "m-00003-of-00003.gguf cannot be read")


def test_a_stopped_import_leaves_nothing(scene: Scene) -> None:
    scene.stops = True
    assert scene.do(Import("i", "m", str(scene.decoder()))) is None
    assert not scene.stored()
    assert not list((scene.blobs.folder / "partial").iterdir())


# -- create ------------------------------------------------------------------------------------------------------------


def test_a_model_over_another_shares_its_recipe(stocked: Scene) -> None:
    given = Overlay(system="Arr.", parameters=(("temperature", 0.5),), licenses=("MIT",))
    stocked.clock.advance(60)
    assert stocked.do(Create("c", "pirate:latest", "base", overlay=given)) == Done("pirate:latest")
    pirate, base = stocked["pirate:latest"], stocked["base"]
    assert pirate.recipe == base.recipe
    assert (pirate.model.overlay, pirate.model.parent) == (given, "base")
    assert pirate.model.modified_at == base.model.modified_at + 60
    assert stocked.said == [
        "reading model metadata",
        "creating system layer",
        "creating parameters layer",
        "creating license layer",
        f"using already created layer sha256:{base.model.digest}",
        "writing manifest",
    ]


def test_what_is_inherited_and_what_is_replaced(stocked: Scene) -> None:
    first = Overlay(
        template=TOOLS,
        system="one",
        messages=(Message("user", "a"), Message("assistant", "b")),
        parameters=(("stop", ("x", "y")), ("temperature", 0.6), ("top_k", 10)),
        licenses=("A",),
    )
    second = Overlay(
        parameters=(("stop", ("z",)), ("top_p", 0.7)), licenses=("A", "B"), messages=(Message("user", "c"),)
    )
    stocked.do(Create("c", "one:latest", "base", overlay=first))
    stocked.do(Create("c", "two:latest", "one:latest", overlay=second))
    overlay = stocked["two:latest"].model.overlay
    assert (overlay.template, overlay.system, overlay.messages) == (TOOLS, "one", (Message("user", "c"),))
    assert overlay.defaults == {"stop": ("z",), "temperature": 0.6, "top_k": 10, "top_p": 0.7}
    assert overlay.licenses == ("A", "B")
    assert any(status.startswith("using already created layer") for status in stocked.said)
    stocked.do(Create("c", "three:latest", "two:latest", system_given=True, template_given=True))
    bare = stocked["three:latest"].model.overlay
    assert (bare.template, bare.system) == ("", "")


def test_creating_again_replaces(stocked: Scene) -> None:
    stocked.do(Create("c", "m:latest", "base", overlay=Overlay(system="one")))
    stocked.do(Create("c", "M:latest", "base", overlay=Overlay(system="two")))
    assert stocked.names == {"base", "m:latest"}
    assert stocked["m:latest"].model.overlay.system == "two"


def test_a_template_says_what_a_model_can_do(stocked: Scene) -> None:
    stocked.do(Create("c", "a:latest", "base", overlay=Overlay(template=TOOLS)))
    stocked.do(
        Create("c", "b:latest", "a:latest", overlay=Overlay(template="{{ .Prompt }}<{{ .Suffix }}>{{ .Response }}"))
    )
    assert stocked["a:latest"].model.capabilities == ("completion", "tools")
    assert stocked["b:latest"].model.capabilities == ("completion", "insert")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ .Prompt", "unclosed action"),
        ("{{ if .Prompt }}", "unexpected EOF"),
        ("{{ Prompt }}", 'function "Prompt" not defined'),
    ],
)
def test_a_bad_template_is_refused_in_gos_words(stocked: Scene, source: str, text: str) -> None:
    word = stocked.do(Create("c", "m:latest", "base", overlay=Overlay(template=source)))
    refused(word, "invalid", "template error: ", "template")
    refused(word, "invalid", text)
    assert stocked.names == {"base"}


def test_more_context_than_its_base_has_is_another_thing_to_load(scene: Scene) -> None:
    scene.do(Import("i", "base", str(scene.decoder())))
    scene.do(Configure("c", "base", Recipe("", (), context=32)))
    small = scene["base"].recipe
    scene.do(Create("c", "same:latest", "base", overlay=Overlay(parameters=(("context", 16),))))
    scene.do(Create("c", "more:latest", "base", overlay=Overlay(parameters=(("context", 1 << 20),))))
    assert scene["same:latest"].recipe == small
    assert scene["more:latest"].recipe.context == tiny.TRAINED
    assert scene["more:latest"].model.context_length == tiny.TRAINED
    assert scene["more:latest"].recipe.pin != small.pin


def test_an_uploaded_file_becomes_a_model(scene: Scene) -> None:
    file = scene.upload(scene.decoder())
    word = scene.do(
        Create("c", "m:latest", files=(("tiny.gguf", f"sha256:{file.digest}"),), overlay=Overlay(system="s"))
    )
    assert word == Done("m:latest")
    assert scene.said[0] == "parsing GGUF"
    assert scene["m:latest"].recipe.files == (file,)
    assert scene["m:latest"].model.parent == ""
    assert file.digest in scene.registry.informed


def test_equal_files_are_loaded_once_whatever_they_are_called(scene: Scene) -> None:
    file = scene.upload(scene.decoder())
    for name, called in (("a:latest", "a.gguf"), ("b:latest", "b.gguf")):
        scene.do(Create("c", name, files=((called, file.digest),)))
    assert scene["a:latest"].recipe.pin == scene["b:latest"].recipe.pin


ABSENT = "ab" * 32


@pytest.mark.parametrize(
    ("errand", "code", "text", "field"),
    [
        (Create("c", "m"), "invalid", "neither 'from' or 'files' was specified", "from"),
        (Create("c", "m", "base", files=(("a", ABSENT),)), "invalid", "exclude each other", "from"),
        (Create("c", "m", "absent"), "unknown", "model 'absent' not found", "from"),
        (Create("c", "^", "base"), "invalid", "cannot be a model's name", "model"),
        (Create("c", "m", files=(("/a.gguf", ABSENT),)), "invalid", "file path must be relative", "files"),
        (Create("c", "m", files=(("../a.gguf", ABSENT),)), "invalid", "file path must be relative", "files"),
        (Create("c", "m", files=(("c:\\a.gguf", ABSENT),)), "invalid", "file path must be relative", "files"),
        (Create("c", "m", files=(("a.gguf", ""),)), "invalid", "invalid digest format", "files"),
        (Create("c", "m", files=(("a.gguf", ABSENT),)), "unknown", "was not uploaded", "files"),
        (Create("c", "m", "base", quantization="Q9"), "invalid", "unsupported quantization type Q9", "quantize"),
        (
            Create("c", "m", "base", adapters=(("a", ABSENT), ("b", ABSENT))),
            "invalid",
            "only one adapter is currently supported",
            "adapters",
        ),
    ],
)
def test_what_create_refuses(stocked: Scene, errand: Create, code: str, text: str, field: str) -> None:
    refused(stocked.do(errand), code, text, field)
    assert stocked.names == {"base"}


def test_uploads_that_are_no_model_are_refused_in_words(scene: Scene) -> None:
    page = scene.folder / "model.safetensors"
    page.write_bytes((2).to_bytes(8, "little") + b"{}")
    first, second = scene.upload(scene.decoder()), scene.upload(scene.decoder("b.gguf", layers=3))
    for files, text in (
        ([scene.upload(page)], "supplied file was not in GGUF format: model.safetensors is not a GGUF file"),
        ([first, second], "are two models, and not parts of one"),
        ([scene.upload(tiny.write_adapter(scene.folder / "a.gguf", scene.decoder()))], "is an adapter, and no model"),
    ):
        pairs = tuple((file.name, file.digest) for file in files)
        refused(scene.do(Create("c", "m", files=pairs)), "invalid", text, "files")


def test_an_adapter_that_fits_is_always_there(stocked: Scene) -> None:
    file = stocked.upload(tiny.write_adapter(stocked.folder / "poet.gguf", stocked.decoder()))
    stocked.do(Create("c", "poet:latest", "base", adapters=(("poet.gguf", file.digest),)))
    poet = stocked["poet:latest"]
    assert poet.recipe.adapters == (("adapter", file),)
    assert poet.model.overlay.defaults == {"adapter": "adapter"}
    assert poet.model.adapters == (), "nobody has to ask for it"
    assert poet.recipe.pin != stocked["base"].recipe.pin
    other = stocked.upload(tiny.write_adapter(stocked.folder / "no.gguf", stocked.decoder(), names=("attn_q",)))
    three = stocked.upload(stocked.decoder("three.gguf", layers=1))
    stocked.do(Create("c", "one:latest", files=(("three.gguf", three.digest),)))
    word = stocked.do(Create("c", "bad:latest", "one:latest", adapters=(("no.gguf", other.digest),)))
    refused(word, "invalid", "no.gguf cannot be an adapter of this model: it adapts blk.1.attn_q", "adapters")


OWN = Definition(fakes.MODEL, Recipe("m", (File("0" * 64, 1, "m.gguf", path="/elsewhere/m.gguf"),)))


def with_own(scene: Scene) -> None:
    """A worker was started with `m`, a file of its own machine."""
    scene.registry.workers.append(replace(fakes.WORKER, own=OWN))


def test_a_workers_own_model_can_be_laid_over_and_copied_and_not_deleted(scene: Scene) -> None:
    with_own(scene)
    assert scene.do(Create("c", "p:latest", "m", overlay=Overlay(template=TOOLS))) == Done("p:latest")
    assert (scene["p:latest"].recipe, scene["p:latest"].model.pin) == (OWN.recipe, "m")
    assert scene["p:latest"].model.capabilities == ("completion", "tools")
    assert scene.do(Copy("c", "m", "n:latest")) == Done("n:latest")
    refused(scene.do(Delete("d", "m")), "conflict", "what a worker was started with", "name")
    refused(scene.do(Configure("c", "m", Recipe("", (), context=10))), "conflict", "that worker's settings", "name")
    assert scene.do(Delete("d", "p")) == Done("p:latest")


# -- copy and delete ---------------------------------------------------------------------------------------------------


def test_a_copy_shares_everything_but_its_name(stocked: Scene) -> None:
    assert stocked.do(Copy("c", "BASE", "second:latest")) == Done("second:latest")
    copy, base = stocked["second:latest"], stocked["base"]
    assert (copy.recipe, copy.source, copy.model.overlay) == (base.recipe, base.source, base.model.overlay)
    assert stocked.do(Copy("c", "base", "BASE")) == Done("base")
    assert stocked.names == {"base", "second:latest"}
    refused(stocked.do(Copy("c", "absent", "x:latest")), "unknown", 'model "absent" not found', "source")
    refused(stocked.do(Copy("c", "base", "-x")), "invalid", "cannot be a model's name", "destination")


def test_files_go_with_the_last_name_that_needs_them(stocked: Scene) -> None:
    base = stocked["base"]
    stocked.do(Copy("c", "base", "second:latest"))
    assert stocked.do(Delete("d", "base")) == Done("base")
    assert stocked.stored() == {base.model.digest}
    stocked.blobs.partial(base.model.digest).write_bytes(b"left over")
    assert stocked.do(Delete("d", "SECOND")) == Done("second:latest")
    assert not stocked.stored()
    assert not stocked.registry.informed
    assert not list((stocked.blobs.folder / "partial").iterdir())
    refused(stocked.do(Delete("d", "second")), "unknown", "model 'second' not found", "name")
    assert stocked.do(Delete("d", "second"), again=True) == Done("second"), "whoever was killed had done it"


def test_what_is_replaced_takes_its_files_along(stocked: Scene) -> None:
    other = stocked.upload(stocked.decoder("other.gguf", layers=3))
    stocked.do(Create("c", "base", files=(("other.gguf", other.digest),)))
    assert stocked.stored() == {other.digest}


def test_uploads_that_no_model_has_yet_stay(stocked: Scene) -> None:
    waiting = stocked.upload(stocked.decoder("later.gguf", layers=3))
    stocked.do(Delete("d", "base"))
    assert stocked.stored() == {waiting.digest}


def test_workers_let_go_of_what_no_name_stands_for(stocked: Scene) -> None:
    pin = stocked["base"].recipe.pin
    stocked.do(Copy("c", "base", "second:latest"))
    stocked.hold(pin, name="ready")
    stocked.hold(pin, name="loading", state="loading")
    stocked.hold(pin, name="leaving", state="draining")
    stocked.hold("mine", name="own", ordered=False)
    stocked.do(Delete("d", "base"))
    assert not stocked.registry.orders, "another name stands for it"
    stocked.do(Delete("d", "second:latest"))
    assert stocked.registry.orders == {"ready": Order(None), "loading": Order(None)}


def test_deleting_a_name_that_never_came_takes_its_trouble_away(scene: Scene) -> None:
    scene.registry.trouble("m:latest", Trouble("download_failed", "no"))
    assert scene.do(Delete("d", "m")) == Done("m:latest")
    assert not scene.registry.troubles


# -- configure ---------------------------------------------------------------------------------------------------------


def test_other_numbers_are_another_recipe(stocked: Scene) -> None:
    before = stocked["base"]
    stocked.hold(before.recipe.pin)
    assert stocked.do(Configure("c", "base", Recipe("", (), context=32, slots=2, cache_type="q8_0"))) == Done("base")
    after = stocked["base"]
    assert after.recipe.files == before.recipe.files
    assert (after.recipe.context, after.recipe.slots, after.recipe.cache_type) == (32, 2, "q8_0")
    assert after.model.context_length == 32
    assert after.model.pin == after.recipe.pin != before.recipe.pin
    assert stocked.registry.orders == {"w@host": Order(None)}
    assert stocked.stored() == {before.model.digest}


def test_configuring_what_is_so_already_changes_nothing(stocked: Scene) -> None:
    before = stocked["base"]
    stocked.clock.advance(9)
    assert stocked.do(Configure("c", "base", Recipe("", ()), before.model.overlay)) == Done("base")
    assert stocked["base"] == before


def test_another_overlay_leaves_the_recipe_alone(stocked: Scene) -> None:
    before = stocked["base"]
    local = LocalTemplates(chat="{{.Input}}", function="{{.Input}}")
    stocked.do(Configure("c", "base", overlay=Overlay(system="s", template=local)))
    assert stocked["base"].recipe == before.recipe
    assert stocked["base"].model.overlay.system == "s"
    assert stocked["base"].model.capabilities == ("completion", "tools")


@pytest.mark.parametrize(
    ("errand", "code", "field"),
    [
        (Configure("c", "absent", Recipe("", ())), "unknown", "name"),
        (Configure("c", "base", Recipe("", (), context=tiny.TRAINED + 1)), "invalid", "context"),
        (Configure("c", "base", Recipe("", (), slots=-1)), "invalid", "slots"),
        (Configure("c", "base", Recipe("", (), cache_type="q3")), "invalid", "cache_type"),
        (Configure("c", "base", Recipe("", (), instruction_set="mmx")), "invalid", "instruction_set"),
        (Configure("c", "base", overlay=Overlay(template="{{")), "invalid", "template"),
    ],
)
def test_what_configure_refuses(stocked: Scene, errand: Configure, code: str, field: str) -> None:
    before = stocked["base"]
    refused(stocked.do(errand), code, "", field)
    assert stocked["base"] == before


# -- pull --------------------------------------------------------------------------------------------------------------

URL = "https://example.com/m.gguf"


def test_a_source_is_fetched_and_defined(scene: Scene) -> None:
    scene.fetch.paths, scene.fetch.warnings = (scene.decoder(),), ("no projector",)
    scene.fetch.overlay = Overlay(template=TOOLS, system="s")
    assert scene.do(Pull("p", URL, "m:latest")) == Done("m:latest", ("no projector",))
    assert scene.said == ["pulling manifest", "writing manifest"]
    model = scene["m:latest"].model
    assert (model.overlay.system, model.capabilities) == ("s", ("completion", "tools"))
    assert scene["m:latest"].source == URL
    assert model.digest in scene.registry.informed
    assert [code for _, code in scene.registry.told if code] == [Trouble("downloading", "m:latest is being downloaded")]
    assert not scene.registry.troubles


def test_a_name_is_made_from_the_source_where_none_is_given(scene: Scene) -> None:
    scene.fetch.paths = (scene.decoder(),)
    assert scene.do(Pull("p", URL)) == Done("m:latest")
    assert scene.do(Pull("p", "llama3")) == Done("llama3:latest")


def test_what_is_there_already_is_told_and_not_fetched(scene: Scene) -> None:
    scene.fetch.paths = (scene.decoder(),)
    scene.do(Pull("p", URL, "m:latest"))
    digest = scene["m:latest"].model.digest
    assert scene.do(Pull("p", URL, "M:latest", sha256=digest)) == Done("m:latest")
    assert scene.said == ["pulling manifest", f"pulling {digest[:12]}", "verifying sha256 digest", "writing manifest"]
    assert len(scene.fetch.asked) == 1
    for again in (
        # Something else may be at an address by now.
        Pull("p", URL, "m:latest"),
        Pull("p", URL, "m:latest", sha256=digest, again=True),
        Pull("p", URL, "m:latest", sha256="0" * 64),
        Pull("p", "https://example.com/other.gguf", "m:latest"),
    ):
        before = len(scene.fetch.asked)
        scene.do(again)
        assert len(scene.fetch.asked) == before + 1
    scene.blobs.path(digest).unlink()
    scene.do(Pull("p", scene["m:latest"].source, "m:latest"))
    assert scene.blobs.has(digest)


def test_a_failure_is_the_new_names_trouble(scene: Scene) -> None:
    scene.fetch.failure = FetchFailed("checksum_mismatch", "sha256 mismatch", refusal="failed")
    refused(scene.do(Pull("p", URL, "m:latest")), "failed", "sha256 mismatch", "")
    assert scene.registry.troubles == {"m:latest": Trouble("checksum_mismatch", "sha256 mismatch")}
    scene.fetch.failure, scene.fetch.paths = None, (scene.decoder(),)
    assert scene.do(Pull("p", URL, "m:latest")) == Done("m:latest")
    assert not scene.registry.troubles
    scene.fetch.failure = FetchFailed("download_failed", "no route", refusal="unknown")
    refused(scene.do(Pull("p", URL, "m:latest", again=True)), "unknown", "no route")
    assert not scene.registry.troubles, "it still has what it had"


def test_a_file_that_cannot_be_served_goes_again(scene: Scene) -> None:
    adapter = tiny.write_adapter(scene.folder / "a.gguf", scene.decoder())
    scene.fetch.paths = (adapter,)
    refused(scene.do(Pull("p", URL, "m:latest")), "failed", "a.gguf is an adapter, and no model")
    assert scene.registry.troubles["m:latest"].code == "not_gguf"
    assert not scene.stored()


def test_a_stopped_pull_leaves_no_trouble(scene: Scene) -> None:
    scene.stops = True
    assert scene.do(Pull("p", URL, "m:latest")) is None
    assert not scene.registry.troubles
    assert not scene.names


def test_deleting_a_name_stops_its_pull(scene: Scene) -> None:
    scene.fetch.paths = (scene.decoder(),)
    scene.fetch.meanwhile = lambda: scene.stock.drop("m:latest")
    assert scene.do(Pull("p", URL, "m:latest")) is None
    assert not scene.names
    assert not scene.registry.troubles


def test_a_template_that_cannot_be_read_is_told_of_and_left_out(scene: Scene) -> None:
    scene.fetch.paths, scene.fetch.overlay = (scene.decoder(),), Overlay(template="{{ nonsense }}", system="s")
    word = scene.do(Pull("p", URL, "m:latest"))
    assert isinstance(word, Done)
    assert "its template is not used" in word.warnings[0]
    assert scene["m:latest"].model.overlay == Overlay(system="s")


def test_what_was_configured_stays_when_files_are_fetched_anew(scene: Scene) -> None:
    scene.fetch.paths = (scene.decoder(),)
    scene.do(Pull("p", URL, "m:latest"))
    scene.do(Configure("c", "m", Recipe("", (), context=32), Overlay(system="s")))
    scene.fetch.paths = (scene.decoder("new.gguf", layers=3),)
    scene.do(Pull("p", URL, "m:latest", again=True))
    now = scene["m:latest"]
    assert (now.recipe.context, now.model.overlay.system) == (32, "s")
    assert scene.stored() == {now.model.digest}, "the old file went"


def test_a_source_that_is_none_is_refused(scene: Scene) -> None:
    refused(scene.do(Pull("p", "ftp://x/y.gguf", "m")), "invalid", "unsupported URL scheme: ftp", "source")
    refused(scene.do(Pull("p", URL, "../m")), "invalid", "cannot be a model's name", "model")
    assert not scene.fetch.asked


# -- at start ----------------------------------------------------------------------------------------------------------


def test_a_store_that_starts_says_what_the_disk_says(stocked: Scene) -> None:
    base = stocked["base"]
    path = stocked.blobs.path(base.model.digest)
    kept = path.rename(stocked.folder / "elsewhere")
    stocked.registry.trouble("half:latest", Trouble("downloading", "on its way"))
    stocked.registry.definitions["m"] = OWN
    settle(stocked.stock)
    assert stocked.registry.troubles["base"].code == "file_missing"
    assert "tiny.gguf is gone" in stocked.registry.troubles["base"].message
    assert stocked.registry.troubles["half:latest"].code == "download_failed"
    assert "m" not in stocked.registry.troubles, "a worker's own file is not here"
    catalogue = stocked.registry.catalogue()
    assert catalogue.trouble("base") == stocked.registry.troubles["base"]
    assert catalogue.candidates(base) == ()
    kept.rename(path)
    settle(stocked.stock)
    assert "base" not in stocked.registry.troubles
    path.write_bytes(b"cut")
    settle(stocked.stock)
    assert "has 3 bytes now instead of" in stocked.registry.troubles["base"].message
    assert "base" in stocked.names


def test_partials_that_lie_there_for_a_week_go(stocked: Scene) -> None:
    stocked.clock.now = 1_000_000_000.0
    old, new = (stocked.blobs.partial(digit * 64) for digit in "ab")
    for path, age in ((old, PARTIAL_SECONDS + 1), (new, PARTIAL_SECONDS - 1)):
        path.write_bytes(b"half")
        os.utime(path, (stocked.clock.now - age,) * 2)
    settle(stocked.stock)
    assert not old.exists()
    assert new.exists()
    assert stocked.stored() == {stocked["base"].model.digest}

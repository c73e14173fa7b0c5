"""What a worker is about to load: files, numbers, and why not. Files are real, servers are sockets of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
import sight
import tiny
from shop import Shop
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_header
from tropilla.common.recipes import File, Recipe
from tropilla.common.settings import Settings
from tropilla.workers import pocket
from tropilla.workers.card import describe
from tropilla.workers.charge import Charge, charge, configured, is_still_there, own_definition
from tropilla.workers.files import Files
from tropilla.workers.llama.model import Llama
from tropilla.workers.trouble import CannotLoad


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", context=1024, slots=2, threads=1, gpu_layers=7)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return tiny.write_decoder(tmp_path / "decoder.gguf")


def file_of(path: Path) -> File:
    return File(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.name)


def define(*files: File, path: Path, name: str = "m", pin: str = "m@0123abcd", **recipe: object) -> Definition:
    model = describe(name, path, read_header(path), 512)
    return replace(Definition(model, Recipe(pin, files)), recipe=replace(Recipe(pin, files), **recipe))  # type: ignore[arg-type]


def store(settings: Settings, *paths: Path) -> tuple[File, ...]:
    blobs = Blobs.below(settings.home)
    blobs.prepare()
    files = tuple(map(file_of, paths))
    for path, file in zip(paths, files, strict=True):
        blobs.path(file.digest).write_bytes(path.read_bytes())
    return files


def charged(definition: Definition, settings: Settings) -> Charge:
    return charge(definition, settings, Files(settings, lambda: Shop.secret))


def trouble(definition: Definition, settings: Settings) -> tuple[str, str]:
    """Code and message, as callers of the API are told."""
    files = Files(settings, lambda: Shop.secret)
    with pytest.raises(CannotLoad) as caught:
        charge(definition, settings, files)
    told = files.without_places(caught.value.trouble)
    assert str(settings.home) not in told.message
    return told.code, told.message


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, (1024, 2, 1, 7, "f16")),
        ({"context": 512, "slots": 3, "threads": 4, "gpu_layers": 0, "cache_type": "q8_0"}, (512, 3, 4, 0, "q8_0")),
    ],
)
def test_a_recipe_s_numbers_win_over_the_worker_s(
    settings: Settings, recipe: dict[str, object], expected: tuple[object, ...]
) -> None:
    found = configured(settings, replace(Recipe("m", ()), **recipe))  # type: ignore[arg-type]
    assert (found.context, found.slots, found.threads, found.gpu_layers, found.cache_type) == expected


def test_what_is_pinned_is_what_the_store_says_with_the_context_that_there_is_room_for(settings: Settings) -> None:
    definition = define(*store(settings, pocket.path()), path=pocket.path(), context=768)
    found = charged(definition, settings)
    assert found.path == Blobs.below(settings.home).path(definition.model.digest)
    assert (found.model.name, found.model.pin, found.model.context_length) == ("m", "m@0123abcd", 768)
    assert found.size.resident_bytes > definition.model.size_bytes
    assert found.gpu_bytes == 0


@pytest.mark.parametrize(("layers", "share"), [(-1, 1.0), (99, 1.0), (1, 1 / 3), (0, 0.0)])
def test_a_gpu_takes_the_share_of_its_layers(settings: Settings, decoder: Path, layers: int, share: float) -> None:
    settings = replace(settings, flavour="gpu", gpu_layers=-1)
    found = charged(define(*store(settings, decoder), path=decoder, gpu_layers=layers), settings)
    assert found.gpu_bytes == int(found.size.resident_bytes * share)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_model_in_several_files_is_loaded_whole(settings: Settings, decoder: Path, tmp_path: Path) -> None:
    shards = split(decoder, tmp_path / "parts")
    files = store(settings, *shards)
    found = charged(define(*files, path=shards[0]), settings)
    assert found.path.name == shards[0].name
    assert found.header.size_bytes == sum(shard.stat().st_size for shard in shards)
    llama = Llama(found.path, found.size, threads=1)
    assert llama.generates
    llama.close()


def split(source: Path, folder: Path) -> list[Path]:
    """The same model in several files."""
    folder.mkdir()
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=8)
    for name, field in reader.fields.items():
        if not name.startswith(("GGUF.", "general.architecture")):
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file(folder / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.iterdir())


@pytest.fixture
def shop(decoder: Path) -> Iterator[Shop]:
    with Shop(decoder) as shop:
        yield shop


def test_a_file_that_is_not_here_is_fetched_once(settings: Settings, decoder: Path, shop: Shop) -> None:
    settings = replace(settings, blobs_url=shop.url)
    definition = define(file_of(decoder), path=decoder)
    found = charged(definition, settings)
    assert found.path.read_bytes() == decoder.read_bytes()
    asked = list(shop.asked)
    assert set(asked) == {f"/internal/blobs/{definition.recipe.files[0].digest}"}
    assert charged(definition, settings).path == found.path
    assert shop.asked == asked


# -- why not -----------------------------------------------------------------------------------------------------------


def test_a_file_that_nobody_has_is_missing(settings: Settings, decoder: Path, shop: Shop) -> None:
    code, message = trouble(define(File("0" * 64, 5, "lost.gguf"), path=decoder), replace(settings, blobs_url=shop.url))
    assert code == "file_missing"
    assert "lost.gguf is not here" in message


def test_a_worker_s_own_file_is_not_asked_for(settings: Settings, decoder: Path) -> None:
    path = str(decoder.with_name("gone.gguf"))
    code, message = trouble(define(File("0" * 64, 5, "gone.gguf", path), path=decoder), settings)
    assert (code, message) == ("file_missing", "gone.gguf is not there")


def test_what_is_no_model_is_called_by_its_name(settings: Settings, decoder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(decoder.read_bytes()[:-1000])
    code, message = trouble(define(*store(settings, cut), path=decoder), settings)
    assert code == "not_gguf"
    assert message.startswith("cut.gguf is truncated")


def test_a_model_that_does_not_fit_is_out_of_memory(
    settings: Settings, decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tropilla.workers.machine.free_bytes", lambda: 1 << 20)
    code, message = trouble(define(*store(settings, decoder), path=decoder), settings)
    assert code == "out_of_memory"
    assert "does not fit into memory" in message


def test_an_adapter_that_does_not_fit_is_a_load_that_failed(settings: Settings, decoder: Path) -> None:
    files = store(settings, decoder)
    code, message = trouble(define(*files, path=decoder, adapters=(("poet", files[0]),)), settings)
    assert code == "load_failed"
    assert "decoder.gguf cannot be an adapter of m" in message


# -- a worker's own model ----------------------------------------------------------------------------------------------


def test_a_worker_s_own_model_is_a_definition_that_only_it_can_load(decoder: Path, tmp_path: Path) -> None:
    adapter = tiny.write_adapter(tmp_path / "poet.gguf", decoder)
    settings = Settings(model=f"own={decoder}", adapters=f"poet={adapter}", home=tmp_path)
    own = own_definition(settings)
    assert (own.model.name, own.model.pin, own.recipe.pin) == ("own", "own", "own")
    assert (own.preload, own.keeps, own.model.adapters) == (True, False, ("poet",))
    assert own.recipe.files == (replace(file_of(decoder), path=str(decoder)),)
    found = charged(own, settings)
    assert (found.path, found.adapters) == (decoder, {"poet": adapter})
    assert found.model == own.model


def test_a_file_is_known_again_until_it_is_another_one(decoder: Path, tmp_path: Path) -> None:
    own = own_definition(Settings(model=f"own={decoder}", home=tmp_path))
    assert is_still_there(own)
    decoder.write_bytes(decoder.read_bytes() + b"\0")
    assert not is_still_there(own)
    decoder.unlink()
    assert not is_still_there(own)


@pytest.mark.parametrize("setting", ["m=", "m=/nowhere/m.gguf", "../m=/m.gguf"])
def test_settings_that_name_no_model_are_refused_in_a_sentence(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        own_definition(Settings(model=setting, home=tmp_path))


# -- what reads images ---------------------------------------------------------------------------------------------------


def test_a_worker_s_own_projector_is_described_planned_for_and_loaded(settings: Settings) -> None:
    settings = replace(settings, model=f"sight={sight.MODEL}")
    blind, seeing = own_definition(settings), own_definition(replace(settings, projector=str(sight.PROJECTOR)))
    assert (blind.model.projector, blind.recipe.projector) == ("", None)
    assert "vision" not in blind.model.capabilities
    assert seeing.model.capabilities == (*blind.model.capabilities, "vision")
    assert seeing.recipe.projector is not None
    assert seeing.model.projector == seeing.recipe.projector.digest == file_of(sight.PROJECTOR).digest
    without, beside = charged(blind, settings), charged(seeing, settings)
    assert (without.projector, beside.projector) == (None, sight.PROJECTOR)
    assert beside.size.resident_bytes - without.size.resident_bytes > sight.PROJECTOR.stat().st_size


def test_a_recipe_s_projector_comes_from_the_store(settings: Settings) -> None:
    model, projector = store(settings, sight.MODEL, sight.PROJECTOR)
    found = charged(define(model, path=sight.MODEL, projector=projector), settings)
    assert found.projector == Blobs.below(settings.home).path(projector.digest)


def test_a_projector_that_must_know_the_whole_prompt_is_refused(settings: Settings, tmp_path: Path) -> None:
    projector = tiny.write_projector(tmp_path / "mmproj.gguf", kind="hunyuanvl")
    with pytest.raises(ConfigurationError, match="its number among all images is known only in a prompt"):
        own_definition(replace(settings, model=f"sight={sight.MODEL}", projector=str(projector)))


def test_a_file_that_reads_no_images_is_no_projector(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no projector"):
        own_definition(replace(settings, model=f"sight={sight.MODEL}", projector=str(sight.MODEL)))
    model, other = store(settings, sight.MODEL, pocket.path())
    code, message = trouble(define(model, path=sight.MODEL, projector=other), settings)
    assert (code, "no projector" in message) == ("not_gguf", True)

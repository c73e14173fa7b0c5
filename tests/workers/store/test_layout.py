"""What llama.cpp is given to open."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import tiny
from tropilla.common.blobs import Blobs
from tropilla.common.recipes import File
from tropilla.workers.llama.model import Llama, Size
from tropilla.workers.store.layout import path_of, sweep_links


def store(path: Path, blobs: Blobs) -> File:
    blobs.prepare()
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    blobs.path(digest).write_bytes(data)
    return File(digest, len(data), path.name)


def test_one_file_is_opened_where_it_is(tmp_path: Path) -> None:
    blobs = Blobs.below(tmp_path)
    assert path_of((File("0" * 64, 1, "x.gguf"),), blobs) == blobs.path("0" * 64)
    assert path_of((File("0" * 64, 1, "x.gguf", path="/srv/y.gguf"),), blobs) == Path("/srv/y.gguf")


def test_llama_cpp_loads_shards_out_of_the_store(tmp_path: Path) -> None:
    tiny.write_decoder(tmp_path / "m.gguf", shards_of=8)
    shards = sorted(tmp_path.glob("m-*.gguf"))
    assert len(shards) == 3
    blobs = Blobs.below(tmp_path / "home")
    files = tuple(store(path, blobs) for path in shards)
    first = path_of(files, blobs)
    assert first.name == "m-00001-of-00003.gguf"
    model = Llama(first, Size(slots=1, context=64, step_tokens=32), threads=1)
    assert model.vocabulary.size == len(tiny.TOKENS)
    model.close()
    assert path_of(files, blobs) == first
    sweep_links(blobs)
    assert first.exists()
    blobs.path(files[1].digest).unlink()
    sweep_links(blobs)
    assert not first.parent.exists()


def test_two_models_with_shards_of_one_name_stay_apart(tmp_path: Path) -> None:
    blobs = Blobs.below(tmp_path)
    names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    one, two = (tuple(File(digit * 63 + str(n), 1, name) for n, name in enumerate(names)) for digit in "ab")
    assert path_of(one, blobs).parent != path_of(two, blobs).parent


def test_shards_under_other_names_are_our_mistake(tmp_path: Path) -> None:
    files = (File("0" * 64, 1, "m-00001-of-00002.gguf"), File("1" * 64, 1, "n-00002-of-00002.gguf"))
    with pytest.raises(AssertionError):
        path_of(files, Blobs.below(tmp_path))

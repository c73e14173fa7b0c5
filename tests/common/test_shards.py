"""The rule of shards' names (contracts, models sheet 5.3)."""

from __future__ import annotations

import pytest
from tropilla.common.shards import Shard, is_piece, shard_of, siblings


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("m-00001-of-00002.gguf", Shard("m", 1, 2)),
        ("m-00002-of-00002.gguf", Shard("m", 2, 2)),
        ("sub/m.Q4_K_M-00010-of-00191.gguf", Shard("sub/m.Q4_K_M", 10, 191)),
        ("a-00001-of-00002-00003-of-00004.gguf", Shard("a-00001-of-00002", 3, 4)),
        ("best-of-breed.gguf", None),
        ("m.gguf", None),
        ("m-00000-of-00002.gguf", None),
        ("m-00003-of-00002.gguf", None),
        ("m-00001-of-00001.gguf", None),
        ("m-1-of-2.gguf", None),
        ("m-00001-of-00002.gguf.partial", None),
        ("m-00001-of-00002.bin", None),
        ("m-٠٠٠٠١-of-00002.gguf", None),
    ],
)
def test_a_shard_is_known_by_its_name(name: str, shard: Shard | None) -> None:
    assert shard_of(name) == shard


def test_any_shard_stands_for_all() -> None:
    names = ("m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf")
    assert {siblings(name) for name in names} == {names}
    assert siblings("m.gguf") == ("m.gguf",)


@pytest.mark.parametrize("name", ["m.gguf.part1of2", "m.part12of20", "m.gguf-split-a", "m.split-b"])
def test_pieces_are_no_shards(name: str) -> None:
    assert is_piece(name)
    assert shard_of(name) is None


@pytest.mark.parametrize("name", ["m.gguf", "m-00001-of-00002.gguf", "split-a.gguf", "part1of2.gguf"])
def test_whole_files_are_no_pieces(name: str) -> None:
    assert not is_piece(name)

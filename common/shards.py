"""Models in several files: `<prefix>-00001-of-00003.gguf` (contracts, models sheet 5.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHARD = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL)
#: A file that `cat` puts together again: no part of it is a GGUF file.
_PIECE = re.compile(r".*[.-](?:part[0-9]+of[0-9]+|split-[a-z]+)", re.DOTALL | re.IGNORECASE)
#: The largest models known come in about 200.
MAX_SHARDS = 1000


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `total` files, counted from 1."""

    prefix: str
    index: int
    total: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of them, the first first."""
        return tuple(f"{self.prefix}-{index:05d}-of-{self.total:05d}.gguf" for index in range(1, self.total + 1))


def shard_of(name: str) -> Shard | None:
    """What a file's name (or path) says; None for a model in one file, also where the numbers make no sense."""
    found = _SHARD.fullmatch(name)
    if found is None:
        return None
    shard = Shard(found[1], int(found[2]), int(found[3]))
    return shard if shard.total >= 2 and 1 <= shard.index <= shard.total else None


def siblings(name: str) -> tuple[str, ...]:
    """All names of the model that a file belongs to, in llama.cpp's order."""
    shard = shard_of(name)
    return shard.names if shard else (name,)


def is_piece(name: str) -> bool:
    """Whether it is cut off a file (`.part1of2`, `.gguf-split-a`), as was usual before there were shards."""
    return _PIECE.fullmatch(name) is not None

"""What the scripted model says: its k-th word is a function of (prompt, seed, k, the word before). Pure.

So whoever knows what was asked knows every word of the answer, and a word says itself which one it is: ` 17.c4` is the
word of index 17. A worker that goes on with a lost stream from the wrong place, or with the wrong tokens behind it, says
another word than the script.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property

WORD = re.compile(r" (\d+)\.([0-9a-f]{2})")
#: Words of one index.
VARIANTS = 256
#: A prompt with this in it kills whoever computes the word of that index.
POISON = re.compile(rb"segmentation fault at (\d+)")


@dataclass(frozen=True)
class Script:
    prompt: bytes
    seed: int

    @cached_property
    def _beginning(self) -> bytes:
        return hashlib.blake2b(self.prompt, digest_size=8).digest() + self.seed.to_bytes(8, "little")

    def variant(self, index: int, before: int) -> int:
        """The variant of the word at this index, behind that of the word before it; 0 stands before the first."""
        seen = self._beginning + index.to_bytes(4, "little") + before.to_bytes(1, "little")
        return hashlib.blake2b(seen, digest_size=1).digest()[0]

    @cached_property
    def kills_at(self) -> float:
        """The index of the word that nobody survives."""
        found = POISON.search(self.prompt)
        return int(found[1]) if found else math.inf

    def words(self, count: int) -> list[str]:
        """The first so many words."""
        said, before = [], 0
        for index in range(count):
            before = self.variant(index, before)
            said.append(word(index, before))
        return said


def word(index: int, variant: int) -> str:
    return f" {index}.{variant:02x}"


def indices(text: str) -> list[int]:
    """The index of every word in a text, in their order."""
    return [int(found[1]) for found in WORD.finditer(text)]

"""Where the store keeps its files: one folder, each file under its digest, so that a name can never be a path.

API processes (uploads, and workers of other machines asking for a file) and the store itself see the same folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: A digest as it comes from outside: `sha256:` or `sha256-` and 64 hex digits.
DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-fA-F]{64})")


def digest_of(text: str) -> str | None:
    """64 lower-case hex digits; None for what is no digest."""
    found = DIGEST.fullmatch(text)
    return found[1].lower() if found else None


@dataclass(frozen=True, slots=True)
class Blobs:
    """The folder `models` in the home folder. Every digest here is 64 lower-case hex digits."""

    folder: Path

    @classmethod
    def below(cls, home: Path) -> Blobs:
        return cls(home / "models")

    def path(self, digest: str) -> Path:
        assert DIGEST.fullmatch(digest), digest
        return self.folder / "blobs" / f"sha256-{digest}"

    def partial(self, key: str) -> Path:
        """Of a file that is not whole yet; `key` is a digest."""
        assert DIGEST.fullmatch(key), key
        return self.folder / "partial" / key

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def prepare(self) -> None:
        """Makes the folders. Raises `OSError`."""
        for name in ("blobs", "partial"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

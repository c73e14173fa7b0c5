"""Files that callers leave here, and those that batches leave for them: in a folder that every API process sees.

A file is two: its bytes under its id, and beside it `<id>.json`, which says what it is. The second is written last and
removed first, each in one step: so a file is there as a whole or not at all, and what a crash leaves is half a file that
nobody can ask for, until `sweep` finds it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
from tropilla.api.batches.records import BATCH_ID, FILE_ID, File, new_file_id
from tropilla.common.records import record

#: Whatever is unfinished for longer belongs to nobody who lives, in seconds.
ABANDONED_SECONDS = 24 * 3600.0
_CARD = ".json"


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder `files` in the home folder."""

    folder: Path
    clock: Callable[[], float] = time.time

    @classmethod
    def below(cls, home: Path) -> Archive:
        return cls(home / "files")

    def path(self, file_id: str) -> Path:
        assert FILE_ID.fullmatch(file_id), file_id
        return self.folder / file_id

    def bench(self, batch_id: str) -> Path:
        """Where a batch's answers lie while it runs."""
        assert BATCH_ID.fullmatch(batch_id), batch_id
        return self.folder / "batches" / batch_id

    @contextmanager
    def partial(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A new file that is nobody's yet, to be written; gone afterwards unless `keep` has been told of it."""
        folder = self.folder / "partial"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / new_file_id(self.clock())
        try:
            with path.open("x+b") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def keep(self, file: File, path: Path) -> None:
        """The file at the path, whole and on the disk, is this one from now on. Keeping the same again changes nothing."""
        path.replace(self.path(file.id))
        self._replace(self._card(file.id), orjson.dumps(file))

    def find(self, file_id: str) -> File | None:
        """None for what is not there (any more)."""
        if not FILE_ID.fullmatch(file_id):
            return None
        try:
            found = record(File, orjson.loads(self._card(file_id).read_bytes()))
        except FileNotFoundError:
            return None
        return None if found.expired(self.clock()) else found

    def listing(self, after: str, *, newest_first: bool, purpose: str = "") -> Iterator[File]:
        """Those behind an id, in their order; `after` "" is from the first on, `purpose` "" any."""
        for file_id in sorted(self._ids(), reverse=newest_first):
            behind = file_id < after if newest_first else file_id > after
            if after and not behind:
                continue
            file = self.find(file_id)
            if file is not None and purpose in ("", file.purpose):
                yield file

    def taken(self, key: str) -> tuple[int, int]:
        """Bytes of files that have not expired: of one API key, and of everybody with uploads that are not finished."""
        files = [file for file_id in self._ids() if (file := self.find(file_id)) is not None]
        own = sum(file.size_bytes for file in files if file.key == key)
        return own, sum(file.size_bytes for file in files) + self._unfinished()

    def drop(self, file_id: str) -> None:
        self._card(file_id).unlink(missing_ok=True)
        self.path(file_id).unlink(missing_ok=True)

    def sweep(self, used: Collection[str], batches: Collection[str]) -> int:
        """Removes what has expired and is not in use, and what a crash has left of others than these batches; answers how
        many files and benches that were.
        """
        known = set(self._ids())
        gone = [each for each in known - set(used) if self.find(each) is None]
        for file_id in gone:
            self.drop(file_id)
        old = self.clock() - ABANDONED_SECONDS
        loose = [path for path in self._loose() if path.name not in known and path.stat().st_mtime < old]
        for path in loose:
            path.unlink(missing_ok=True)
        benches = self.folder / "batches"
        left = [path for path in benches.iterdir() if path.name not in batches] if benches.is_dir() else []
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(gone) + len(loose) + len(left)

    def _ids(self) -> Iterator[str]:
        if self.folder.is_dir():
            for name in os.listdir(self.folder):
                if name.endswith(_CARD) and FILE_ID.fullmatch(name.removesuffix(_CARD)):
                    yield name.removesuffix(_CARD)

    def _loose(self) -> Iterator[Path]:
        """What may be nobody's: uploads that are not finished, and files without their card."""
        for folder in (self.folder, self.folder / "partial"):
            if folder.is_dir():
                yield from (path for path in folder.iterdir() if path.is_file() and path.suffix != _CARD)

    def _unfinished(self) -> int:
        """What lies under uploads that nobody has kept yet, in bytes."""
        found = 0
        for path in (self.folder / "partial").glob("*"):
            # Somebody may keep it, or give it up, at any moment.
            with suppress(FileNotFoundError):
                found += path.stat().st_size
        return found

    def _card(self, file_id: str) -> Path:
        return self.path(file_id).with_suffix(_CARD)

    def _replace(self, path: Path, data: bytes) -> None:
        with self.partial() as (partial, file):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)

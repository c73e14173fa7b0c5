"""A file that is on its way: its bytes, what is known of it beside them, and the lock that keeps it one writer's.

    partial/<key>         the bytes so far, from the first one on
    partial/<key>.json    what they are of: without that, nobody can go on with them
    partial/<key>.lock    held by the process that writes

A process that dies leaves all three, and whoever comes next goes on; a transfer that somebody stopped leaves none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from tropilla.common.blobs import Blobs
from tropilla.common.ggml import BEGINNING_BYTES

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """What the bytes are of. `digest` is there once they have become a blob whose digest nobody knew before."""

    url: str
    validator: str
    size: int | None
    commit: str
    sha256: str
    digest: str = ""

    def goes_on_as(self, other: Record) -> bool:
        """Whether bytes of one are bytes of the other: by their sum, or because the server says that nothing changed."""
        if self.sha256 or other.sha256:
            return self.sha256 == other.sha256 and self.size == other.size
        return bool(self.validator) and (self.url, self.validator, self.size) == (
            other.url,
            other.validator,
            other.size,
        )


@dataclass
class Partial:
    """Held by one process at a time (`locked`). `completed` bytes have gone into `sum`; `beginning` is how they begin."""

    blobs: Blobs
    key: str
    completed: int = 0
    beginning: bytes = b""
    _sum: hashlib._Hash = field(default_factory=hashlib.sha256)
    _file: BinaryIO | None = None

    @property
    def path(self) -> Path:
        return self.blobs.partial(self.key)

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.key}.json")

    def record(self) -> Record | None:
        """What is known of the bytes; None for nothing that makes sense."""
        try:
            return Record(**json.loads(self._record.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write_record(self, record: Record) -> None:
        """At once or not at all. Raises `OSError`."""
        fresh = self.path.with_name(f"{self.key}.json.new")
        fresh.write_text(json.dumps(asdict(record)), encoding="utf-8")
        os.replace(fresh, self._record)

    def take_up(self, record: Record, wanted: Callable[[], None]) -> None:
        """Goes on with the bytes that are there if they are this file's; begins anew otherwise.

        Reads them all, for their sum: before anybody waits for us on a connection. `wanted` is called all the while, and
        may raise. Raises `OSError`.
        """
        self.close()
        known = self.record()
        fits = known is not None and not known.digest and known.goes_on_as(record)
        if not fits or (record.size is not None and self.bytes_there() > record.size):
            self.discard()
            self.write_record(record)
        self._file = self.path.open("ab+")
        self._file.seek(0)
        self._forget()
        while piece := self._file.read(_PIECE_BYTES):
            wanted()
            self._count(piece)

    def append(self, piece: bytes) -> None:
        """Raises `OSError`."""
        assert self._file is not None
        self._file.write(piece)
        self._count(piece)

    def truncate(self) -> None:
        """Raises `OSError`."""
        assert self._file is not None
        self._file.truncate(0)
        self._forget()

    def publish(self) -> str:
        """Makes a blob of it, which is there whole or not at all, whatever happens; its digest. Raises `OSError`."""
        assert self._file is not None
        digest = self._sum.hexdigest()
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        final = self.blobs.path(digest)
        os.replace(self.path, final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    def bytes_there(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def seen(self) -> tuple[int, int]:
        """(bytes so far, bytes in all or 0), as far as whoever does not hold it can see."""
        record = self.record()
        return self.bytes_there(), (record and record.size) or 0

    def close(self) -> None:
        """Raises `OSError`: what was still in memory has no room on the disk."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def discard(self) -> None:
        """Nothing of it stays. Raises `OSError`."""
        with suppress(OSError):
            self.close()
        for path in (self.path, self._record):
            path.unlink(missing_ok=True)

    def _count(self, piece: bytes) -> None:
        self._sum.update(piece)
        self.completed += len(piece)
        if len(self.beginning) < BEGINNING_BYTES:
            self.beginning = (self.beginning + piece)[:BEGINNING_BYTES]

    def _forget(self) -> None:
        self._sum, self.completed, self.beginning = hashlib.sha256(), 0, b""

    @contextmanager
    def locked(self, wait: Callable[[], None]) -> Iterator[None]:
        """Nobody else writes it meanwhile, of this process or another; `wait` is called while somebody does, and may raise.

        Raises `OSError`.
        """
        path = self.path.with_name(f"{self.key}.lock")
        while (lock := _lock(path)) is None:
            wait()
        try:
            yield
        finally:
            # While it is held: whoever has opened it meanwhile sees that it is no longer the one of that name.
            path.unlink(missing_ok=True)
            os.close(lock)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None while somebody else does."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None

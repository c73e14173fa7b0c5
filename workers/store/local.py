"""Files of this machine, taken into the store: one that a client of the hub has fetched already, or an operator's own."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tropilla.common.errands import Progress
from tropilla.common.ggml import BEGINNING_BYTES, what_is
from tropilla.common.gguf import MAGIC
from tropilla.common.recipes import File
from tropilla.workers.store.partial import Partial, Record
from tropilla.workers.store.patience import GLANCE_SECONDS, wait
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Report, Stopped

_PIECE_BYTES = 1 << 20
#: Pieces between two words about a file, and two looks whether it is still wanted: a disk gives some hundreds a second.
_PIECES_PER_WORD = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A file of this machine. `sha256` is what it must have, "" for whatever it has.

    `kept`: nobody ever writes into it, so that the store may have a second link to it instead of a copy.
    """

    path: Path
    name: str
    sha256: str = ""
    kept: bool = False


def locate(path: str, roots: tuple[Path, ...]) -> Path:
    """The file, if it is below one of the folders that files may be taken from; a relative path is below the first.

    Links are followed before that is decided. Raises `FetchFailed`.
    """
    if not roots:
        raise FetchFailed("file_missing", "files of this machine are not taken here", refusal="forbidden")
    try:
        found = (roots[0] / path).resolve()
        inside = any(found.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError) as error:
        raise FetchFailed("file_missing", f"there is no file {path}", refusal="unknown") from error
    # Before anything is said of whether it is there.
    if not inside:
        message = f"{path} is outside of the folders that models may be taken from"
        raise FetchFailed("file_missing", message, refusal="forbidden")
    if not found.exists():
        raise FetchFailed("file_missing", f"there is no file {path}", refusal="unknown")
    if not stat.S_ISREG(found.stat().st_mode):
        raise FetchFailed("not_gguf", f"{path} is not a regular file", refusal="invalid")
    return found


def take(found: Found, pulling: Pulling, *, report: Report, stopped: Asked) -> File:
    """Makes a blob of it: a second link to the same bytes if it may, else a copy. Raises `FetchFailed` and `Stopped`."""
    try:
        pulling.blobs.prepare()
        if found.sha256 and pulling.blobs.has(found.sha256):
            size = pulling.blobs.path(found.sha256).stat().st_size
            report(_word(found, size, size))
            return File(found.sha256, size, found.name)
        if found.kept and (file := _link(found, pulling, report, stopped)):
            return file
        return _copy(found, pulling, report, stopped)
    except OSError as error:
        raise FetchFailed("download_failed", f"{found.name} cannot be taken: {error.strerror or error}") from error


def _link(found: Found, pulling: Pulling, report: Report, stopped: Asked) -> File | None:
    """None where there cannot be a link. Raises `FetchFailed`, `Stopped` and `OSError`."""
    summed, size = hashlib.sha256(), 0
    for piece in _pieces(found, report, stopped):
        summed.update(piece)
        size += len(piece)
    digest = _checked(found, summed.hexdigest())
    if not pulling.blobs.has(digest):
        try:
            os.link(found.path.resolve(), pulling.blobs.path(digest))
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                return None
            raise
    return File(digest, size, found.name)


def _copy(found: Found, pulling: Pulling, report: Report, stopped: Asked) -> File:
    """Raises `FetchFailed`, `Stopped` and `OSError`."""
    size = found.path.stat().st_size
    if size > (free := pulling.free_bytes(pulling.blobs.folder)):
        message = f"{found.name} needs {size:,} more bytes on the disk, and {free:,} are free"
        raise FetchFailed("download_failed", message)
    partial = Partial(pulling.blobs, hashlib.sha256(os.fsencode(found.path)).hexdigest())
    with partial.locked(lambda: wait(GLANCE_SECONDS, pulling, stopped)):
        try:
            # A copy is made quickly enough to begin anew: without an ETag, nothing is gone on with.
            partial.take_up(Record("", "", None, "", ""), lambda: None)
            for piece in _pieces(found, report, stopped):
                partial.append(piece)
            _checked(found, partial.digest)
            return File(partial.publish(), partial.completed, found.name)
        finally:
            partial.discard()


def _checked(found: Found, digest: str) -> str:
    if found.sha256 not in ("", digest):
        raise FetchFailed("checksum_mismatch", f"sha256 mismatch: want {found.sha256} got {digest}")
    return digest


def _pieces(found: Found, report: Report, stopped: Asked) -> Iterator[bytes]:
    """All of it. Raises `FetchFailed`, `Stopped` and `OSError`."""
    total, done = found.path.stat().st_size, 0
    with found.path.open("rb") as file:
        beginning = file.read(BEGINNING_BYTES)
        if not beginning.startswith(MAGIC):
            what = what_is(beginning)
            message = f"it is {what}" if what else f"it does not begin with {MAGIC.decode()}"
            raise FetchFailed("not_gguf", f"{found.name} is not a GGUF file: {message}", refusal="invalid")
        file.seek(0)
        for number, piece in enumerate(iter(lambda: file.read(_PIECE_BYTES), b"")):
            if number % _PIECES_PER_WORD == 0:
                if stopped():
                    raise Stopped
                report(_word(found, total, done))
            done += len(piece)
            yield piece
    report(_word(found, total, done))


def _word(found: Found, total: int, done: int) -> Progress:
    digest = f"sha256:{found.sha256}" if found.sha256 else ""
    return Progress(f"pulling {found.sha256[:12] or found.name}", digest, total, done, found.name)

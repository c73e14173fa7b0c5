"""Files of models over HTTP: uploads of Ollama's clients, and what workers of other machines fetch.

    HEAD, POST  /api/blobs/sha256:<64 hex>          is it there? keep this body, which must have that digest
    GET, HEAD   /internal/blobs/<64 hex>            the file, or a range of it

An upload goes to the disk as it comes, piece by piece, and gets its name only once it is whole and is what it was called: a
file is never seen half. The pieces are hashed and written between two reads of the socket, so that other streams of the
process wait for a piece at the most.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from flask import Response, request, send_file
from tropilla.api import media
from tropilla.common.blobs import Blobs, digest_of
from tropilla.common.errors import InvalidField, RequestError, TropillaError
from tropilla.common.settings import Settings
from werkzeug.exceptions import ClientDisconnected, RequestedRangeNotSatisfiable, RequestEntityTooLarge

#: Read, hashed and written at a time.
PIECE_BYTES = 256 << 10
#: Written before the disk has to have it: syncing gigabytes at once would stop every stream of the process.
SYNC_BYTES = 16 << 20


class UnknownBlob(RequestError):
    status = 404


class BlobViews:
    """The handlers. Every one may raise `TropillaError`s, in Ollama's words."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_blob_bytes
        self._blobs = Blobs.below(settings.home)

    def upload(self, digest: str) -> Response:
        """200 for what is there, 201 for what was not, both with an empty body (sheet, section 10.2)."""
        wanted = _named(digest)
        if request.method == "HEAD":
            return Response(status=200 if self._blobs.has(wanted) else 404)
        if self._blobs.has(wanted):
            return Response(status=200)
        # Not the bound of other bodies, which are kept in memory.
        request.max_content_length = self._most
        try:
            self._keep(wanted)
        except RequestEntityTooLarge as error:
            raise media.too_large(self._most) from error
        except (ClientDisconnected, ConnectionError) as error:
            raise RequestError("the upload broke off") from error
        except OSError as error:
            raise TropillaError(f"the file cannot be kept: {error.strerror or error}") from error
        return Response(status=201)

    def file(self, digest: str) -> Response:
        """Of a range only that: a worker goes on where it was cut off."""
        wanted = digest_of(digest)
        if wanted is None or not self._blobs.has(wanted):
            raise UnknownBlob(f"there is no file {digest}")
        path = self._blobs.path(wanted)
        try:
            return send_file(path, mimetype="application/octet-stream", conditional=True, etag=wanted, max_age=0)
        except RequestedRangeNotSatisfiable:
            # Whoever has all of it hears how much that is.
            return Response(status=416, headers={"Content-Range": f"bytes */{path.stat().st_size}"})

    def _keep(self, wanted: str) -> None:
        """Raises `InvalidField` for a body that is something else, of which nothing is kept."""
        self._blobs.prepare()
        with self._partial(wanted) as path:
            with path.open("xb") as file:
                found = _written(_pieces(), file)
            if found != wanted:
                text = f'digest mismatch, expected "sha256:{wanted}", got "sha256:{found}"'
                raise InvalidField(text, param="digest")
            path.replace(self._blobs.path(wanted))

    @contextmanager
    def _partial(self, digest: str) -> Iterator[Path]:
        """A file of this upload's own: two of the same may come at once."""
        path = self._blobs.partial(digest).with_suffix(f".{secrets.token_hex(8)}")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def arrays_reader(settings: Settings, read: Callable[[Path], Mapping[str, Any]]) -> Callable[[str], Mapping[str, Any]]:
    """Digest -> the arrays of a file's header; none of a file that this process does not see, or that is none."""
    blobs = Blobs.below(settings.home)

    def arrays(digest: str) -> Mapping[str, Any]:
        try:
            return read(blobs.path(digest)) if blobs.has(digest) else {}
        except TropillaError:
            return {}

    return arrays


def _named(digest: str) -> str:
    """Raises `InvalidField` for what is no digest with its algorithm in front."""
    found = digest_of(digest) if digest.startswith(("sha256:", "sha256-")) else None
    if found is None:
        raise InvalidField("invalid digest format", param="digest")
    return found


def _pieces() -> Iterator[bytes]:
    """The body, whether or not its length was told; of whatever type it says it is."""
    while piece := request.stream.read(PIECE_BYTES):
        yield piece


def _written(pieces: Iterator[bytes], file: BinaryIO) -> str:
    """The digest of what was written, once the disk has all of it."""
    digest, unsynced = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        file.write(piece)
        unsynced += len(piece)
        if unsynced >= SYNC_BYTES:
            file.flush()
            os.fdatasync(file.fileno())
            unsynced = 0
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()

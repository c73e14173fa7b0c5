"""A form with a file in it: that goes to the disk as it comes, piece by piece, and is kept only if somebody wants it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from flask import request
from tropilla.api import media
from tropilla.api.batches.archive import Archive
from tropilla.api.blobs import PIECE_BYTES, SYNC_BYTES
from tropilla.api.surface import JSON
from tropilla.common.errors import InvalidField, MalformedBody, RequestError, TropillaError, UnreadableBody
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

#: Of a form, beside its file: fields, and what stands between them.
FORM_BYTES = 64 << 10
FORM_PARTS = 16


@contextmanager
def form(archive: Archive, most: int, check: Callable[[int, int], None]) -> Iterator[tuple[JSON, Path]]:
    """The form's fields, and where its file lies until somebody keeps it. `a[b]` is `b` of the object `a`. check: raises
    where there is no room for so many bytes, of which so many are still to come; asked at first and now and then.
    """
    kind = request.mimetype
    if kind != "multipart/form-data":
        raise UnreadableBody(f"Content-Type '{kind}' is not supported. Expected 'multipart/form-data'.")
    # Not the bound of other bodies, which are kept in memory.
    request.max_content_length = most + FORM_BYTES
    announced = max(0, (request.content_length or 0) - FORM_BYTES)
    check(announced, announced)
    with archive.partial() as (path, file), archive.partial() as (_, beside):
        # What comes beside the file is written where nobody looks.
        ways = iter((_ToDisk(file, most, check), *(_ToDisk(beside, FORM_BYTES, check),) * FORM_PARTS))
        try:
            fields, names = _parsed(lambda *_, **__: cast("IO[bytes]", next(ways)))
            file.flush()
            os.fsync(file.fileno())
        except RequestEntityTooLarge as error:
            raise media.too_large(most) from error
        except (ClientDisconnected, ConnectionError) as error:
            raise RequestError("the upload broke off") from error
        except ValueError as error:
            raise MalformedBody(f"The request body is no form: {error}.") from error
        except OSError as error:
            raise unkept(error) from error
        if names.keys() - {"file"}:
            raise InvalidField("Invalid 'file': expected one file, named 'file'.", param="file")
        # A field of that name is no file.
        yield _nested({**fields, "file": names.get("file")}), path


def unkept(error: OSError) -> TropillaError:
    return TropillaError(f"the file cannot be kept: {error.strerror or error}")


class _ToDisk:
    """A file of a form as Werkzeug writes it: on the disk piece by piece, with breath for the process's other streams."""

    def __init__(self, file: BinaryIO, most: int, check: Callable[[int, int], None]) -> None:
        self._file, self._most, self._check = file, most, check
        self._written = self._unsynced = self._unbreathed = 0

    def write(self, data: bytes) -> int:
        self._written += len(data)
        if self._written > self._most:
            raise RequestEntityTooLarge
        self._file.write(data)
        self._unsynced += len(data)
        self._unbreathed += len(data)
        if self._unsynced >= SYNC_BYTES:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._unsynced = 0
            self._check(self._written, 0)
        if self._unbreathed >= PIECE_BYTES:
            time.sleep(0)
            self._unbreathed = 0
        return len(data)

    def seek(self, place: int) -> int:
        return self._file.seek(place)


def _parsed(way: Callable[..., IO[bytes]]) -> tuple[dict[str, str], dict[str, str]]:
    """The fields of the form, and the name that each of its files has, by its field."""
    parser = FormDataParser(way, max_form_memory_size=FORM_BYTES, max_form_parts=FORM_PARTS, silent=False)
    options = dict(request.mimetype_params)
    _, fields, files = parser.parse(request.stream, request.mimetype, request.content_length, options)
    uploads = files.to_dict(flat=False)
    if sum(map(len, uploads.values())) > 1:
        raise ValueError("it has more than one file")
    return fields.to_dict(), {name: upload.filename or "" for name, (upload,) in uploads.items()}


def _nested(fields: dict[str, str | None]) -> JSON:
    found: dict[str, JSON] = {}
    for name, value in fields.items():
        outer, bracket, inner = name.partition("[")
        if bracket and inner.endswith("]") and isinstance(found.setdefault(outer, {}), dict):
            found[outer][inner[:-1]] = value
        else:
            found[name] = value
    return found

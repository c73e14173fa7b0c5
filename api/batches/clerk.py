"""The handlers behind the desk: what a dialect wants of files and batches is done here, and told by it.

POST  /v1/files                 a form; its file goes to the disk as it comes, piece by piece
GET   /v1/files/<id>/content    a file's bytes, or a range of them
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from flask import Response, send_file
from tropilla.api.asking import Asking
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.forms import form, unkept
from tropilla.api.batches.records import BATCH_ID, Asked, Batch, File, Status, new_batch_id, new_file_id
from tropilla.api.batches.wishes import (
    BeginBatch,
    CancelBatch,
    DropFile,
    FindBatch,
    FindFile,
    Granted,
    KeepFile,
    ListBatches,
    Listed,
    ListFiles,
    ReadFile,
    UnknownObject,
    Wish,
)
from tropilla.api.conversation import respond
from tropilla.api.surface import Desk, Dialect
from tropilla.common.errors import Conflict, InvalidField
from tropilla.common.keys import Principal
from tropilla.common.settings import Settings
from werkzeug.exceptions import RequestedRangeNotSatisfiable


class Batches(Protocol):
    """What is needed of `book.Book`."""

    def begin(self, asked: Asked) -> Batch: ...
    def find(self, batch_id: str) -> Batch | None: ...
    def listing(self, after: str) -> Iterator[Batch]: ...
    def cancel(self, batch_id: str, *, now: int) -> Status | None: ...
    def open(self) -> frozenset[str]: ...


class Clerk:
    """Every handler may raise `TropillaError`s."""

    def __init__(
        self,
        settings: Settings,
        archive: Archive,
        batches: Batches,
        asking: Asking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._archive, self._batches = settings, archive, batches
        self._asking, self._clock = asking, clock

    def of(self, dialect: Dialect, desk: Desk) -> Callable[..., Response]:
        def view(**variables: str) -> Response:
            around = self._asking.around(variables)
            if desk.form:
                check = functools.partial(self._check_room, around.principal)
                with form(self._archive, self._settings.max_file_bytes, check) as (fields, path):
                    wish = desk.parse(fields, around)
                    assert isinstance(wish, KeepFile), "only a file comes with a form"
                    return respond(desk.whole(self._keep(wish, path, around.principal)))
            taken = desk.about.takes is not None
            body = self._asking.body(dialect, self._asking.data(dialect)).value if taken else None
            wish = desk.parse(body, around)
            if isinstance(wish, ReadFile):
                return self._read(wish, around.principal)
            return respond(desk.whole(self._granted(wish, around.principal)))

        return view

    def _granted(self, wish: Wish, principal: Principal) -> Granted:
        """What somebody else has left here is not there."""
        match wish:
            case ListFiles():
                listed = self._archive.listing(wish.after, newest_first=wish.newest_first, purpose=wish.purpose)
                files = (file for file in listed if principal.sees(file.key))
                return _page(list(islice(files, wish.limit + 1)), wish.limit)
            case FindFile():
                return self._file(wish.id, principal)
            case DropFile():
                return self._drop(wish.id, principal)
            case BeginBatch():
                return self._begin(wish, principal)
            case ListBatches():
                batches = (batch for batch in self._batches.listing(wish.after) if principal.sees(batch.asked.key))
                return _page(list(islice(batches, wish.limit + 1)), wish.limit)
            case FindBatch():
                return self._batch(wish.id, principal)
            case CancelBatch():
                return self._cancel(wish.id, principal)
            case KeepFile() | ReadFile():
                raise AssertionError(f"{wish} is granted elsewhere")

    # -- files --------------------------------------------------------------------------------------------------------

    def _keep(self, wish: KeepFile, path: Path, principal: Principal) -> File:
        now = self._clock()
        created, size = int(now), path.stat().st_size
        expires = created + wish.seconds
        # Nothing that waits comes between this and the keeping: of one process, no two go beyond the bound together.
        self._check_room(principal, size, 0)
        kept = File(new_file_id(now), wish.name, wish.purpose, size, created, expires, principal.key)
        try:
            self._archive.keep(kept, path)
        except OSError as error:
            raise unkept(error) from error
        return kept

    def _check_room(self, principal: Principal, size: int, to_come: int) -> None:
        """For an upload of that many bytes, of which so many are not on the disk yet. Raises `InvalidField`."""
        own, all_together = self._archive.taken(principal.key)
        bounds = (
            ("Your files", own + size, self._settings.max_files_bytes_per_key),
            ("All files here", all_together + to_come, self._settings.max_files_bytes),
        )
        for whose, together, most in bounds:
            if together > most:
                text = (
                    f"Invalid 'file': {whose} may take {most} bytes together. Delete some, or wait until they expire."
                )
                raise InvalidField(text, param="file")

    def _file(self, file_id: str, principal: Principal) -> File:
        found = self._archive.find(file_id)
        if found is None or not principal.sees(found.key):
            raise UnknownObject(f"No such File object: {file_id}", param="id")
        return found

    def _read(self, wish: ReadFile, principal: Principal) -> Response:
        file = self._file(wish.id, principal)
        path = self._archive.path(file.id)
        kind = "application/octet-stream"
        try:
            return send_file(
                path, kind, as_attachment=True, download_name=file.name, conditional=True, etag=file.id, max_age=0
            )
        except FileNotFoundError as error:
            # Somebody else has just deleted it.
            raise UnknownObject(f"No such File object: {wish.id}", param="id") from error
        except RequestedRangeNotSatisfiable:
            return Response(status=416, headers={"Content-Range": f"bytes */{file.size_bytes}"})

    def _drop(self, file_id: str, principal: Principal) -> str:
        file = self._file(file_id, principal)
        for batch_id in sorted(self._batches.open()):
            batch = self._batches.find(batch_id)
            if batch is not None and file.id in batch.files:
                raise Conflict(
                    f"The file '{file.id}' is in use by the batch '{batch_id}'. Cancel that first.", param="id"
                )
        self._archive.drop(file.id)
        return file.id

    # -- batches ------------------------------------------------------------------------------------------------------

    def _begin(self, wish: BeginBatch, principal: Principal) -> Batch:
        file = self._archive.find(wish.input_file_id)
        if file is None or not principal.sees(file.key):
            text = f"Invalid 'input_file_id': there is no file '{wish.input_file_id}', or not any more."
            raise InvalidField(text, param="input_file_id")
        if file.purpose != "batch":
            text = f"Invalid 'input_file_id': the purpose of the file is '{file.purpose}', but must be 'batch'."
            raise InvalidField(text, param="input_file_id")
        now = self._clock()
        asked = Asked(
            id=new_batch_id(now),
            endpoint=wish.endpoint,
            input_file_id=file.id,
            window=wish.window,
            created_at=int(now),
            expires_at=int(now) + wish.window_seconds,
            output_seconds=wish.output_seconds,
            metadata=wish.metadata,
            key=principal.key,
        )
        return self._batches.begin(asked)

    def _batch(self, batch_id: str, principal: Principal) -> Batch:
        found = self._batches.find(batch_id) if BATCH_ID.fullmatch(batch_id) else None
        if found is None or not principal.sees(found.asked.key):
            raise UnknownObject(f"No batch found with id '{batch_id}'.", param="id")
        return found

    def _cancel(self, batch_id: str, principal: Principal) -> Batch:
        """Whoever asks twice is told the same; of what is over, or about to be, nothing can be taken back."""
        found = self._batch(batch_id, principal)
        status = self._batches.cancel(found.asked.id, now=int(self._clock()))
        if status not in ("validating", "in_progress", "cancelling"):
            raise Conflict(f"Cannot cancel a batch with status '{status}'.")
        return self._batch(batch_id, principal)


def _page(found: list[File] | list[Batch], limit: int) -> Listed:
    return Listed(found[:limit], len(found) > limit)

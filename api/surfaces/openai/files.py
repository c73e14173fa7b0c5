"""/v1/files: what a batch is made of, and what comes of it. Files for other purposes are refused, as nothing uses them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from marshmallow import Schema
from tropilla.api.about import TEXT, Shape
from tropilla.api.batches.records import FILE_ID, File
from tropilla.api.batches.wishes import DropFile, FindFile, Granted, KeepFile, Listed, ListFiles, ReadFile
from tropilla.api.fields import Integer, Object, Strict, Text
from tropilla.api.reading import Wrong
from tropilla.api.surface import JSON, Desk, Reply, Surroundings
from tropilla.api.surfaces.openai import batches_about as about
from tropilla.api.surfaces.openai import cursors, schemas

MOST_LISTED = 10_000
#: How long a file may be kept, and is kept where nobody says: OpenAI's month, in seconds.
SHORTEST, LONGEST = 3600, 30 * 24 * 3600
#: OpenAI's other purposes.
_UNSERVED = frozenset({"assistants", "evals", "fine-tune", "user_data", "vision"})
_LONGEST_NAME = 255
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class _Digits(Integer):
    """An integer, or one as text: a form has nothing else."""

    def read(self, value: Any) -> int:
        written = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19
        return super().read(int(value) if written else value)


class _Upload(Strict[str]):
    """A file of a form, which stands here as its name: without folders, whatever their sign."""

    expected = "a file"
    shape: ClassVar[Shape | None] = {**TEXT, "contentMediaType": "application/octet-stream"}

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong("expected a file of the form, with a file name.", "type")
        name = _CONTROLS.sub("", re.split(r"[/\\]", value)[-1])[-_LONGEST_NAME:]
        return name or "upload.jsonl"


class _Purpose(Text):
    def read(self, value: Any) -> str:
        if value in _UNSERVED:
            text = f"files for '{value}' are not served, since nothing here uses them. Expected 'batch'."
            raise Wrong(text, "value")
        return super().read(value)


class ExpiresAfter(Schema):
    anchor = Text(("created_at",), required=True)
    seconds = _Digits(SHORTEST, LONGEST, required=True)


def expires_after(**more: Any) -> Object:
    return Object(ExpiresAfter(), **more)


class NewFileSchema(Schema):
    file = _Upload(required=True)
    purpose = _Purpose(("batch",), required=True)
    expires_after = expires_after()


def parse_upload(body: JSON, _: Surroundings) -> KeepFile:
    fields = schemas.checked(NewFileSchema(), body)
    seconds = fields.get("expires_after", {"seconds": LONGEST})["seconds"]
    return KeepFile(fields["file"], "batch", seconds)


def parse_list(_: JSON, surroundings: Surroundings) -> ListFiles:
    query = surroundings.query
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise schemas.invalid("order", f"unknown value '{order}'. Expected one of 'asc', 'desc'.", "value")
    return ListFiles(
        cursors.after_of(query, FILE_ID),
        cursors.limit_of(query, most=MOST_LISTED, default=MOST_LISTED),
        newest_first=order == "desc",
        purpose=query.get("purpose", ""),
    )


def parse_find(_: JSON, surroundings: Surroundings) -> FindFile:
    return FindFile(surroundings.path["id"])


def parse_read(_: JSON, surroundings: Surroundings) -> ReadFile:
    return ReadFile(surroundings.path["id"])


def parse_drop(_: JSON, surroundings: Surroundings) -> DropFile:
    return DropFile(surroundings.path["id"])


def file_object(file: File) -> JSON:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.name,
        "purpose": file.purpose,
        # Deprecated, and required by the SDK: what is here is whole.
        "status": "processed",
        "status_details": None,
    }


def one(granted: Granted) -> Reply:
    assert isinstance(granted, File)
    return Reply(file_object(granted))


def several(granted: Granted) -> Reply:
    assert isinstance(granted, Listed)
    return Reply(
        cursors.page([file_object(each) for each in granted.items if isinstance(each, File)], more=granted.more)
    )


def dropped(granted: Granted) -> Reply:
    return Reply({"id": granted, "object": "file", "deleted": True})


ROUTES = (
    Desk("/v1/files", parse_upload, one, "POST", form=True, about=about.upload(NewFileSchema())),
    Desk("/v1/files", parse_list, several, about=about.FILES),
    Desk("/v1/files/<id>", parse_find, one, about=about.FILE),
    Desk("/v1/files/<id>", parse_drop, dropped, "DELETE", about=about.DROP_FILE),
    Desk("/v1/files/<id>/content", parse_read, one, about=about.CONTENT),
)

"""What the document says of files and batches."""

from __future__ import annotations

from typing import get_args

from marshmallow import Schema
from tropilla.api.about import COUNT, FLAG, INTEGER, OBJECT, TEXT, About, Shape, one_of, or_null, record, several
from tropilla.api.batches.records import Purpose, Status
from tropilla.api.surfaces.openai.about import ERROR

_FILE = record(
    "OpenAIFile",
    {
        "id": TEXT,
        "object": one_of("file"),
        "bytes": COUNT,
        "created_at": COUNT,
        "expires_at": or_null(COUNT),
        "filename": TEXT,
        "purpose": one_of(*get_args(Purpose)),
        "status": one_of("processed"),
    },
    {"status_details": or_null(TEXT)},
)
_TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_OBJECTION = record("", {"code": TEXT, "line": or_null(COUNT), "message": TEXT, "param": or_null(TEXT)})
_BATCH = record(
    "OpenAIBatch",
    {
        "id": TEXT,
        "object": one_of("batch"),
        "endpoint": TEXT,
        "errors": or_null(record("", {"object": one_of("list"), "data": several(_OBJECTION)})),
        "input_file_id": TEXT,
        "completion_window": TEXT,
        "status": one_of(*get_args(Status)),
        "output_file_id": or_null(TEXT),
        "error_file_id": or_null(TEXT),
        "created_at": COUNT,
        "expires_at": COUNT,
        **{f"{status}_at": or_null(COUNT) for status in _TIMES},
        "request_counts": record("", dict.fromkeys(("total", "completed", "failed"), COUNT)),
        "usage": record(
            "",
            {
                **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), COUNT),
                "input_tokens_details": record("", {"cached_tokens": COUNT}),
                "output_tokens_details": record("", {"reasoning_tokens": COUNT}),
            },
        ),
        "metadata": or_null({**OBJECT, "additionalProperties": TEXT}),
    },
)


def _page(title: str, item: Shape) -> Shape:
    ends = dict.fromkeys(("first_id", "last_id"), or_null(TEXT))
    return record(title, {"object": one_of("list"), "data": several(item), **ends, "has_more": FLAG})


def _query(most: int) -> dict[str, Shape]:
    limit = {**INTEGER, "minimum": 1, "maximum": most}
    return {"limit": limit, "after": {**TEXT, "description": "the id behind which the page begins"}}


def upload(schema: Schema) -> About:
    return About("Leave a file for a batch", takes=schema, gives=_FILE)


FILES = About(
    "List the files",
    gives=_page("OpenAIFiles", _FILE),
    also={400: ERROR},
    query={**_query(10_000), "order": one_of("asc", "desc"), "purpose": TEXT},
)
FILE = About("Show a file", gives=_FILE)
CONTENT = About("Read a file", gives=TEXT, media="application/octet-stream")
DROP_FILE = About(
    "Delete a file",
    gives=record("", {"id": TEXT, "object": one_of("file"), "deleted": FLAG}),
    also={409: ERROR},
)


def begin(schema: Schema) -> About:
    example = {
        "input_file_id": "file-019a0000000000000000000000000000",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    return About("Begin a batch", takes=schema, gives=_BATCH, example=example)


BATCHES = About("List the batches", gives=_page("OpenAIBatches", _BATCH), also={400: ERROR}, query=_query(100))
BATCH = About("Show how far a batch is", gives=_BATCH)
CANCEL = About("Cancel a batch", gives=_BATCH, also={409: ERROR})

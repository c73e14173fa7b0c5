"""/v1/batches: a file of requests, answered in a file of answers, when nobody else needs the machines."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema
from tropilla.api.about import OBJECT, TEXT, Shape
from tropilla.api.batches.lines import MOST_WINDOW_SECONDS, window_seconds
from tropilla.api.batches.records import BATCH_ID, Batch, Status
from tropilla.api.batches.wishes import BeginBatch, CancelBatch, FindBatch, Granted, ListBatches, Listed
from tropilla.api.fields import Strict, Text, wrong_type
from tropilla.api.reading import Wrong
from tropilla.api.surface import JSON, Desk, Reply, Surroundings
from tropilla.api.surfaces.openai import batches_about as about
from tropilla.api.surfaces.openai import cursors, schemas
from tropilla.api.surfaces.openai.files import LONGEST, expires_after
from tropilla.api.surfaces.openai.wrong import at

#: What lines may ask, all of a batch the same.
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
MOST_LISTED, LISTED = 100, 20
#: OpenAI's bounds of what a caller may attach: pairs, and characters of a key and a value.
_PAIRS, _KEY, _VALUE = 16, 64, 512
#: Statuses whose time is told, under the name OpenAI gives it.
_TOLD: tuple[Status, ...] = (
    *("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"),
)


class _Window(Strict[str]):
    """OpenAI knows `24h`; other whole hours and minutes are kept to, as well."""

    expected = "a string"
    shape: ClassVar[Shape | None] = {**TEXT, "pattern": r"^[0-9]{1,5}[hm]$"}

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type(self.expected, value)
        if window_seconds(value) is None:
            text = f"expected hours or minutes such as '24h' or '90m', {MOST_WINDOW_SECONDS // 3600}h at the most"
            raise Wrong(f"{text}, but got '{value}' instead.", "value")
        return value


class _Metadata(Strict[dict[str, str]]):
    expected = "an object"
    shape: ClassVar[Shape | None] = {
        **OBJECT,
        "maxProperties": _PAIRS,
        "propertyNames": {"maxLength": _KEY},
        "additionalProperties": {**TEXT, "maxLength": _VALUE},
    }

    def read(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        if len(value) > _PAIRS:
            raise Wrong(f"expected at most {_PAIRS} pairs, but got {len(value)} instead.", "value")
        for key, each in value.items():
            if not isinstance(each, str):
                raise at(wrong_type("a string", each), key)
            if len(key) > _KEY or len(each) > _VALUE:
                raise at(Wrong(f"expected at most {_KEY} characters in a key and {_VALUE} in a value.", "value"), key)
        return value


class NewBatchSchema(Schema):
    input_file_id = Text(required=True)
    endpoint = Text(ENDPOINTS, required=True)
    completion_window = _Window(required=True)
    metadata = _Metadata()
    output_expires_after = expires_after()


def parse_begin(body: JSON, _: Surroundings) -> BeginBatch:
    fields = schemas.checked(NewBatchSchema(), schemas.an_object(body))
    window = fields["completion_window"]
    seconds = window_seconds(window)
    assert seconds is not None
    return BeginBatch(
        endpoint=fields["endpoint"],
        input_file_id=fields["input_file_id"],
        window=window,
        window_seconds=seconds,
        output_seconds=fields.get("output_expires_after", {"seconds": LONGEST})["seconds"],
        metadata=fields.get("metadata"),
    )


def parse_list(_: JSON, surroundings: Surroundings) -> ListBatches:
    query = surroundings.query
    return ListBatches(cursors.after_of(query, BATCH_ID), cursors.limit_of(query, most=MOST_LISTED, default=LISTED))


def parse_find(_: JSON, surroundings: Surroundings) -> FindBatch:
    return FindBatch(surroundings.path["id"])


def parse_cancel(_: JSON, surroundings: Surroundings) -> CancelBatch:
    return CancelBatch(surroundings.path["id"])


def batch_object(batch: Batch) -> JSON:
    asked, tally, tokens = batch.asked, batch.tally, batch.tally.tokens
    data = [
        {"code": each.code, "line": each.line, "message": each.message, "param": each.param}
        for each in batch.objections
    ]
    return {
        "id": asked.id,
        "object": "batch",
        "endpoint": asked.endpoint,
        "errors": {"object": "list", "data": data} if data else None,
        "input_file_id": asked.input_file_id,
        "completion_window": asked.window,
        "status": batch.status,
        # Named before they are written.
        "output_file_id": batch.output_file_id or None if batch.ended else None,
        "error_file_id": batch.error_file_id or None if batch.ended else None,
        "created_at": asked.created_at,
        "expires_at": asked.expires_at,
        **{f"{status}_at": batch.times.get(status) for status in _TOLD},
        "request_counts": {"total": tally.total, "completed": tally.completed, "failed": tally.failed},
        "usage": {
            "input_tokens": tokens.prompt,
            "input_tokens_details": {"cached_tokens": tokens.cached},
            "output_tokens": tokens.generated,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.prompt + tokens.generated,
        },
        "metadata": asked.metadata,
    }


def one(granted: Granted) -> Reply:
    assert isinstance(granted, Batch)
    return Reply(batch_object(granted))


def several(granted: Granted) -> Reply:
    assert isinstance(granted, Listed)
    found = [batch_object(each) for each in granted.items if isinstance(each, Batch)]
    return Reply(cursors.page(found, more=granted.more))


ROUTES = (
    Desk("/v1/batches", parse_begin, one, "POST", about=about.begin(NewBatchSchema())),
    Desk("/v1/batches", parse_list, several, about=about.BATCHES),
    Desk("/v1/batches/<id>", parse_find, one, about=about.BATCH),
    Desk("/v1/batches/<id>/cancel", parse_cancel, one, "POST", about=about.CANCEL),
)

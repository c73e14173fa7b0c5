"""The lines of a batch: what each of them asks, what is wrong with a file of them, and what is written for each answer.

    {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {...}}
    {"id": "batch_req_...", "custom_id": "a", "response": {"status_code", "request_id", "body"}, "error": null}

Lines are counted from 1, empty ones too; an empty one asks nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from tropilla.api.batches.records import Ending, Objection
from tropilla.api.images import bare

#: So many lines of a batch are under way at the most.
MOST_LINES = 256
JSON = Any

#: So many objections are enough to see what is wrong with a file.
MOST_OBJECTIONS = 100
#: Of a name that a caller gives a line: it is kept in memory while the file is looked through.
MAX_CUSTOM_ID = 512
#: What stands around a body in its line, at the most, in bytes.
ENVELOPE_BYTES = 4096
#: Why a line was never answered: OpenAI's codes, and its words.
UNANSWERED: dict[Ending, tuple[str, str]] = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch. `start` and `length` say where in the file it stands, in bytes."""

    number: int
    custom_id: str
    start: int
    length: int


class Review:
    """Looks through a file line by line: `see` each once, in order, then `done`.

    What is not wrong is in `lines`, as far as nothing was: of a file with objections nothing is run.
    """

    def __init__(self, endpoint: str, *, max_lines: int, max_body_bytes: int) -> None:
        self.lines: list[Line] = []
        self.objections: list[Objection] = []
        self._endpoint, self._max_lines = endpoint, max_lines
        self._max_bytes = max_body_bytes + ENVELOPE_BYTES
        self._names: set[str] = set()

    @property
    def hopeless(self) -> bool:
        """Looking further would tell nobody more."""
        return len(self.objections) >= MOST_OBJECTIONS or len(self.lines) > self._max_lines

    @property
    def longest(self) -> int:
        """How many bytes of a line are worth reading."""
        return self._max_bytes + 1

    def see(self, number: int, start: int, data: bytes) -> None:
        """`data` is a line with its end, or the first `longest` bytes of one."""
        if not data.strip():
            return
        if len(data) > self._max_bytes:
            text = f"This line is longer than {self._max_bytes} bytes, the largest request that is taken."
            self.objections.append(Objection("line_too_long", text, None, number))
            return
        found = _entry(data, self._endpoint)
        if isinstance(found, str):
            found = self._named(found)
        if isinstance(found, str):
            self.lines.append(Line(number, found, start, len(data)))
        else:
            code, text, param = found
            self.objections.append(Objection(code, text, param, number))

    def done(self) -> None:
        if len(self.lines) > self._max_lines:
            text = f"The file holds more than {self._max_lines} requests, the most that one batch may have."
            self.objections.append(Objection("too_many_requests", text))
        elif not self.lines and not self.objections:
            self.objections.append(Objection("empty_file", "The file holds no requests."))

    def _named(self, custom_id: str) -> str | _Complaint:
        if custom_id in self._names:
            text = (
                "The custom_id for this request is a duplicate of another request. "
                "The custom_id parameter must be unique for each request in a batch."
            )
            return "duplicate_custom_id", text, "custom_id"
        self._names.add(custom_id)
        return custom_id


#: Code, message, and the field at fault.
_Complaint = tuple[str, str, str | None]


def _entry(data: bytes, endpoint: str) -> str | _Complaint:
    """The line's custom_id, or what is wrong with the line."""
    try:
        entry = orjson.loads(data)
    except orjson.JSONDecodeError:
        return "invalid_json_line", "This line is not parseable as valid JSON.", None
    if not isinstance(entry, dict):
        return "invalid_json_line", "This line is not a JSON object.", None
    for name in ("custom_id", "method", "url", "body"):
        if entry.get(name) is None:
            return "missing_required_parameter", f"Missing required parameter: '{name}'.", name
    custom_id = entry["custom_id"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        return "invalid_custom_id", f"The custom_id must be a string of 1 to {MAX_CUSTOM_ID} characters.", "custom_id"
    if entry["method"] != "POST":
        return "invalid_method", "The method must be 'POST'.", "method"
    if entry["url"] != endpoint:
        text = f"The URL provided for this request does not match the batch endpoint '{endpoint}'."
        return "mismatched_url", text, "url"
    if not isinstance(entry["body"], dict):
        return "invalid_body", "The body must be a JSON object.", "body"
    return custom_id


def body_of(data: bytes) -> JSON:
    """What a line that was looked through asks."""
    return bare(orjson.loads(data)["body"], data)


def request_id(batch_id: str, line: int, attempt: int) -> str:
    """Of the request that a line is run as: every process finds the same, so that one goes on where another has left off.

    attempt: raised where a request has ended without an answer that counts.
    """
    return hashlib.sha256(f"{batch_id} {line} {attempt}".encode()).hexdigest()[:32]


def answered(asked: str, custom_id: str, status: int, body: JSON) -> bytes:
    """What is written for a line that got an answer, of whatever status. `asked` is its request's id."""
    response = {"status_code": status, "request_id": f"req_{asked}", "body": body}
    return _written(asked, custom_id, response, None)


def failed(asked: str, custom_id: str, code: str, message: str) -> bytes:
    """What is written for a line that got none."""
    return _written(asked, custom_id, None, {"code": code, "message": message})


def unanswered(batch_id: str, line: Line, ending: Ending) -> bytes:
    """What is written for a line whose turn never came."""
    return failed(request_id(batch_id, line.number, 0), line.custom_id, *UNANSWERED[ending])


def _written(asked: str, custom_id: str, response: JSON, error: JSON) -> bytes:
    return orjson.dumps({"id": f"batch_req_{asked}", "custom_id": custom_id, "response": response, "error": error})


def window_seconds(text: str) -> int | None:
    """`24h`, `90m`: how long a batch may take; None for what says no such thing, or more than a month."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or len(number) > 5:
        return None
    seconds = int(number) * _UNITS[unit]
    return seconds if 0 < seconds <= MOST_WINDOW_SECONDS else None


_UNITS = {"h": 3600, "m": 60}
MOST_WINDOW_SECONDS = 31 * 24 * 3600

"""Body bytes -> the first JSON value in them: as Go's decoder does, nobody looks at what stands behind it (section 1)."""

from __future__ import annotations

import json
from typing import Any

from tropilla.api.reading import parse_json
from tropilla.common.errors import MalformedBody

_BLANKS = " \t\r\n"


def first_value(body: bytes) -> Any:
    """Raises `MalformedBody`, in Go's words where it has short ones."""
    try:
        return parse_json(body)
    except MalformedBody as error:
        text = body.decode("utf-8", errors="replace").lstrip(_BLANKS)
        if not text:
            raise
        return parse_json(text[: _end(text, error)].encode())


def _end(text: str, reason: MalformedBody) -> int:
    """Where the first value ends."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        place = text[error.pos :].strip(_BLANKS)
        # A text that never ends is told at its beginning.
        if not place or error.msg.startswith("Unterminated"):
            raise MalformedBody("unexpected EOF") from error
        raise MalformedBody(f"invalid character {place[0]!r} looking for beginning of value") from error
    except (RecursionError, ValueError) as error:
        raise reason from error
    return end

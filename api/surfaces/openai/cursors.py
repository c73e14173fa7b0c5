"""Pages of a listing as OpenAI tells them: `after`, `limit`, and what an answer says of its place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tropilla.api.surface import JSON
from tropilla.api.surfaces.openai.schemas import invalid


def limit_of(query: Mapping[str, str], *, most: int, default: int) -> int:
    """Raises `InvalidField`."""
    text = query.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise invalid("limit", f"expected an integer, but got '{text}' instead.", "type")
    limit = int(text)
    if not 1 <= limit <= most:
        raise invalid("limit", f"expected a number from 1 to {most}, but got {limit} instead.", "value")
    return limit


def after_of(query: Mapping[str, str], id_form: re.Pattern[str]) -> str:
    """The id behind which the page begins; "" for the first. Raises `InvalidField`."""
    after = query.get("after", "")
    if after and not id_form.fullmatch(after):
        raise invalid("after", f"'{after}' is the id of no such object.", "value")
    return after


def page(items: list[JSON], *, more: bool) -> JSON:
    ids = [item["id"] for item in items] or [None]
    return {"object": "list", "data": items, "first_id": ids[0], "last_id": ids[-1], "has_more": more}

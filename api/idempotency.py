"""Which requests are the same one, asked for again: a caller's word for it, and a digest of what it asks for. Pure.

    Idempotency-Key: <1 to 255 printable ASCII characters>

The word is its caller's own: two API keys may use the same one. Whoever says it again and asks for the same gets the answer
of the first request, while that runs or is kept; whoever asks for something else by it is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tropilla.api.surface import JSON, Surroundings
from tropilla.common.errors import Conflict, InvalidField
from tropilla.common.generation import EmbeddingRequest, GenerationRequest, Request
from tropilla.common.terms import Terms

HEADER = "Idempotency-Key"
#: Of an answer that was another request's.
REPLAYED = "Idempotent-Replayed"

WORD_PATTERN = r"[\x20-\x7e]{1,255}"
_WORD = re.compile(WORD_PATTERN)

#: What a route makes of a body.
Parse = Callable[[JSON, Surroundings], object]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: the rule of its route, and what that makes of bodies; `size` is its body's, in bytes."""

    route: str
    parse: Parse
    body: JSON
    around: Surroundings
    size: int = 0


def named(terms: Terms, request: Request, asked: Asked | None) -> Terms:
    """The terms, with its caller's word for the request, and the digest of what it asks for. asked: None where the request
    is one of several in a body. Raises `InvalidField` naming the header.
    """
    said = word(asked.around.headers) if asked else ""
    # Counting tokens costs nothing worth a word, and a model must be loaded however often that was asked for.
    if asked is None or not said or not isinstance(request, GenerationRequest | EmbeddingRequest):
        return terms
    return replace(terms, idempotency=said, digest=digest(asked.route, asked.around.path, asked.body))


def conflict() -> Conflict:
    """Something else was asked for by the same word."""
    return Conflict(f"this {HEADER} was used for another request: choose a new one for each", param=HEADER)


def refuse(headers: Mapping[str, str]) -> None:
    """Where a body holds several requests, of which some may be known and others not. Raises `InvalidField`."""
    if word(headers):
        raise InvalidField(f"{HEADER} is not served here: the body holds several requests", param=HEADER)


def word(headers: Mapping[str, str]) -> str:
    """The caller's, "" where he has none. headers: names in lower case. Raises `InvalidField`."""
    said = headers.get(HEADER.lower())
    if said is None:
        return ""
    if not _WORD.fullmatch(said):
        raise InvalidField(f"{HEADER} must be 1 to 255 printable ASCII characters", param=HEADER)
    return said


def digest(route: str, path: Mapping[str, str], body: JSON) -> str:
    """Of equal JSON values it is equal: the order of keys, white space and escapes do not matter. 64 hex digits."""
    canonical = json.dumps([route, dict(path), body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

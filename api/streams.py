"""Answers that outlive the API process which began them: what one was asked with is kept beside its journal.

The same body, parsed again, gives the same frames for the same events; so any process that has the body and the journal can
tell the whole stream once more, and leaves out what its client has heard already. A frame's place is its number, from 1.
Kept are streams, and whatever its caller has a word for (idempotency.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson
from tropilla.api.idempotency import Asked, Parse
from tropilla.api.surface import JSON, Call, Question, Surroundings
from tropilla.common import codec
from tropilla.common.errors import DecodeError, InvalidField, UnknownStream
from tropilla.common.generation import EmbeddingRequest, GenerationRequest
from tropilla.common.keys import Principal

#: `<request id>.<frames heard>`: the `id` of a server-sent event, and what a client says in `Last-Event-ID`.
_PLACE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,9})")
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
#: Headers that are nobody's business later.
SECRET = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})


class Store(Protocol):
    """What is needed of `bus.Bus`."""

    def kept_call(self, request_id: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What an answer was asked with. `route` is the rule its request came by."""

    route: str
    body: JSON
    headers: Mapping[str, str]
    path: Mapping[str, str]
    received: float
    queued: float
    request: str
    #: Whose it is (`Principal.key`).
    key: str = ""

    def surroundings(self, now: Surroundings) -> Surroundings:
        """As they were then, but for the cluster."""
        return replace(now, now=self.received, headers=self.headers, path=self.path)


class Streams:
    """What is kept of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, request_id: str, principal: Principal) -> Kept:
        """Raises `UnknownStream`, also of one that is somebody else's, and `StoreUnavailable`."""
        data = self._store.kept_call(request_id) if _REQUEST_ID.fullmatch(request_id) else None
        kept = Kept(**orjson.loads(data)) if data is not None else None
        if kept is None or not principal.sees(kept.key):
            raise UnknownStream(request_id)
        return kept


def keep(asked: Asked, call: Call | Question) -> bytes:
    """What is to be kept of a call from its admission on."""
    around = asked.around
    headers = {name: value for name, value in around.headers.items() if name not in SECRET}
    request, queued = codec.encode_request(call.request).decode(), call.queued if isinstance(call, Call) else 0.0
    kept = Kept(asked.route, asked.body, headers, around.path, call.received, queued, request, around.principal.key)
    return orjson.dumps(asdict(kept))


def again(parse: Parse, kept: Kept, now: Surroundings) -> Call | Question:
    """The call that was admitted. Raises `RequestError`s where the cluster has changed too much for it."""
    match parse(kept.body, kept.surroundings(now)), codec.decode_request(kept.request.encode()):
        case Call() as call, GenerationRequest() as request:
            return replace(call, request=request, queued=kept.queued)
        case Question() as question, EmbeddingRequest() as request:
            return replace(question, request=request)
    raise DecodeError("what was kept is no call", kept.request.encode())


def place(request_id: str, frames: int) -> str:
    """What a client that has heard so many frames says when it comes again."""
    return f"{request_id}.{frames}"


def placed(last_event_id: str) -> tuple[str, int] | None:
    """A `Last-Event-ID` -> the request's id, and how many frames were heard; None for one that is not ours."""
    found = _PLACE.fullmatch(last_event_id.strip())
    return (found[1], int(found[2])) if found else None


def heard(query: Mapping[str, str]) -> int:
    """`?from=N`: how many frames were heard. Raises `InvalidField`."""
    text = query.get("from", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidField("from must be how many frames were received, a number from 0 on", param="from")
    return int(text)

"""Streams that outlive the API process which began them: what one was asked with is kept beside its journal.

The same body, parsed again, gives the same frames for the same events; so any process that has the body and the journal can
tell the whole stream once more, and leaves out what its client has heard already. A frame's place is its number, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson
from tropilla.api.surface import JSON, Call, Surface, Surroundings
from tropilla.common import codec
from tropilla.common.errors import DecodeError, InvalidField, UnknownStream
from tropilla.common.generation import GenerationRequest

#: `<request id>.<frames heard>`: the `id` of a server-sent event, and what a client says in `Last-Event-ID`.
_PLACE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,9})")
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
#: Headers that are nobody's business later.
SECRET = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})


class Store(Protocol):
    """What is needed of `bus.Bus`."""

    def keep_call(self, request_id: str, call: bytes, *, seconds: float) -> None: ...
    def kept_call(self, request_id: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What a stream was asked with. `route` is the rule its request came by."""

    route: str
    body: JSON
    headers: Mapping[str, str]
    path: Mapping[str, str]
    received: float
    queued: float
    request: str

    def surroundings(self, now: Surroundings) -> Surroundings:
        """As they were then, but for the cluster."""
        return replace(now, now=self.received, headers=self.headers, path=self.path)


class Streams:
    """`seconds`: how long after its beginning a stream can be asked for."""

    def __init__(self, store: Store, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    def keep(self, route: str, body: JSON, around: Surroundings, call: Call) -> None:
        """Before anything of the stream is told. Raises `StoreUnavailable`."""
        headers = {name: value for name, value in around.headers.items() if name not in SECRET}
        request = codec.encode_request(call.request).decode()
        kept = Kept(route, body, headers, around.path, call.received, call.queued, request)
        self._store.keep_call(call.request.id, orjson.dumps(asdict(kept)), seconds=self._seconds)

    def find(self, request_id: str) -> Kept:
        """Raises `UnknownStream`, `StoreUnavailable`."""
        data = self._store.kept_call(request_id) if _REQUEST_ID.fullmatch(request_id) else None
        if data is None:
            raise UnknownStream(request_id)
        return Kept(**orjson.loads(data))


def again(surface: Surface, kept: Kept, now: Surroundings) -> Call:
    """The call that began the stream. Raises `RequestError`s where the cluster has changed too much for it."""
    call = surface.parse(kept.body, kept.surroundings(now))
    request = codec.decode_request(kept.request.encode())
    if not isinstance(call, Call) or not isinstance(request, GenerationRequest):
        raise DecodeError("what was kept of the stream is no call", kept.request.encode())
    return replace(call, request=request, queued=kept.queued)


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

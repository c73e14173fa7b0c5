"""Requests that were asked for before: whoever comes again gets the answer that is under way, or was given.

Redis says so at admission (admit.lua), where no two callers can be the first. What the first one asked with is kept beside
the journal from that moment on (streams.py), so any API process can tell the same answer from the same events.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response
from tropilla.api import idempotency
from tropilla.api.idempotency import Asked
from tropilla.api.relay import AskedBefore
from tropilla.api.streams import Streams, again
from tropilla.api.surface import Call, Question
from tropilla.common.errors import StoreUnavailable, UnknownStream

#: What was asked for before may have been given up a moment ago; then it is asked for anew. So often.
ATTEMPTS = 3


def once(
    streams: Streams, asked: Asked, begin: Callable[[], Response], join: Callable[[Call | Question], Response]
) -> Response:
    """What `begin` answers, or what `join` makes of the call that was asked for before. Both raise what they fail with;
    raises `StoreUnavailable`.
    """
    for _ in range(ATTEMPTS):
        try:
            return begin()
        except AskedBefore as before:
            try:
                response = join(
                    again(asked.parse, streams.find(before.request_id, asked.around.principal), asked.around)
                )
            except UnknownStream:
                continue
            response.headers[idempotency.REPLAYED] = "true"
            return response
    raise StoreUnavailable(f"what was asked for by one {idempotency.HEADER} was given up {ATTEMPTS} times meanwhile")

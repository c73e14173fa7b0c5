"""What the store says of an errand, heard by somebody who did not ask for it just now: streamed, or only its last word."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable

from flask import Response, request
from tropilla.api import hangup
from tropilla.api.chores import Errands, told
from tropilla.api.framing import Framing
from tropilla.api.surface import ErrandCall, ErrandRefused, Listening
from tropilla.api.watch import ClientGone
from tropilla.common.errands import Done, Look, Refused, Word
from tropilla.common.errors import StoreClosed
from tropilla.common.generation import new_request_id

#: How long an image may take that the store fetches for a request which waits for it, in seconds.
LOOK_SECONDS = 20.0


def listen(errands: Errands, framing: Framing, listening: Listening) -> Response:
    """Streamed. Whoever only listens stops nothing by leaving."""
    left: list[bool] = []
    unwatch = hangup.watch(request.environ, lambda: left.append(True))
    words = errands.words(listening.errand_id, lambda: bool(left))
    response = Response(told(framing, words, listening.feed), headers=framing.headers)
    # Not in the generator's own clean-up: that does not run when the client leaves before the first byte.
    response.call_on_close(unwatch)
    return response


def prepare(errands: Errands, call: ErrandCall) -> None:
    """Returns when the errand is done. Raises what the store refuses it with, or `ClientGone`."""
    left: list[bool] = []
    unwatch = hangup.watch(request.environ, lambda: left.append(True))
    try:
        said = [word for word in errands.words(errands.begin(call), lambda: bool(left)) if word is not None]
    finally:
        unwatch()
    last = said[-1] if said else None
    if isinstance(last, Refused):
        raise ErrandRefused(last)
    if not isinstance(last, Done):
        raise ClientGone("the client has closed its connection")


def looker(errands: Errands, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> Callable[[str], str]:
    """What has the store fetch the image that a URL names, once for all who want it now, and answers its digest. Raises
    `ErrandRefused`, `StoreUnavailable`.
    """

    def look(url: str) -> str:
        errand = Look(new_request_id(), url, most_bytes)
        # A URL may hold secrets.
        flight = f"look {hashlib.sha256(url.encode()).hexdigest()}"
        try:
            errand_id = errands.begin(ErrandCall(errand, received=0.0, flight=flight))
        except StoreClosed as error:
            raise StoreClosed("the store is not running, which fetches images by their URLs") from error
        errands.attend(errand_id)
        until, said = clock() + LOOK_SECONDS, deque[Word | None](maxlen=1)
        try:
            said.extend(errands.words(errand_id, lambda: clock() > until))
        finally:
            errands.leave(errand_id, stops=True)
        last = said[-1] if said else None
        if isinstance(last, Refused):
            raise ErrandRefused(last)
        if not isinstance(last, Done):
            raise ErrandRefused(Refused("failed", f"it was not there within {LOOK_SECONDS:.0f} s"))
        return last.name

    return look

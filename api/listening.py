"""What the store says of an errand, heard by somebody who did not ask for it just now: streamed, or only its last word."""

from __future__ import annotations

from flask import Response, request
from tropilla.api import hangup
from tropilla.api.chores import Errands, told
from tropilla.api.framing import Framing
from tropilla.api.surface import ErrandCall, ErrandRefused, Listening
from tropilla.api.watch import ClientGone
from tropilla.common.errands import Done, Refused


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

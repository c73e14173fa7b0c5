"""One answer that goes out as it comes: events in, a body of frames out."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator

from flask import Response
from tropilla.api import admission
from tropilla.api.conversation import STREAM_HEADER, Conversation
from tropilla.api.framing import Framing
from tropilla.api.streams import place
from tropilla.api.surface import Call, Surface
from tropilla.api.watch import ClientGone, Pulse
from tropilla.common.errors import from_failed
from tropilla.common.generation import Event, Failed, Finished

log = logging.getLogger(__name__)


def streamed(surface: Surface, call: Call, conversation: Conversation, heard: int = 0) -> Response:
    """What is known to be wrong before the first byte has a real status: so the first event is awaited here.

    heard: how many frames of it the client has; those are not told again.
    """
    events = conversation.heard(streams=True)
    try:
        first = next(events)
        if isinstance(first, Failed):
            raise from_failed(first)
    except BaseException:
        conversation.close()
        raise
    headers = {**surface.framing.headers, **surface.stream_headers(call), STREAM_HEADER: call.request.id}
    body = _body(surface, call, conversation, itertools.chain((first,), events), heard)
    # No direct_passthrough: Werkzeug would hand out the generator itself, and nobody would call what `call_on_close` took.
    response = Response(body, headers=headers)
    # Not in the generator's own clean-up: that does not run when the client leaves before the first byte.
    response.call_on_close(conversation.close)
    if conversation.account is not None:
        conversation.account.kept = True
        response.call_on_close(conversation.account.close)
    return response


def _body(
    surface: Surface, call: Call, conversation: Conversation, events: Iterator[Event | Pulse], heard: int
) -> Iterator[bytes]:
    framing: Framing = surface.framing
    frames = surface.frames(call, time.time)
    account, told = conversation.account, 0

    def out(event: Event) -> Iterator[bytes]:
        nonlocal told
        for frame in frames.feed(event):
            told += 1
            if told > heard:
                # Of an error it has none: whoever comes again wants what should have stood there.
                placed = conversation.says_places and not isinstance(event, Failed)
                where = place(call.request.id, told) if placed else ""
                yield framing.frame(frame.data, frame.event, where)

    written = time.monotonic()
    try:
        for event in events:
            if account is not None and (account.waits or isinstance(event, Finished | Failed)):
                account.hear(event)
            data = _sign_of_life(framing, event) if isinstance(event, Pulse) else b"".join(out(event))
            # Tokens may come for long of which nothing can be shown yet.
            if not data and time.monotonic() - written >= conversation.heartbeat_seconds:
                data = framing.heartbeat
            if data:
                yield data
                written = time.monotonic()
    except ClientGone:
        return
    except Exception as error:
        # A bug of ours: the stream has begun, so it ends with the dialect's last words instead of a torn line.
        log.exception("a stream broke")
        conversation.fail(error)
        failed = Failed(0, "internal", f"the server failed: {type(error).__name__}")
        yield b"".join(framing.frame(frame.data, frame.event) for frame in surface.frames(call, time.time).feed(failed))


def _sign_of_life(framing: Framing, pulse: Pulse) -> bytes:
    if pulse.before is None or framing.comment is None:
        return framing.heartbeat
    return framing.comment(admission.queued(pulse.before, pulse.seconds))

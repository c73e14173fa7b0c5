"""One request's answer over HTTP: its events awaited, its client's socket watched, its body streamed or whole."""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from flask import Response, request
from tropilla.api import hangup
from tropilla.api.framing import Framing, compact
from tropilla.api.inbox import GONE, Mailbox
from tropilla.api.relay import PULSE, ClientGone, Pulse, Relay
from tropilla.api.surface import Call, Fold, Reply, Surface
from tropilla.common.catalogue import Lane
from tropilla.common.errors import from_failed
from tropilla.common.generation import Embedded, Event, Failed, Request, Tokenized
from tropilla.common.settings import Settings

log = logging.getLogger(__name__)

#: What the kernel may hold of a stream that its client does not read; left to itself it is some megabytes.
UNREAD_BYTES = 128 << 10


class Conversation:
    """The events of one request together with the watch over its client's socket. To be closed."""

    def __init__(self, relay: Relay, settings: Settings, asked: Request, lane: Lane) -> None:
        #: A stream never says nothing for longer.
        self.heartbeat_seconds = settings.heartbeat_seconds
        self._environ = request.environ
        self._stop_watching: Callable[[], None] = lambda: None
        self.events = relay.run(asked, lane, self._opened)
        client = self._environ.get("gunicorn.socket")
        if client is not None:
            # A client that takes nothing for so long is gone too; the write fails and the stream is closed.
            client.settimeout(settings.write_seconds)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)

    def _opened(self, mailbox: Mailbox) -> None:
        self._stop_watching = hangup.watch(self._environ, lambda: mailbox.mark(GONE))

    def close(self) -> None:
        self._stop_watching()
        cast(Any, self.events).close()


def whole(surface: Surface, call: Call, conversation: Conversation) -> Response:
    fold = Fold(call.request.choices)
    try:
        for event in conversation.events:
            if not isinstance(event, Pulse):
                fold.feed(event)
    finally:
        conversation.close()
    return respond(surface.whole(call, fold.completion(), time.time()))


def answers(conversation: Conversation) -> tuple[Embedded | Tokenized, ...]:
    """One for each prompt, in their order."""
    found: dict[int, Embedded | Tokenized] = {}
    try:
        for event in conversation.events:
            if isinstance(event, Failed):
                raise from_failed(event)
            if isinstance(event, Embedded | Tokenized):
                found[event.choice] = event
    finally:
        conversation.close()
    return tuple(found[choice] for choice in sorted(found))


def streamed(surface: Surface, call: Call, conversation: Conversation) -> Response:
    """What is known to be wrong before the first byte has a real status: so the first event is awaited here."""
    try:
        first = next(conversation.events)
        if isinstance(first, Failed):
            raise from_failed(first)
    except BaseException:
        conversation.close()
        raise
    headers = {**surface.framing.headers, **surface.stream_headers(call)}
    events = itertools.chain((first,), conversation.events)
    body = _body(surface, call, events, conversation.heartbeat_seconds)
    # No direct_passthrough: Werkzeug would hand out the generator itself, and nobody would call what `call_on_close` took.
    response = Response(body, headers=headers)
    # Not in the generator's own clean-up: that does not run when the client leaves before the first byte.
    response.call_on_close(conversation.close)
    return response


def _body(surface: Surface, call: Call, events: Iterator[Event | Pulse], heartbeat_seconds: float) -> Iterator[bytes]:
    framing: Framing = surface.framing
    frames = surface.frames(call, time.time)
    written = time.monotonic()
    try:
        for event in events:
            told = () if event is PULSE else frames.feed(cast(Event, event))
            data = b"".join(framing.frame(frame.data, frame.event) for frame in told)
            # Tokens may come for long of which nothing can be shown yet.
            if not data and (event is PULSE or time.monotonic() - written >= heartbeat_seconds):
                data = framing.heartbeat
            if data:
                yield data
                written = time.monotonic()
    except ClientGone:
        return
    except Exception as error:
        # A bug of ours: the stream has begun, so it ends with the dialect's last words instead of a torn line.
        log.exception("a stream broke")
        failed = Failed(0, "internal", f"the server failed: {type(error).__name__}")
        yield b"".join(framing.frame(frame.data, frame.event) for frame in surface.frames(call, time.time).feed(failed))


def respond(reply: Reply) -> Response:
    """Text goes out as text, None as an empty body, everything else as JSON."""
    headers = dict(reply.headers)
    if reply.body is None:
        body, kind = b"", "text/plain; charset=utf-8"
    elif isinstance(reply.body, str):
        body, kind = reply.body.encode(), "text/plain; charset=utf-8"
    else:
        body, kind = compact(reply.body), "application/json"
    headers.setdefault("Content-Type", kind)
    return Response(body, status=reply.status, headers=headers)

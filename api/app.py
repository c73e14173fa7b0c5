"""The Flask application: every dialect's routes over one generation handler."""

from __future__ import annotations

import itertools
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, Response, g, request
from tropilla.api import hangup, placement
from tropilla.api.cluster import Cluster
from tropilla.api.framing import Framing, compact
from tropilla.api.inbox import GONE, Inbox, Mailbox
from tropilla.api.reading import parse_json
from tropilla.api.relay import PULSE, ClientGone, Pulse, Relay
from tropilla.api.surface import Call, Dialect, Fold, Page, Reply, Route, Surface, Surroundings
from tropilla.api.surfaces import DIALECTS
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import BodyTooLarge, GenerationFailed, TropillaError, UnknownRoute, WrongMethod, from_failed
from tropilla.common.generation import Event, Failed, GenerationRequest, Request, new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

log = logging.getLogger(__name__)

#: What the kernel may hold of a stream that its client does not read; left to itself it is some megabytes.
UNREAD_BYTES = 128 << 10

#: A request id a client may choose: what fits into a log line and a header.
_SANE_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the handlers need of the cluster."""

    settings: Settings
    cluster: Cluster
    relay: Relay
    inbox: Inbox


def create_app(collaborators: Collaborators, dialects: tuple[Dialect, ...] = DIALECTS) -> Flask:
    """The WSGI application."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = collaborators.settings.max_body_bytes
    app.extensions["tropilla"] = collaborators
    for dialect in dialects:
        for route in dialect.routes:
            methods = ["POST"] if isinstance(route, Route) else ["GET"]
            view = _generator(collaborators, route.surface) if isinstance(route, Route) else _page(collaborators, route)
            app.add_url_rule(route.path, f"{methods[0]} {route.path}", _answered(dialect, view), methods=methods)
    app.before_request(_name_request)
    app.after_request(_label_response)
    app.register_error_handler(HTTPException, _misrouted(dialects))
    return app


def from_environment() -> Flask:
    """The application of this process, wired to its Redis. What gunicorn loads."""
    settings = Settings.from_environment()
    bus = Bus.connect(settings.redis_url)
    bus.check()
    celery = create_celery(settings)
    inbox, cluster = Inbox(bus), Cluster(bus)

    def put(asked: Request, lane: Lane) -> None:
        submit(celery, asked, lane=lane)

    relay = Relay(bus, inbox, put, cluster.pulled, settings)
    inbox.start()
    return create_app(Collaborators(settings, cluster, relay, inbox))


View = Callable[..., Response]


def _answered(dialect: Dialect, view: View) -> View:
    """Whatever goes wrong in the view leaves in the dialect's own words."""

    def answer(**variables: str) -> Response:
        try:
            return view(**variables)
        except ClientGone:
            return Response(status=499)
        except RequestEntityTooLarge:
            return _respond(dialect.fault(_too_large()))
        except TropillaError as error:
            return _respond(dialect.fault(error))

    return answer


def _page(collaborators: Collaborators, page: Page) -> View:
    def view(**variables: str) -> Response:
        return _respond(page.answer(_surroundings(collaborators), variables))

    return view


def _generator(collaborators: Collaborators, surface: Surface) -> View:
    def view() -> Response:
        call = surface.parse(parse_json(request.get_data(cache=False)), _surroundings(collaborators))
        if isinstance(call, Reply):
            return _respond(call)
        g.request_id = g.request_id or call.request.id
        lane = placement.lane(collaborators.cluster.catalogue(), call.request.model)
        conversation = _Conversation(collaborators, call.request, lane)
        try:
            return _streamed(surface, call, conversation) if call.stream else _whole(surface, call, conversation)
        except GenerationFailed as error:
            if error.status < 500:
                error.param = call.prompt_field
            raise

    return view


class _Conversation:
    """The events of one request together with the watch over its client's socket. To be closed."""

    def __init__(self, collaborators: Collaborators, generation: GenerationRequest, lane: Lane) -> None:
        self._environ = request.environ
        self._stop_watching: Callable[[], None] = lambda: None
        self.events = collaborators.relay.run(generation, lane, self._opened)
        client = self._environ.get("gunicorn.socket")
        if client is not None:
            # A client that takes nothing for so long is gone too; the write fails and the stream is closed.
            client.settimeout(collaborators.settings.write_seconds)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)

    def _opened(self, mailbox: Mailbox) -> None:
        self._stop_watching = hangup.watch(self._environ, lambda: mailbox.mark(GONE))

    def close(self) -> None:
        self._stop_watching()
        cast(Any, self.events).close()


def _whole(surface: Surface, call: Call, conversation: _Conversation) -> Response:
    fold = Fold(call.request.choices)
    try:
        for event in conversation.events:
            if not isinstance(event, Pulse):
                fold.feed(event)
    finally:
        conversation.close()
    return _respond(surface.whole(call, fold.completion(), time.time()))


def _streamed(surface: Surface, call: Call, conversation: _Conversation) -> Response:
    """What is known to be wrong before the first byte has a real status: so the first event is awaited here."""
    try:
        first = next(conversation.events)
        if isinstance(first, Failed):
            raise from_failed(first)
    except BaseException:
        conversation.close()
        raise
    headers = {**surface.framing.headers, **surface.stream_headers(call)}
    body = _body(surface, call, itertools.chain((first,), conversation.events))
    # No direct_passthrough: Werkzeug would hand out the generator itself, and nobody would call what `call_on_close` took.
    response = Response(body, headers=headers)
    # Not in the generator's own clean-up: that does not run when the client leaves before the first byte.
    response.call_on_close(conversation.close)
    return response


def _body(surface: Surface, call: Call, events: Iterator[Event | Pulse]) -> Iterator[bytes]:
    framing: Framing = surface.framing
    frames = surface.frames(call, time.time)
    try:
        for event in events:
            if event is PULSE:
                yield framing.heartbeat
                continue
            data = b"".join(framing.frame(frame.data, frame.event) for frame in frames.feed(cast(Event, event)))
            if data:
                yield data
    except ClientGone:
        return
    except Exception as error:
        # A bug of ours: the stream has begun, so it ends with the dialect's last words instead of a torn line.
        log.exception("a stream broke")
        failed = Failed(0, "internal", f"the server failed: {type(error).__name__}")
        yield b"".join(framing.frame(frame.data, frame.event) for frame in surface.frames(call, time.time).feed(failed))


def _surroundings(collaborators: Collaborators) -> Surroundings:
    return Surroundings(collaborators.cluster.catalogue(), collaborators.settings, time.time())


def _respond(reply: Reply) -> Response:
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


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else ""


def _label_response(response: Response) -> Response:
    response.headers["x-request-id"] = getattr(g, "request_id", "") or new_request_id()
    return response


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {request.max_content_length} bytes")


def _misrouted(dialects: tuple[Dialect, ...]) -> Callable[[HTTPException], Response]:
    """Unknown paths and methods answer in the dialect that owns the path."""
    owned = sorted(((prefix, dialect) for dialect in dialects for prefix in dialect.prefixes), key=lambda o: -len(o[0]))

    def answer(error: HTTPException) -> Response:
        dialect = next(owner for prefix, owner in owned if _below(request.path, prefix))
        if isinstance(error, MethodNotAllowed):
            response = _respond(dialect.fault(WrongMethod(request.method, request.path)))
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        if error.code == 404:
            return _respond(dialect.fault(UnknownRoute(request.method, request.path)))
        if error.code == 500:
            return _respond(dialect.fault(TropillaError("internal error")))
        return error.get_response()  # type: ignore[return-value]

    return answer


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")

"""What every response carries, whoever made it: a request id, its dialect's own headers, and what browsers need (CORS)."""

from __future__ import annotations

import re
import socket
import time
from functools import partial

from flask import Flask, Response, current_app, g, request
from tropilla.api import cors
from tropilla.api.conversation import PLACE, respond
from tropilla.api.diary import Diary, Entry
from tropilla.api.hostnames import Hostnames
from tropilla.api.owners import Owners
from tropilla.api.surface import Dialect
from tropilla.common import logs
from tropilla.common.errors import ForbiddenHost, ForbiddenOrigin
from tropilla.common.generation import Request, new_request_id
from tropilla.common.settings import Settings

#: A request id a client may choose: what fits into a log line and a header.
_SANE_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


def install(app: Flask, settings: Settings, owners: Owners, diary: Diary) -> None:
    hostnames = Hostnames.read(settings, socket.gethostname())
    labels = _Labels(owners, diary, cors.Origins.read(settings.pages), hostnames)
    app.before_request(labels.begin)
    app.after_request(labels.finish)


def call_request(asked: Request) -> None:
    """The current request is about this generation: unless its client has named it, it bears that id."""
    g.request_id = g.request_id or logs.named(asked.id)
    logs.bind(logs.named(asked.id), asked.model)


def call_joined(asked: Request) -> None:
    """As `call_request`, of one that began before the current request."""
    g.request_id = g.named or logs.named(asked.id)
    logs.bind(logs.named(asked.id), asked.model)


def entry() -> Entry:
    """What is written down of the current request."""
    found: Entry = g.entry
    return found


def answered_by(dialect: Dialect) -> None:
    """The dialect of the route that was found; without one it is that of the path."""
    g.dialect = dialect


class _Labels:
    def __init__(self, owners: Owners, diary: Diary, origins: cors.Origins, hostnames: Hostnames | None) -> None:
        """hostnames: None where the server may be called by any name."""
        self._owners, self._diary, self._origins, self._hostnames = owners, diary, origins, hostnames

    def begin(self) -> Response | None:
        """Answers at once what is not for any route: a browser's question, and pages that may not ask."""
        given = request.headers.get("X-Request-Id", "")
        g.request_id = g.named = given if _SANE_ID.fullmatch(given) else ""
        g.began = time.monotonic()
        # Of what generates nothing: also what is logged on the way bears one.
        g.spare_id = logs.named(new_request_id())
        logs.bind(g.named or g.spare_id)
        g.entry = self._diary.open(request.method, request.headers.get("traceparent", ""))
        dialect = self._owners.of(request.path)
        try:
            self._admit(request.headers.get("Host", ""), _origin())
        except ForbiddenOrigin as error:
            return respond(dialect.fault(error))
        return self._options(dialect) if request.method == "OPTIONS" else None

    def _admit(self, host: str, origin: str) -> None:
        """Raises `ForbiddenOrigin`. host: whom a browser means to ask; whether a page is another server's rests on it."""
        if self._hostnames is not None and not self._hostnames.allow(host):
            raise ForbiddenHost(host)
        if origin and not self._origins.allow(origin):
            raise ForbiddenOrigin(origin)
        if origin and _kept_by_browser() and not self._origins.allow(origin, by_name=True):
            raise ForbiddenOrigin(origin, " with a password that the browser keeps: send the key as a Bearer token")

    def _options(self, dialect: Dialect) -> Response:
        response = Response(status=dialect.preflight_status)
        adapter = current_app.create_url_adapter(request)
        if adapter is not None:
            response.headers["Allow"] = ", ".join(sorted({*adapter.allowed_methods(), "OPTIONS"}))
        response.headers.extend(cors.preflight(request.headers.get("Access-Control-Request-Headers", "")))
        return response

    def finish(self, response: Response) -> Response:
        name = g.request_id or g.spare_id
        # Anthropic's clients read the second.
        response.headers["x-request-id"] = response.headers["request-id"] = name
        if PLACE in request.environ:
            response.headers["x-queue-position"] = str(request.environ[PLACE])
        # Prompts and answers are nobody's to keep on the way.
        response.headers.setdefault("Cache-Control", "no-store")
        dialect: Dialect = g.get("dialect") or self._owners.of(request.path)
        response.headers.extend(dialect.headers(time.monotonic() - g.began))
        origin = _origin()
        if origin and self._origins.allow(origin):
            response.headers.extend(self._origins.headers(origin))
        route = request.url_rule.rule if request.url_rule else ""
        close = partial(entry().close, route=route, dialect=dialect.name, status=response.status_code, request_id=name)
        response.call_on_close(close)
        return response


def _kept_by_browser() -> bool:
    """The key may be one that its user has once told the browser, and that the page itself knows nothing of."""
    return request.headers.get("Authorization", "").strip().lower().startswith("basic")


def _origin() -> str:
    """Of the page that asks; "" where no page of another server does."""
    origin = request.headers.get("Origin", "")
    return "" if cors.same_origin(origin, request.headers.get("Host", "")) else origin

"""What every response carries, whoever made it: a request id, its dialect's own headers, and what browsers need (CORS)."""

from __future__ import annotations

import re
import time

from flask import Flask, Response, current_app, g, request
from tropilla.api import cors
from tropilla.api.conversation import PLACE, respond
from tropilla.api.owners import Owners
from tropilla.api.surface import Dialect
from tropilla.common.errors import ForbiddenOrigin
from tropilla.common.generation import new_request_id
from tropilla.common.settings import Settings

#: A request id a client may choose: what fits into a log line and a header.
_SANE_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


def install(app: Flask, settings: Settings, owners: Owners) -> None:
    labels = _Labels(owners, cors.Origins.read(settings.cors_origins))
    app.before_request(labels.begin)
    app.after_request(labels.finish)


def call_request(request_id: str) -> None:
    """The current request is about this generation: unless its client has named it, it bears that id."""
    g.request_id = g.request_id or f"req_{request_id}"


def call_joined(request_id: str) -> None:
    """As `call_request`, of one that began before the current request."""
    g.request_id = g.named or f"req_{request_id}"


def answered_by(dialect: Dialect) -> None:
    """The dialect of the route that was found; without one it is that of the path."""
    g.dialect = dialect


class _Labels:
    def __init__(self, owners: Owners, origins: cors.Origins) -> None:
        self._owners, self._origins = owners, origins

    def begin(self) -> Response | None:
        """Answers at once what is not for any route: a browser's question, and pages that may not ask."""
        given = request.headers.get("X-Request-Id", "")
        g.request_id = g.named = given if _SANE_ID.fullmatch(given) else ""
        g.began = time.monotonic()
        dialect = self._owners.of(request.path)
        origin = _origin()
        if origin and not self._origins.allow(origin):
            return respond(dialect.fault(ForbiddenOrigin(origin)))
        return self._options(dialect) if request.method == "OPTIONS" else None

    def _options(self, dialect: Dialect) -> Response:
        response = Response(status=dialect.preflight_status)
        adapter = current_app.create_url_adapter(request)
        if adapter is not None:
            response.headers["Allow"] = ", ".join(sorted({*adapter.allowed_methods(), "OPTIONS"}))
        response.headers.extend(cors.preflight(request.headers.get("Access-Control-Request-Headers", "")))
        return response

    def finish(self, response: Response) -> Response:
        name = g.get("request_id") or f"req_{new_request_id()}"
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
        return response


def _origin() -> str:
    """Of the page that asks; "" where no page of another server does."""
    origin = request.headers.get("Origin", "")
    return "" if cors.same_origin(origin, request.headers.get("Host", "")) else origin

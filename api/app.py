"""The Flask application: every dialect's routes over a handler for each kind of route (views.py)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from tropilla.api import auth, labels, listening, media
from tropilla.api.account import Ledger
from tropilla.api.asking import Asking
from tropilla.api.auth import Guard
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.clerk import Batches, Clerk
from tropilla.api.blobs import BlobViews, arrays_reader
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import respond
from tropilla.api.counters import Counters
from tropilla.api.departure import Departure
from tropilla.api.diary import GONE_STATUS, Diary
from tropilla.api.docs import described
from tropilla.api.inbox import Inbox
from tropilla.api.liveness import Liveness
from tropilla.api.misrouted import misrouted
from tropilla.api.owners import Owners
from tropilla.api.relay import Relay
from tropilla.api.showing import Album, Showing
from tropilla.api.streams import Streams
from tropilla.api.surface import Dialect, acts, method_of, scopes_of
from tropilla.api.surfaces import DIALECTS
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.views import View, Views
from tropilla.api.watch import ClientGone
from tropilla.common.errors import MalformedBody, StoreUnavailable, TropillaError, Unauthenticated
from tropilla.common.gguf import read_arrays
from tropilla.common.keys import ADMIN
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tracing import Collector
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the handlers need of the cluster."""

    settings: Settings
    cluster: Cluster
    relay: Relay
    inbox: Inbox
    registry: Registry
    errands: Errands
    streams: Streams
    batches: Batches
    album: Album
    counters: Counters = field(default_factory=Counters)
    departure: Departure = field(default_factory=Departure)
    guard: Guard = field(default_factory=Guard)
    liveness: Liveness = field(default_factory=Liveness)
    #: Where spans go; None where nobody wants them.
    collector: Collector | None = None
    #: What a process does first that is told to stop.
    hand_over: Callable[[], None] = lambda: None


def create_app(collaborators: Collaborators, dialects: tuple[Dialect, ...] = DIALECTS) -> Flask:
    """The WSGI application."""
    app = Flask(__name__, static_folder=None)
    settings = collaborators.settings
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions["tropilla"] = collaborators
    ledger = Ledger(collaborators.counters.tally, settings.max_concurrent_requests)
    cluster, registry = collaborators.cluster, collaborators.registry
    departure = collaborators.departure
    arrays, liveness = arrays_reader(settings, read_arrays), collaborators.liveness
    look = listening.looker(collaborators.errands, settings.max_image_bytes)
    showing = Showing(settings, cluster.catalogue, collaborators.album, look)
    asking = Asking(settings, cluster, registry, arrays, showing, lambda: departure.foreseen, liveness.ailing)
    views = Views(
        settings,
        cluster,
        collaborators.relay,
        collaborators.counters,
        ledger,
        registry,
        asking,
        collaborators.errands,
        collaborators.streams,
        Clerk(settings, Archive.below(settings.home), collaborators.batches, asking),
    )
    dialects = (*dialects, described(dialects))
    for dialect in dialects:
        for route in dialect.routes:
            method = method_of(route)
            admit = functools.partial(collaborators.guard.admit, scopes_of(route))
            view = _answered(dialect, settings, admit, views.of(dialect, route))
            if method == "GET" and acts(route):
                view = _without_head(view)
            app.add_url_rule(route.path, f"{method} {route.path}", view, methods=[method])
    _mount(app, settings, collaborators.guard, BlobViews(settings))
    owners = Owners(dialects)
    labels.install(app, settings, owners, Diary(settings, collaborators.collector))
    app.register_error_handler(HTTPException, misrouted(owners))
    return app


def _without_head(view: View) -> View:
    """Flask has HEAD do what GET does, and throws the answer away."""

    def answer(**variables: str) -> Response:
        if request.method == "HEAD":
            raise MethodNotAllowed(valid_methods=["GET", "OPTIONS"])
        return view(**variables)

    return answer


def _mount(app: Flask, settings: Settings, guard: Guard, blobs: BlobViews) -> None:
    """Bodies that are files, which no surface ever sees."""
    upload = _answered(OLLAMA, settings, functools.partial(guard.admit, ADMIN), blobs.upload)
    file = _answered(OLLAMA, settings, guard.admit_internal, blobs.file)
    app.add_url_rule("/api/blobs/<digest>", "upload a blob", upload, methods=["HEAD", "POST"])
    app.add_url_rule("/internal/blobs/<digest>", "fetch a blob", file, methods=["GET", "HEAD"])


def _answered(dialect: Dialect, settings: Settings, admit: Callable[[], None], view: View) -> View:
    """The view, for those who are admitted. Whatever goes wrong leaves in the dialect's own words."""

    def refuse(error: TropillaError) -> Response:
        labels.entry().fail(error)
        reply = dialect.fault(error)
        response = respond(replace(reply, status=dialect.refused_status(settings)) if reply.status == 400 else reply)
        if isinstance(error, Unauthenticated):
            response.headers.setdefault(auth.CHALLENGE, auth.BEARER)
        return response

    def answer(**variables: str) -> Response:
        labels.answered_by(dialect)
        try:
            admit()
            return view(**variables)
        except ClientGone as gone:
            labels.entry().fail(gone)
            return Response(status=GONE_STATUS)
        except ParseException as error:
            return refuse(MalformedBody(f"The request body is not framed as it says: {error}."))
        except RequestEntityTooLarge:
            return refuse(media.too_large(request.max_content_length or 0))
        except TropillaError as error:
            if isinstance(error, StoreUnavailable):
                # The caller is told no more than that.
                log.warning("%s %s: %s", request.method, request.path, error.message)
            return refuse(error)

    return answer

"""The Flask application: every dialect's routes over a handler for each kind of route (views.py)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from tropilla.api import auth, labels, media
from tropilla.api.account import Ledger
from tropilla.api.asking import Asking
from tropilla.api.auth import Guard
from tropilla.api.batches.answering import Answering
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.book import Book, Held
from tropilla.api.batches.clerk import Batches, Clerk
from tropilla.api.batches.foreman import Foreman
from tropilla.api.batches.run import Run
from tropilla.api.blobs import BlobViews, arrays_reader
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import respond
from tropilla.api.counters import Counters
from tropilla.api.departure import Departure
from tropilla.api.diary import GONE_STATUS, Diary
from tropilla.api.docs import described
from tropilla.api.inbox import Inbox
from tropilla.api.keyring import Keyring
from tropilla.api.liveness import Liveness
from tropilla.api.misrouted import misrouted
from tropilla.api.owners import Owners
from tropilla.api.relay import Relay
from tropilla.api.steward import Steward
from tropilla.api.streams import Streams
from tropilla.api.surface import Dialect, method_of, scopes_of
from tropilla.api.surfaces import DIALECTS
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.surfaces.openai import OPENAI
from tropilla.api.views import View, Views
from tropilla.api.watch import ClientGone
from tropilla.common import tracing
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errands import Errand
from tropilla.common.errors import MalformedBody, StoreUnavailable, TropillaError, Unauthenticated
from tropilla.common.gauges import Gauges
from tropilla.common.generation import Request, new_request_id
from tropilla.common.gguf import read_arrays
from tropilla.common.keys import ADMIN
from tropilla.common.keystore import Keystore
from tropilla.common.registry import Registry
from tropilla.common.room import Room
from tropilla.common.settings import Settings
from tropilla.common.survey import Survey
from tropilla.common.tasks import create_celery, submit, submit_errand
from tropilla.common.tracing import Collector
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

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
    asking = Asking(settings, cluster, registry, arrays, lambda: departure.foreseen, liveness.ailing)
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
            app.add_url_rule(route.path, f"{method} {route.path}", view, methods=[method])
    _mount(app, settings, collaborators.guard, BlobViews(settings))
    owners = Owners(dialects)
    labels.install(app, settings, owners, Diary(settings, collaborators.collector))
    app.register_error_handler(HTTPException, misrouted(owners))
    return app


def from_environment() -> Flask:
    """The application of this process, wired to its Redis. What gunicorn loads."""
    settings = Settings.from_environment()
    bus = Bus.connect(settings.redis_url, settings)
    bus.check()
    celery = create_celery(settings)
    registry = Registry(bus)
    room, inbox = Room(bus), Inbox(bus)
    cluster = Cluster(registry, room)

    def sweep(lane: str) -> int:
        return room.sweep(lane, journal_seconds=settings.journal_seconds)

    def look_after_the_lost() -> None:
        for lane in room.put_back_all_lost():
            submit(celery, lane.name, ticket=new_request_id(), shown=lane.pin)

    survey, swap_seconds = Survey(bus, registry, room), settings.swap_seconds
    steward = Steward(registry, survey, sweep, look_after_the_lost, inbox.name, swap_seconds=swap_seconds)

    def put(asked: Request, lane: Lane) -> None:
        submit(celery, lane.name, ticket=asked.id, shown=asked.model)
        if not cluster.pulled(lane):
            steward.wake()

    def ask(errand: Errand, flight: str) -> None:
        submit_errand(celery, errand, flight)

    relay = Relay(bus, room, inbox, put, cluster.look_again, settings)
    counters = Counters(bus, Gauges(bus))
    book = Book(bus)
    keystore = Keystore(bus)
    keyring = Keyring(keystore)
    foreman = _foreman(settings, registry, book, cluster, relay, inbox.name, keyring)
    if settings.keys_on:
        keyring.start()
    inbox.start()
    counters.start()
    steward.start()
    foreman.start()
    return create_app(
        Collaborators(
            settings,
            cluster,
            relay,
            inbox,
            registry,
            Errands(registry, ask, cluster.forget, lambda: inbox.closed),
            Streams(bus),
            book,
            counters,
            Departure(inbox.close_all),
            Guard(keyring if settings.keys_on else None, keystore.internal_secret),
            Liveness(
                {
                    "inbox": lambda: inbox.turned_at,
                    "counters": lambda: counters.turned_at,
                    "steward": lambda: steward.turned_at,
                }
            ),
            tracing.collector(settings, "api"),
            foreman.stop,
        )
    )


def _foreman(
    settings: Settings, registry: Registry, book: Book, cluster: Cluster, relay: Relay, name: str, keyring: Keyring
) -> Foreman:
    """Whoever runs batches in this process, when it is its turn."""
    archive = Archive.below(settings.home)
    asking = Asking(settings, cluster, registry, arrays_reader(settings, read_arrays))

    def answering() -> Answering:
        return Answering(OPENAI, asking, relay, limits=keyring.limits)

    def begin(held: Held, window: Callable[[], int]) -> Run:
        return Run(held, book, archive, answering(), settings, window)

    def sweep(todo: Collection[str]) -> None:
        batches = [batch for batch_id in todo if (batch := book.find(batch_id)) is not None]
        used = {each for batch in batches for each in batch.files}
        if gone := archive.sweep(used, todo):
            log.info("%d files of batches were over and are gone", gone)

    return Foreman(registry, book, name, begin, cluster.catalogue, sweep)


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

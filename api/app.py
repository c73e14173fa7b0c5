"""The Flask application: every dialect's routes over one generation handler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask, Response, request
from tropilla.api import labels, media, placement
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, streamed, whole
from tropilla.api.inbox import Inbox
from tropilla.api.owners import Owners
from tropilla.api.reading import parse_json
from tropilla.api.relay import ClientGone, Relay
from tropilla.api.surface import Answered, Dialect, Enquiry, Page, Question, Reply, Route, Surface, Surroundings
from tropilla.api.surfaces import DIALECTS
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import (
    GenerationFailed,
    RequestError,
    TropillaError,
    UnknownRoute,
    UnreadableBody,
    WrongMethod,
)
from tropilla.common.generation import Request
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge


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
            method = "GET" if isinstance(route, Page) else "POST"
            view = _answered(dialect, _view(collaborators, dialect, route))
            app.add_url_rule(route.path, f"{method} {route.path}", view, methods=[method])
    owners = Owners(dialects)
    labels.install(app, collaborators.settings, owners)
    app.register_error_handler(HTTPException, _misrouted(owners))
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
        labels.answered_by(dialect)
        try:
            return view(**variables)
        except ClientGone:
            return Response(status=499)
        except RequestEntityTooLarge:
            return respond(dialect.fault(media.too_large(request.max_content_length or 0)))
        except TropillaError as error:
            return respond(dialect.fault(error))

    return answer


def _view(collaborators: Collaborators, dialect: Dialect, route: Route | Enquiry | Page) -> View:
    match route:
        case Route():
            return _generator(collaborators, dialect, route.surface)
        case Enquiry():
            return _enquiry(collaborators, dialect, route)
        case Page():
            return _page(collaborators, route)


def _page(collaborators: Collaborators, page: Page) -> View:
    def view(**variables: str) -> Response:
        return respond(page.answer(_surroundings(collaborators, variables), variables))

    return view


def _generator(collaborators: Collaborators, dialect: Dialect, surface: Surface) -> View:
    def view(**variables: str) -> Response:
        body = parse_json(_body(collaborators.settings, dialect))
        call = surface.parse(body, _surroundings(collaborators, variables))
        if isinstance(call, Reply):
            return respond(call)
        if isinstance(call, Question):
            assert surface.answer is not None, f"{surface.name} asks and cannot answer"
            return _answer(collaborators, call, surface.answer)
        with _blaming(call.prompt_field):
            conversation = _conversation(collaborators, call.request)
            return streamed(surface, call, conversation) if call.stream else whole(surface, call, conversation)

    return view


def _enquiry(collaborators: Collaborators, dialect: Dialect, enquiry: Enquiry) -> View:
    def view(**variables: str) -> Response:
        body = parse_json(_body(collaborators.settings, dialect))
        question = enquiry.parse(body, _surroundings(collaborators, variables))
        if isinstance(question, Reply):
            return respond(question)
        return _answer(collaborators, question, enquiry.answer)

    return view


def _answer(collaborators: Collaborators, question: Question, answer: Answered) -> Response:
    try:
        with _blaming(question.prompt_field):
            events = answers(_conversation(collaborators, question.request))
        return respond(answer(question, events, time.time()))
    except TropillaError as error:
        if question.fault is None:
            raise
        return respond(question.fault(error))


def _body(settings: Settings, dialect: Dialect) -> bytes:
    """The request's body, unpacked. Raises `UnreadableBody` for a content type that the dialect does not read."""
    kind = request.headers.get("Content-Type", "")
    if not dialect.reads(kind):
        raise UnreadableBody(f"Content-Type '{kind}' is not supported. Expected 'application/json'.")
    encoding = request.headers.get("Content-Encoding", "")
    return media.unpacked(request.get_data(cache=False), encoding, settings.max_body_bytes)


@contextmanager
def _blaming(prompt_field: str) -> Iterator[None]:
    """A prompt that the worker refuses is a fault of the field it came from."""
    try:
        yield
    except GenerationFailed as error:
        if error.status < 500:
            error.param = prompt_field
        raise


def _conversation(collaborators: Collaborators, asked: Request) -> Conversation:
    labels.call_request(asked.id)
    lane = placement.lane(collaborators.cluster.catalogue(), asked.model)
    return Conversation(collaborators.relay, collaborators.settings, asked, lane)


def _surroundings(collaborators: Collaborators, variables: Mapping[str, str]) -> Surroundings:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Surroundings(collaborators.cluster.catalogue(), collaborators.settings, time.time(), headers, variables)


def _misrouted(owners: Owners) -> Callable[[HTTPException], Response]:
    """Unknown paths and methods, and whatever else Werkzeug refuses, answer in the dialect that owns the path."""

    def answer(error: HTTPException) -> Response:
        response = error.get_response()
        if response.status_code < 400:
            # A path with doubled slashes is sent to the proper one.
            return response  # type: ignore[return-value]
        response = respond(owners.of(request.path).fault(_misroute(error)))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

    return answer


def _misroute(error: HTTPException) -> TropillaError:
    if isinstance(error, MethodNotAllowed):
        return WrongMethod(request.method, request.path)
    if error.code == 404:
        return UnknownRoute(request.method, request.path)
    if (error.code or 500) >= 500:
        return TropillaError("internal error")
    return RequestError(error.description or error.name)

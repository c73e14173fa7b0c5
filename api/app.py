"""The Flask application: every dialect's routes over one generation handler."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask, Response, g, request
from tropilla.api import placement
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, streamed, whole
from tropilla.api.inbox import Inbox
from tropilla.api.reading import parse_json
from tropilla.api.relay import ClientGone, Relay
from tropilla.api.surface import Answered, Dialect, Enquiry, Page, Question, Reply, Route, Surface, Surroundings
from tropilla.api.surfaces import DIALECTS
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import BodyTooLarge, GenerationFailed, TropillaError, UnknownRoute, WrongMethod
from tropilla.common.generation import Request, new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

log = logging.getLogger(__name__)

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
            method = "GET" if isinstance(route, Page) else "POST"
            view = _answered(dialect, _view(collaborators, route))
            app.add_url_rule(route.path, f"{method} {route.path}", view, methods=[method])
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
            return respond(dialect.fault(_too_large()))
        except TropillaError as error:
            return respond(dialect.fault(error))

    return answer


def _view(collaborators: Collaborators, route: Route | Enquiry | Page) -> View:
    match route:
        case Route():
            return _generator(collaborators, route.surface)
        case Enquiry():
            return _enquiry(collaborators, route)
        case Page():
            return _page(collaborators, route)


def _page(collaborators: Collaborators, page: Page) -> View:
    def view(**variables: str) -> Response:
        return respond(page.answer(_surroundings(collaborators, variables), variables))

    return view


def _generator(collaborators: Collaborators, surface: Surface) -> View:
    def view(**variables: str) -> Response:
        body = parse_json(request.get_data(cache=False))
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


def _enquiry(collaborators: Collaborators, enquiry: Enquiry) -> View:
    def view(**variables: str) -> Response:
        body = parse_json(request.get_data(cache=False))
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
    g.request_id = g.request_id or asked.id
    lane = placement.lane(collaborators.cluster.catalogue(), asked.model)
    return Conversation(collaborators.relay, collaborators.settings, asked, lane)


def _surroundings(collaborators: Collaborators, variables: Mapping[str, str]) -> Surroundings:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Surroundings(collaborators.cluster.catalogue(), collaborators.settings, time.time(), headers, variables)


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else ""


def _label_response(response: Response) -> Response:
    name = getattr(g, "request_id", "") or new_request_id()
    # Anthropic's clients read the second.
    response.headers["x-request-id"] = response.headers["request-id"] = name
    return response


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {request.max_content_length} bytes")


def _misrouted(dialects: tuple[Dialect, ...]) -> Callable[[HTTPException], Response]:
    """Unknown paths and methods answer in the dialect that owns the path."""
    owned = sorted(((prefix, dialect) for dialect in dialects for prefix in dialect.prefixes), key=lambda o: -len(o[0]))

    def answer(error: HTTPException) -> Response:
        dialect = next(owner for prefix, owner in owned if _below(request.path, prefix))
        if isinstance(error, MethodNotAllowed):
            response = respond(dialect.fault(WrongMethod(request.method, request.path)))
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        if error.code == 404:
            return respond(dialect.fault(UnknownRoute(request.method, request.path)))
        if error.code == 500:
            return respond(dialect.fault(TropillaError("internal error")))
        return error.get_response()  # type: ignore[return-value]

    return answer


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")

"""The Flask application: every dialect's routes over one generation handler."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from flask import Flask, Response, g, request
from tropilla.api import placement
from tropilla.api.account import Account, Ledger
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, streamed, together, whole
from tropilla.api.counters import Counters
from tropilla.api.inbox import Inbox
from tropilla.api.misrouted import misrouted
from tropilla.api.reading import parse_json
from tropilla.api.relay import ClientGone, Relay
from tropilla.api.surface import (
    AnyRoute,
    Batch,
    Call,
    Dialect,
    Enquiry,
    Page,
    Reply,
    Report,
    Route,
    Surface,
    Surroundings,
)
from tropilla.api.surfaces import DIALECTS
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import BodyTooLarge, GenerationFailed, TropillaError
from tropilla.common.generation import Request, new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

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
    counters: Counters = field(default_factory=Counters)


def create_app(collaborators: Collaborators, dialects: tuple[Dialect, ...] = DIALECTS) -> Flask:
    """The WSGI application."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = collaborators.settings.max_body_bytes
    app.extensions["tropilla"] = collaborators
    ledger = Ledger(collaborators.counters.tally, collaborators.settings.max_concurrent_requests)
    for dialect in dialects:
        for route in dialect.routes:
            method = "GET" if isinstance(route, Page | Report) else "POST"
            view = _answered(dialect, collaborators.settings, _view(collaborators, ledger, route))
            app.add_url_rule(route.path, f"{method} {route.path}", view, methods=[method])
    app.before_request(_name_request)
    app.after_request(_label_response)
    app.register_error_handler(HTTPException, misrouted(dialects))
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
    counters = Counters(bus)
    inbox.start()
    counters.start()
    return create_app(Collaborators(settings, cluster, relay, inbox, counters))


View = Callable[..., Response]


def _answered(dialect: Dialect, settings: Settings, view: View) -> View:
    """Whatever goes wrong in the view leaves in the dialect's own words."""

    def refuse(error: TropillaError) -> Response:
        reply = dialect.fault(error)
        return respond(replace(reply, status=dialect.refused_status(settings)) if reply.status == 400 else reply)

    def answer(**variables: str) -> Response:
        try:
            if request.method == "POST":
                dialect.check_media(request.content_type or "")
            return view(**variables)
        except ClientGone:
            return Response(status=499)
        except RequestEntityTooLarge:
            return refuse(_too_large())
        except TropillaError as error:
            return refuse(error)

    return answer


def _view(collaborators: Collaborators, ledger: Ledger, route: AnyRoute) -> View:
    match route:
        case Route():
            return _generator(collaborators, ledger, route.surface)
        case Enquiry():
            return _enquiry(collaborators, route)
        case Batch():
            return _batch(collaborators, ledger, route)
        case Report():
            return _report(collaborators, route)
        case Page():
            return _page(collaborators, route)


def _page(collaborators: Collaborators, page: Page) -> View:
    def view(**variables: str) -> Response:
        return respond(page.answer(_surroundings(collaborators, variables), variables))

    return view


def _report(collaborators: Collaborators, report: Report) -> View:
    def view(**variables: str) -> Response:
        surroundings = _surroundings(collaborators, variables)
        return respond(report.answer(surroundings, collaborators.counters.read(surroundings.catalogue)))

    return view


def _generator(collaborators: Collaborators, ledger: Ledger, surface: Surface) -> View:
    def view(**variables: str) -> Response:
        data = request.get_data(cache=False)
        with ledger.open() as account:
            call = surface.parse(parse_json(data), _surroundings(collaborators, variables))
            if isinstance(call, Reply):
                return respond(call)
            call, conversation = _begun(collaborators, account, call)
            with _blaming(call.prompt_field):
                return streamed(surface, call, conversation) if call.stream else whole(surface, call, conversation)

    return view


def _batch(collaborators: Collaborators, ledger: Ledger, batch: Batch) -> View:
    def view(**variables: str) -> Response:
        data = request.get_data(cache=False)
        with ExitStack() as accounts:
            first = accounts.enter_context(ledger.open())
            calls = batch.parse(parse_json(data), _surroundings(collaborators, variables))
            opened = [first, *(accounts.enter_context(ledger.open()) for _ in calls[1:])]
            begun = [_begun(collaborators, account, call) for account, call in zip(opened, calls, strict=True)]
            with _blaming(calls[0].prompt_field):
                completions = together([conversation for _, conversation in begun])
            return respond(batch.answer(tuple(call for call, _ in begun), completions, time.time()))

    return view


def _enquiry(collaborators: Collaborators, enquiry: Enquiry) -> View:
    def view(**variables: str) -> Response:
        body = parse_json(request.get_data(cache=False))
        question = enquiry.parse(body, _surroundings(collaborators, variables))
        if isinstance(question, Reply):
            return respond(question)
        with _blaming(question.prompt_field):
            answered = answers(_conversation(collaborators, question.request))
            return respond(enquiry.answer(question, answered, time.time()))

    return view


@contextmanager
def _blaming(prompt_field: str) -> Iterator[None]:
    """A prompt that the worker refuses is a fault of the field it came from."""
    try:
        yield
    except GenerationFailed as error:
        if error.status < 500:
            error.param = prompt_field
        raise


def _begun(collaborators: Collaborators, account: Account, call: Call) -> tuple[Call, Conversation]:
    """The call, with the time at which it left for the queue, and its conversation, of which nothing is asked yet."""
    call = replace(call, queued=time.time())
    model = collaborators.cluster.catalogue().find(call.request.model)
    account.understood(call, model.context_length if model else 0)
    return call, _conversation(collaborators, call.request, account)


def _conversation(collaborators: Collaborators, asked: Request, account: Account | None = None) -> Conversation:
    g.request_id = g.request_id or asked.id
    lane = placement.lane(collaborators.cluster.catalogue(), asked.model)
    return Conversation(collaborators.relay, collaborators.settings, asked, lane, account)


def _surroundings(collaborators: Collaborators, variables: Mapping[str, str]) -> Surroundings:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Surroundings(collaborators.cluster.catalogue(), collaborators.settings, time.time(), headers, variables)


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else ""


def _label_response(response: Response) -> Response:
    response.headers["x-request-id"] = getattr(g, "request_id", "") or new_request_id()
    return response


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {request.max_content_length} bytes")

"""A handler for each kind of route: what Flask calls when a request has found its way there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from flask import Response, request
from tropilla.api import chores, labels, media, models, placement
from tropilla.api.account import Account, Ledger
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, streamed, together, whole
from tropilla.api.counters import Counters
from tropilla.api.relay import Relay
from tropilla.api.surface import (
    JSON,
    Answered,
    AnyRoute,
    Batch,
    Call,
    Chore,
    Dialect,
    Dismissal,
    Enquiry,
    ErrandCall,
    Page,
    Question,
    Reply,
    Report,
    Route,
    Surface,
    Surroundings,
)
from tropilla.common.errors import GenerationFailed, TropillaError, UnreadableBody
from tropilla.common.generation import Request
from tropilla.common.orders import Order
from tropilla.common.settings import Settings

View = Callable[..., Response]


class Book(Protocol):
    """What is needed of `registry.Registry`."""

    def order(self, worker: str, order: Order) -> bool: ...
    def information(self, digest: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Views:
    """What the handlers need."""

    settings: Settings
    cluster: Cluster
    relay: Relay
    counters: Counters
    ledger: Ledger
    registry: Book
    errands: Errands
    #: As `Surroundings.arrays`.
    arrays: Callable[[str], Mapping[str, JSON]]

    def of(self, dialect: Dialect, route: AnyRoute) -> View:
        match route:
            case Route():
                return self._generator(dialect, route.surface)
            case Enquiry():
                return self._enquiry(dialect, route)
            case Batch():
                return self._batch(dialect, route)
            case Chore():
                return self._chore(dialect, route)
            case Report():
                return self._report(route)
            case Page():
                return self._page(route)

    def _page(self, page: Page) -> View:
        def view(**variables: str) -> Response:
            if page.fresh:
                self.cluster.forget()
            return respond(page.answer(self._surroundings(variables), variables))

        return view

    def _report(self, report: Report) -> View:
        def view(**variables: str) -> Response:
            surroundings = self._surroundings(variables)
            return respond(report.answer(surroundings, self.counters.read(surroundings.catalogue)))

        return view

    def _generator(self, dialect: Dialect, surface: Surface) -> View:
        def view(**variables: str) -> Response:
            data = self._data(dialect)
            with self.ledger.open() as account:
                call = surface.parse(self._body(dialect, data), self._surroundings(variables))
                if isinstance(call, Reply):
                    return respond(call)
                if isinstance(call, Dismissal):
                    return self._dismiss(call)
                if isinstance(call, Question):
                    assert surface.answer is not None, f"{surface.name} asks and cannot answer"
                    return self._answer(call, surface.answer)
                call, conversation = self._begun(account, call)
                with _blaming(call.prompt_field):
                    return streamed(surface, call, conversation) if call.stream else whole(surface, call, conversation)

        return view

    def _batch(self, dialect: Dialect, batch: Batch) -> View:
        def view(**variables: str) -> Response:
            data = self._data(dialect)
            with ExitStack() as accounts:
                first = accounts.enter_context(self.ledger.open())
                calls = batch.parse(self._body(dialect, data), self._surroundings(variables))
                opened = [first, *(accounts.enter_context(self.ledger.open()) for _ in calls[1:])]
                begun = [self._begun(account, call) for account, call in zip(opened, calls, strict=True)]
                with _blaming(calls[0].prompt_field):
                    completions = together([conversation for _, conversation in begun])
                return respond(batch.answer(tuple(call for call, _ in begun), completions, time.time()))

        return view

    def _enquiry(self, dialect: Dialect, enquiry: Enquiry) -> View:
        def view(**variables: str) -> Response:
            question = enquiry.parse(self._body(dialect, self._data(dialect)), self._surroundings(variables))
            if isinstance(question, Dismissal):
                return self._dismiss(question)
            return respond(question) if isinstance(question, Reply) else self._answer(question, enquiry.answer)

        return view

    def _chore(self, dialect: Dialect, chore: Chore) -> View:
        def view(**variables: str) -> Response:
            data = self._data(dialect)
            body = None if chore.bodiless and not data.strip() else self._body(dialect, data)
            call = chore.parse(body, self._surroundings(variables))
            match call:
                case Reply():
                    return respond(call)
                case Dismissal():
                    return self._dismiss(call)
                case ErrandCall():
                    return chores.answer(self.errands, chore, call)

        return view

    def _dismiss(self, dismissal: Dismissal) -> Response:
        for worker in self.cluster.catalogue().workers:
            if worker.pin == dismissal.pin and worker.state in ("loading", "ready"):
                self.registry.order(worker.name, Order(None))
        return respond(dismissal.reply)

    def _answer(self, question: Question, answer: Answered) -> Response:
        try:
            with _blaming(question.prompt_field):
                events = answers(self._conversation(question.request))
            return respond(answer(question, events, time.time()))
        except TropillaError as error:
            if question.fault is None:
                raise
            return respond(question.fault(error))

    def _data(self, dialect: Dialect) -> bytes:
        """The request's body as it came. Raises `UnreadableBody` for a content type that the dialect does not read."""
        kind = request.headers.get("Content-Type", "")
        if not dialect.reads(kind):
            raise UnreadableBody(f"Content-Type '{kind}' is not supported. Expected 'application/json'.")
        return request.get_data(cache=False)

    def _body(self, dialect: Dialect, data: bytes) -> JSON:
        encoding = request.headers.get("Content-Encoding", "")
        return dialect.value(media.unpacked(data, encoding, self.settings.max_body_bytes))

    def _begun(self, account: Account, call: Call) -> tuple[Call, Conversation]:
        """The call, with the time at which it left for the queue, and its conversation, of which nothing is asked yet."""
        call = replace(call, queued=time.time())
        model = self.cluster.catalogue().find(call.request.model)
        account.understood(call, model.context_length if model else 0)
        return call, self._conversation(models.adapted(call.request, model) if model else call.request, account)

    def _conversation(self, asked: Request, account: Account | None = None) -> Conversation:
        labels.call_request(asked.id)
        cluster, spill_backlog = self.cluster, self.settings.spill_backlog
        lane = placement.lane(cluster.catalogue(), asked.model, cluster.backlog, spill_backlog)
        return Conversation(self.relay, self.settings, asked, lane, account)

    def _surroundings(self, variables: Mapping[str, str]) -> Surroundings:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Surroundings(
            self.cluster.catalogue(),
            self.settings,
            time.time(),
            headers,
            variables,
            request.args.to_dict(),
            self.registry.information,
            self.arrays,
        )


@contextmanager
def _blaming(prompt_field: str) -> Iterator[None]:
    """A prompt that the worker refuses is a fault of the field it came from."""
    try:
        yield
    except GenerationFailed as error:
        if error.status < 500:
            error.param = prompt_field
        raise

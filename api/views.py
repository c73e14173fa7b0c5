"""A handler for each kind of route: what Flask calls when a request has found its way there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Protocol

from flask import Response
from tropilla.api import chores, labels, listening, models, placement, streams
from tropilla.api.account import Account, Ledger
from tropilla.api.asking import Asking, blaming
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, streamed, together, whole
from tropilla.api.counters import Counters
from tropilla.api.relay import Relay
from tropilla.api.streams import Streams
from tropilla.api.surface import (
    Answered,
    AnyRoute,
    Batch,
    Call,
    Chore,
    Dialect,
    Dismissal,
    Enquiry,
    ErrandCall,
    ErrandRefused,
    Listening,
    Page,
    Question,
    Reply,
    Report,
    Resumption,
    Route,
    Stopping,
    Surface,
    Surroundings,
)
from tropilla.api.watch import ClientGone
from tropilla.common.errands import Refused
from tropilla.common.errors import TropillaError, UnknownStream
from tropilla.common.generation import Request
from tropilla.common.orders import Order
from tropilla.common.recipes import UNPOLISHED
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Terms

View = Callable[..., Response]


class Orders(Protocol):
    """What is needed of `registry.Registry`."""

    def order(self, worker: str, order: Order) -> bool: ...


@dataclass(frozen=True, slots=True)
class Views:
    """What the handlers need."""

    settings: Settings
    cluster: Cluster
    relay: Relay
    counters: Counters
    ledger: Ledger
    registry: Orders
    asking: Asking
    errands: Errands
    streams: Streams
    #: Those of the routes seen so far, by their rules.
    surfaces: dict[str, tuple[Dialect, Surface]] = field(default_factory=dict)

    def of(self, dialect: Dialect, route: AnyRoute) -> View:
        match route:
            case Route():
                self.surfaces[route.path] = dialect, route.surface
                return self._generator(dialect, route)
            case Resumption():
                return self._resumption(route)
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
            return respond(page.answer(self.asking.around(variables, fresh=True), variables))

        return view

    def _report(self, report: Report) -> View:
        def view(**variables: str) -> Response:
            surroundings = self.asking.around(variables)
            return respond(report.answer(surroundings, self.counters.read(surroundings.catalogue)))

        return view

    def _resumption(self, _: Resumption) -> View:
        def view(**variables: str) -> Response:
            around = self.asking.around(variables)
            return self._resumed(variables["id"], streams.heard(around.query), around)

        return view

    def _resumed(self, request_id: str, heard: int, around: Surroundings) -> Response:
        kept = self.streams.find(request_id)
        if kept.route not in self.surfaces:
            raise UnknownStream(request_id)
        dialect, surface = self.surfaces[kept.route]
        labels.answered_by(dialect)
        try:
            call = streams.again(surface, kept, around)
            conversation = self._conversation(call.request, NO_TERMS, resumed=True)
            with blaming(call.prompt_field):
                return streamed(surface, call, conversation, heard)
        except TropillaError as error:
            return respond(dialect.fault(error))

    def _generator(self, dialect: Dialect, route: Route) -> View:
        surface = route.surface

        def view(**variables: str) -> Response:
            data = self.asking.data(dialect)
            around = self.asking.around(variables)
            if (last := streams.placed(around.headers.get("last-event-id", ""))) is not None:
                return self._resumed(*last, around)
            with self.ledger.open() as account:
                body = self.asking.body(dialect, data)
                call = self.asking.understood(surface.parse, body, around)
                if isinstance(call, Reply):
                    return respond(call)
                if isinstance(call, Dismissal):
                    return self._dismiss(call)
                if isinstance(call, Question):
                    assert surface.answer is not None, f"{surface.name} asks and cannot answer"
                    return self._answer(call, surface.answer)
                call, conversation = self._begun(account, call)
                if call.stream:
                    self.streams.keep(route.path, body, around, call)
                with blaming(call.prompt_field):
                    return streamed(surface, call, conversation) if call.stream else whole(surface, call, conversation)

        return view

    def _batch(self, dialect: Dialect, batch: Batch) -> View:
        def view(**variables: str) -> Response:
            data = self.asking.data(dialect)
            with ExitStack() as accounts:
                first = accounts.enter_context(self.ledger.open())
                calls = self.asking.understood(
                    batch.parse, self.asking.body(dialect, data), self.asking.around(variables)
                )
                opened = [first, *(accounts.enter_context(self.ledger.open()) for _ in calls[1:])]
                begun = [self._begun(account, call) for account, call in zip(opened, calls, strict=True)]
                with blaming(calls[0].prompt_field):
                    completions = together([conversation for _, conversation in begun])
                return respond(batch.answer(tuple(call for call, _ in begun), completions, time.time()))

        return view

    def _enquiry(self, dialect: Dialect, enquiry: Enquiry) -> View:
        def view(**variables: str) -> Response:
            data = self.asking.data(dialect)
            body = None if enquiry.bodiless and not data.strip() else self.asking.body(dialect, data)
            question = self.asking.understood(enquiry.parse, body, self.asking.around(variables))
            if isinstance(question, Dismissal):
                return self._dismiss(question)
            return respond(question) if isinstance(question, Reply) else self._answer(question, enquiry.answer)

        return view

    def _chore(self, dialect: Dialect, chore: Chore) -> View:
        def view(**variables: str) -> Response:
            data = self.asking.data(dialect)
            body = None if chore.bodiless and not data.strip() else self.asking.body(dialect, data)
            call = chore.parse(body, self.asking.around(variables, fresh=True))
            match call:
                case Reply():
                    return respond(call)
                case Dismissal():
                    return self._dismiss(call)
                case ErrandCall():
                    return chores.answer(self.errands, chore, call)
                case Listening():
                    return listening.listen(self.errands, chore.framing, call)
                case Stopping():
                    self.errands.stop(call.errand_id)
                    return respond(call.reply)

        return view

    def _dismiss(self, dismissal: Dismissal) -> Response:
        for worker in self.cluster.catalogue().workers:
            if worker.pin == dismissal.pin and worker.state in ("loading", "ready"):
                self.registry.order(worker.name, Order(None))
        return respond(dismissal.reply)

    def _answer(self, question: Question, answer: Answered) -> Response:
        terms = self.asking.terms(question.request)
        if question.first is not None:
            self._prepare(question.first)
        if question.reply is not None:
            self._conversation(question.request, terms).run()
            return respond(question.reply)
        try:
            with blaming(question.prompt_field):
                events = answers(self._conversation(question.request, terms))
            return respond(answer(question, events, time.time()))
        except TropillaError as error:
            if question.fault is None:
                raise
            return respond(question.fault(error))

    def _prepare(self, call: ErrandCall) -> None:
        """Raises what the store refuses it with, or `ClientGone`."""
        last = listening.done(self.errands, call)
        if last is None:
            raise ClientGone
        if isinstance(last, Refused):
            raise ErrandRefused(last)

    def _begun(self, account: Account, call: Call) -> tuple[Call, Conversation]:
        """The call, with the time at which it left for the queue, and its conversation, of which nothing is asked yet."""
        model = self.cluster.catalogue().find(call.request.model)
        asked = models.adapted(call.request, model) if model else call.request
        call = replace(call, request=asked, queued=time.time())
        account.understood(call, model.context_length if model else 0)
        conversation = self._conversation(asked, self.asking.terms(asked, call.priority), account)
        conversation.polish = model.overlay.polish if model else UNPOLISHED
        return call, conversation

    def _conversation(
        self, asked: Request, terms: Terms, account: Account | None = None, *, resumed: bool = False
    ) -> Conversation:
        labels.call_request(asked.id)
        cluster, spill_backlog = self.cluster, self.settings.spill_backlog
        lane = placement.lane(cluster.catalogue(), asked.model, cluster.backlog, spill_backlog)
        return Conversation(self.relay, self.settings, asked, lane, terms, account, resumed=resumed)

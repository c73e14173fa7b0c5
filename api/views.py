"""A handler for each kind of route: what Flask calls when a request has found its way there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from flask import Response
from tropilla.api import auth, idempotency, labels, listening, models, placement, streams
from tropilla.api.account import Account, Ledger
from tropilla.api.asking import Asking, Body, blaming
from tropilla.api.batches.clerk import Clerk
from tropilla.api.changes import Changes, Orders
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import Conversation, answers, respond, together, whole
from tropilla.api.counters import Counters
from tropilla.api.idempotency import Asked
from tropilla.api.relay import Relay
from tropilla.api.replays import once
from tropilla.api.streaming import streamed
from tropilla.api.streams import Streams
from tropilla.api.surface import (
    Answered,
    AnyRoute,
    Batch,
    Call,
    Chore,
    Desk,
    Dialect,
    Dismissal,
    Enquiry,
    Page,
    Question,
    Reply,
    Report,
    Resumption,
    Route,
    Surface,
    Surroundings,
)
from tropilla.common.errors import TropillaError, UnknownStream
from tropilla.common.generation import Request
from tropilla.common.keys import ADMIN
from tropilla.common.recipes import UNPOLISHED, Polish
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Terms

View = Callable[..., Response]


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
    clerk: Clerk
    #: Those of the routes seen so far, by their rules.
    surfaces: dict[str, tuple[Dialect, Surface]] = field(default_factory=dict)

    @property
    def _changes(self) -> Changes:
        return Changes(self.asking, self.cluster, self.registry, self.errands)

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
                return self._changes.view(dialect, route)
            case Report():
                return self._report(route)
            case Page():
                return self._page(route)
            case Desk():
                return self.clerk.of(dialect, route)

    def _page(self, page: Page) -> View:
        def view(**variables: str) -> Response:
            if page.alone:
                return respond(page.answer(self.asking.within(variables), variables))
            around = self.asking.around(variables, fresh=True, alone=page.vital)
            return respond(page.answer(around, variables))

        return view

    def _report(self, report: Report) -> View:
        def view(**variables: str) -> Response:
            return respond(report.answer(self.asking.around(variables), self.counters.read()))

        return view

    def _resumption(self, _: Resumption) -> View:
        def view(**variables: str) -> Response:
            around = self.asking.around(variables)
            return self._resumed(variables["id"], streams.heard(around.query), around)

        return view

    def _resumed(self, request_id: str, heard: int, around: Surroundings) -> Response:
        kept = self.streams.find(request_id, around.principal)
        if kept.route not in self.surfaces:
            raise UnknownStream(request_id)
        dialect, surface = self.surfaces[kept.route]
        labels.answered_by(dialect)
        try:
            call = streams.again(surface.parse, kept, around)
            if not isinstance(call, Call) or not call.stream:
                raise UnknownStream(request_id)
            conversation = self._conversation(call.request, NO_TERMS, resumed=True, places=surface.framing.comments)
            with blaming(call.prompt_field):
                return streamed(surface, call, conversation, heard)
        except TropillaError as error:
            labels.entry().fail(error)
            return respond(dialect.fault(error))

    def _generator(self, dialect: Dialect, route: Route) -> View:
        surface = route.surface

        def view(**variables: str) -> Response:
            with ExitStack() as accounts:
                match self._heard(dialect, route, variables, accounts):
                    case Account() as account, Call() as call, asked:
                        return self._generated(surface, call, account, asked)
                    case _, Question() as question, asked:
                        assert surface.answer is not None, f"{surface.name} asks and cannot answer"
                        return self._answer(question, surface.answer, asked)
                    case response:
                        return response

        return view

    def _heard(
        self, dialect: Dialect, route: Route, variables: Mapping[str, str], accounts: ExitStack
    ) -> tuple[Account, Call | Question, Asked] | Response:
        """What is asked for, with its images where workers look, or what is answered at once. A body with images
        is forgotten when this returns: it is no part of what waits.
        """
        with self.asking.pictured(dialect) as data:
            around = self.asking.around(variables)
            if (last := streams.placed(around.headers.get("last-event-id", ""))) is not None:
                return self._resumed(*last, around)
            account = accounts.enter_context(self.ledger.open())
            body = self.asking.body(dialect, data, pictured=True)
            asked = self.asking.asked(route.path, route.surface.parse, body, around)
            call = self.asking.understood(route.surface.parse, asked.body, around)
            if isinstance(call, Reply):
                return respond(call)
            if isinstance(call, Dismissal):
                auth.demand(ADMIN)
                return self._changes.dismiss(call)
            if isinstance(call, Question):
                return account, *self.asking.shown(call, asked)
            return account, *self.asking.shown(call, asked)

    def _generated(self, surface: Surface, call: Call, account: Account, asked: Asked) -> Response:
        def tell(call: Call, conversation: Conversation) -> Response:
            with blaming(call.prompt_field):
                return streamed(surface, call, conversation) if call.stream else whole(surface, call, conversation)

        places = call.stream and surface.framing.comments

        def join(before: Call | Question) -> Response:
            assert isinstance(before, Call), "it is the same body"
            account.join()
            conversation = self._conversation(before.request, NO_TERMS, account, resumed=True, places=places)
            conversation.polish = self._polish(before.request)
            return tell(before, conversation)

        return once(self.streams, asked, lambda: tell(*self._begun(account, call, asked, places=places)), join)

    def _batch(self, dialect: Dialect, batch: Batch) -> View:
        def view(**variables: str) -> Response:
            with ExitStack() as accounts:
                calls = self._heard_at_once(dialect, batch, variables, accounts)
                begun = [self._begun(account, call) for account, call in calls]
                with blaming(calls[0][1].prompt_field):
                    completions = together([conversation for _, conversation in begun])
                return respond(batch.answer(tuple(call for call, _ in begun), completions, time.time()))

        return view

    def _heard_at_once(
        self, dialect: Dialect, batch: Batch, variables: Mapping[str, str], accounts: ExitStack
    ) -> list[tuple[Account, Call]]:
        """As `_heard`, of a body that asks for several."""
        with self.asking.pictured(dialect) as data:
            first = accounts.enter_context(self.ledger.open())
            around = self.asking.around(variables)
            idempotency.refuse(around.headers)
            body = self.asking.body(dialect, data, pictured=True)
            asked = self.asking.asked(batch.path, batch.parse, body, around)
            calls = self.asking.understood(batch.parse, body.value, around)
            calls, _ = self.asking.all_shown(calls, asked)
            opened = [first, *(accounts.enter_context(self.ledger.open()) for _ in calls[1:])]
            return list(zip(opened, calls, strict=True))

    def _enquiry(self, dialect: Dialect, enquiry: Enquiry) -> View:
        def heard(variables: Mapping[str, str]) -> tuple[Question, Asked] | Response:
            with self.asking.pictured(dialect) as data:
                absent = enquiry.bodiless and not data.strip()
                body = Body(None) if absent else self.asking.body(dialect, data, pictured=True)
                asked = self.asking.asked(enquiry.path, enquiry.parse, body, self.asking.around(variables))
                question = self.asking.understood(enquiry.parse, body.value, asked.around)
                if isinstance(question, Dismissal):
                    auth.demand(ADMIN)
                    return self._changes.dismiss(question)
                return respond(question) if isinstance(question, Reply) else self.asking.shown(question, asked)

        def view(**variables: str) -> Response:
            found = heard(variables)
            return found if isinstance(found, Response) else self._answer(found[0], enquiry.answer, found[1])

        return view

    def _answer(self, question: Question, answer: Answered, asked: Asked) -> Response:
        terms = idempotency.named(self.asking.terms(question.request), question.request, asked)
        if question.first is not None:
            listening.prepare(self.errands, question.first)
        if question.reply is not None:
            self._conversation(question.request, terms).run()
            return respond(question.reply)

        def tell(question: Call | Question, conversation: Conversation) -> Response:
            assert isinstance(question, Question), "it is the same body"
            with blaming(question.prompt_field):
                events = answers(conversation)
            return respond(answer(question, events, time.time()))

        def begin() -> Response:
            kept = streams.keep(asked, question) if terms.digest else b""
            return tell(question, self._conversation(question.request, terms, kept=kept))

        def join(before: Call | Question) -> Response:
            return tell(before, self._conversation(before.request, NO_TERMS, resumed=True))

        try:
            return once(self.streams, asked, begin, join)
        except TropillaError as error:
            if question.fault is None:
                raise
            labels.entry().fail(error)
            return respond(question.fault(error))

    def _begun(
        self, account: Account, call: Call, asked: Asked | None = None, *, places: bool = False
    ) -> tuple[Call, Conversation]:
        """The call, with the time at which it left for the queue, and its conversation, of which nothing is asked yet.

        asked: None where the call is one of several in a body.
        """
        model = self.cluster.catalogue().find(call.request.model)
        request = models.adapted(call.request, model) if model else call.request
        call = replace(call, request=request, queued=time.time())
        account.understood(call, model.context_length if model else 0)
        terms = idempotency.named(self.asking.terms(request, call.priority), request, asked)
        kept = streams.keep(asked, call) if asked and (call.stream or terms.digest) else b""
        conversation = self._conversation(request, terms, account, kept=kept, resumable=call.stream, places=places)
        conversation.polish = self._polish(request)
        return call, conversation

    def _polish(self, request: Request) -> Polish:
        model = self.cluster.catalogue().find(request.model)
        return model.overlay.polish if model else UNPOLISHED

    def _conversation(
        self,
        asked: Request,
        terms: Terms,
        account: Account | None = None,
        *,
        kept: bytes = b"",
        resumed: bool = False,
        resumable: bool = False,
        places: bool = False,
    ) -> Conversation:
        (labels.call_joined if resumed else labels.call_request)(asked)
        if not resumed:
            self.cluster.weigh(self.settings.redis_full_percent)
        cluster, spill_backlog = self.cluster, self.settings.spill_backlog
        lane = placement.lane(cluster.catalogue(), asked.model, cluster.backlog, spill_backlog)
        return Conversation(
            self.relay,
            self.settings,
            asked,
            lane,
            terms,
            account,
            kept=kept,
            resumed=resumed,
            resumable=resumable,
            places=places,
            entry=labels.entry(),
        )

"""What a line asks, and how its answer looks: by the `parse`, `whole` and `answer` of the very route that it names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from tropilla.api import models, overlays
from tropilla.api.asking import Asking, Body, blaming
from tropilla.api.batches.records import Tokens
from tropilla.api.surface import Call, Dialect, Dismissal, Enquiry, Fold, Question, Reply, Route
from tropilla.common.errors import InvalidField, TropillaError
from tropilla.common.generation import Embedded, Event, Request
from tropilla.common.keys import Principal
from tropilla.common.recipes import UNPOLISHED


@dataclass(frozen=True, slots=True)
class Told:
    """A line's answer, whatever its status, and what it took."""

    reply: Reply
    tokens: Tokens = field(default_factory=Tokens)


@dataclass(frozen=True, slots=True)
class Understood:
    """What is asked of a model; `tell` makes an answer of its events, and raises what they failed with."""

    request: Request
    tell: Callable[[Iterable[Event]], Told]


class Rendering:
    """The routes of one dialect, for bodies that come by no HTTP request."""

    def __init__(self, dialect: Dialect, asking: Asking, clock: Callable[[], float] = time.time) -> None:
        self._routes = {route.path: route for route in dialect.routes if isinstance(route, Route | Enquiry)}
        self._dialect, self._asking, self._clock = dialect, asking, clock

    def understood(self, endpoint: str, body: Body, request_id: str, key: str = "") -> Understood | Told:
        """key: on whose account its images are laid down. Raises `RequestError`s, as over HTTP, `Overloaded` and
        `StoreUnavailable`.
        """
        route = self._routes[endpoint]
        parse = route.surface.parse if isinstance(route, Route) else route.parse
        around = replace(self._asking.unasked(), principal=Principal(key))
        asked = self._asking.asked(endpoint, parse, body, around)
        call = self._asking.understood(parse, body.value, asked.around)
        match call:
            case Reply():
                return Told(call)
            case Call():
                assert isinstance(route, Route)
                call, _ = self._asking.shown(call, asked)
                return self._generation(route, call, request_id)
            case Question():
                assert isinstance(route, Enquiry), f"{endpoint} asks and cannot answer"
                question, _ = self._asking.shown(call, asked)
                return self._question(route, question, request_id)
            case Dismissal():
                raise AssertionError(f"{endpoint} lets go of models")

    def fault(self, error: TropillaError) -> Told:
        reply = self._dialect.fault(error)
        status = self._dialect.refused_status(self._asking.settings) if reply.status == 400 else reply.status
        return Told(replace(reply, status=status))

    def _generation(self, route: Route, call: Call, request_id: str) -> Understood:
        if call.stream:
            raise InvalidField("Invalid 'stream': an answer in a batch is not streamed.", param="stream")
        model = self._asking.cluster.catalogue().find(call.request.model)
        request = models.adapted(call.request, model) if model else call.request
        asked = replace(call, request=replace(request, id=request_id), queued=self._clock())

        def tell(events: Iterable[Event]) -> Told:
            fold = Fold(asked.request.choices)
            with blaming(asked.prompt_field):
                for event in events:
                    fold.feed(event)
            completion = fold.completion()
            polished = overlays.polished(completion, model.overlay.polish if model else UNPOLISHED)
            usages = (choice.finished.usage for choice in completion.choices)
            tokens = (Tokens(each.prompt, each.cached, each.generated, each.reasoning) for each in usages)
            return Told(route.surface.whole(asked, polished, self._clock()), sum(tokens, Tokens()))

        return Understood(asked.request, tell)

    def _question(self, route: Enquiry, question: Question, request_id: str) -> Understood:
        asked = replace(question, request=replace(question.request, id=request_id))

        def tell(events: Iterable[Event]) -> Told:
            with blaming(asked.prompt_field):
                found = {event.choice: event for event in events if isinstance(event, Embedded)}
            vectors = tuple(found[choice] for choice in sorted(found))
            tokens = Tokens(prompt=sum(vector.tokens for vector in vectors))
            return Told(route.answer(asked, vectors, self._clock()), tokens)

        return Understood(asked.request, tell)

"""The handlers of what changes models: errands of the store, and models that are to go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flask import Response, request
from tropilla.api import chores, cors, listening
from tropilla.api.asking import Asking
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.conversation import respond
from tropilla.api.surface import Chore, Dialect, Dismissal, ErrandCall, Listening, Reply, Stopping
from tropilla.common.errors import ForbiddenOrigin
from tropilla.common.keys import ADMIN
from tropilla.common.orders import Order


class Orders(Protocol):
    """What is needed of `registry.Registry`."""

    def order(self, worker: str, order: Order) -> bool: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What the handlers need."""

    asking: Asking
    cluster: Cluster
    registry: Orders
    errands: Errands

    def view(self, dialect: Dialect, chore: Chore) -> Callable[..., Response]:
        def view(**variables: str) -> Response:
            said = request.headers
            if chore.scopes == ADMIN and cors.from_elsewhere(said.get("Origin", ""), said.get("Sec-Fetch-Site", "")):
                raise ForbiddenOrigin("another server")
            data = self.asking.data(dialect)
            body = None if chore.bodiless and not data.strip() else self.asking.body(dialect, data).value
            call = chore.parse(body, self.asking.around(variables, fresh=True))
            match call:
                case Reply():
                    return respond(call)
                case Dismissal():
                    return self.dismiss(call)
                case ErrandCall():
                    return chores.answer(self.errands, chore, call)
                case Listening():
                    return listening.listen(self.errands, chore.framing, call)
                case Stopping():
                    self.errands.stop(call.errand_id)
                    return respond(call.reply)

        return view

    def dismiss(self, dismissal: Dismissal) -> Response:
        for worker in self.cluster.catalogue().workers:
            if worker.pin == dismissal.pin and worker.state in ("loading", "ready"):
                self.registry.order(worker.name, Order(None))
        return respond(dismissal.reply)

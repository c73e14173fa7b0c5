"""Every TGI route over the real application: the bare ones, and those below the root of a model (sheet, sections 1, 11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import Clock, FakeAnnouncements, FakeInbox, FakeStore
from flask.testing import FlaskClient
from scene import POCKET
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.common.catalogue import Lane, Model, Worker
from tropilla.common.generation import Finished, GenerationRequest, Request, Timings, Token, Usage
from tropilla.common.settings import Settings

TINY = replace(POCKET, name="org/tiny:q4", digest="cd" * 32, context_length=64)
LOADING = replace(POCKET, name="slow")
#: What every model says: one token, then the end.
WORDS = ("Paris", "")


class World:
    """The whole application; every request is answered as soon as it is submitted."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.store, self.inbox = FakeStore(self.clock), FakeInbox(self.clock)
        self.settings = Settings(**settings)
        cluster = Cluster(FakeAnnouncements(serving(POCKET), serving(TINY), serving(LOADING, "loading")), self.clock)
        relay = Relay(self.store, self.inbox, self._submit, cluster.pulled, self.settings, self.clock)
        self.asked: list[GenerationRequest] = []
        collaborators = Collaborators(self.settings, cluster, relay, self.inbox)  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(collaborators).test_client()

"""A model that is known and cannot answer: refused before the queue, in each dialect's words, by whatever name means it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import (
    WORKER,
    Clock,
    FakeAlbum,
    FakeAnnouncements,
    FakeBatches,
    FakeBook,
    FakeInbox,
    FakeStore,
    errands,
    streams,
)
from flask.testing import FlaskClient
from simulated import definition
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.common.catalogue import Trouble, Worker
from tropilla.common.settings import Settings

MESSAGES = [{"role": "user", "content": "hi"}]
COMING = Trouble("downloading", "pull:latest is being downloaded: 40 %")
BROKEN = Trouble("out_of_memory", "big takes 90 GB of memory; 4 GB are free")
ODD = Trouble("backend_unsupported", "backend 'exllama2' of model 'odd' is not supported (supported: llama-cpp)")
TROUBLES = {"pull:latest": COMING, "big": BROKEN, "odd": ODD}


def client(announced: FakeAnnouncements | None = None, **settings: Any) -> tuple[FlaskClient, FakeStore]:
    clock, told = Clock(), Settings(**settings)
    store, inbox = FakeStore(clock), FakeInbox(clock)
    if announced is None:
        announced = FakeAnnouncements()
        announced.troubles = TROUBLES
    cluster = Cluster(announced, announced, clock)
    relay = Relay(store, store, inbox, lambda *_: None, cluster.look_again, told, clock)
    collaborators = Collaborators(
        told, cluster, relay, inbox, FakeBook(), errands(FakeBook()), streams(), FakeBatches(), FakeAlbum()
    )  # type: ignore[arg-type]
    return create_app(collaborators).test_client(), store


ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/chat/completions": ("openai", {"messages": MESSAGES}),
    "/v1/completions": ("openai", {"prompt": "hi"}),
    "/v1/embeddings": ("openai", {"input": "hi"}),
    "/v1/responses": ("openai", {"input": "hi"}),
    "/v1/messages": ("anthropic", {"messages": MESSAGES, "max_tokens": 5}),
    "/api/chat": ("ollama", {"messages": MESSAGES}),
    "/api/generate": ("ollama", {"prompt": "hi"}),
    "/api/embed": ("ollama", {"input": "hi"}),
}
#: dialect -> trouble -> status, and whether and when to come back.
STATUSES: dict[str, dict[str, tuple[int, str | None]]] = {
    "openai": {"downloading": (424, "10"), "out_of_memory": (424, None), "backend_unsupported": (501, None)},
    "anthropic": {"downloading": (529, "10"), "out_of_memory": (500, None), "backend_unsupported": (500, None)},
    "ollama": {"downloading": (503, "10"), "out_of_memory": (500, None), "backend_unsupported": (501, None)},
    "tgi": {"downloading": (424, "10"), "out_of_memory": (424, None), "backend_unsupported": (501, None)},
}
BODIES: dict[str, Any] = {
    "openai": lambda trouble: {
        "error": {
            "message": trouble.message,
            "type": "server_error",
            "param": "model",
            "code": "backend_unsupported" if trouble is ODD else "model_unavailable",
        },
        "error_type": "generation",
    },
    "anthropic": lambda trouble: {
        "type": "error",
        "error": {"type": "overloaded_error" if trouble is COMING else "api_error", "message": trouble.message},
    },
    "ollama": lambda trouble: {"error": trouble.message},
    "tgi": lambda trouble: {"error": trouble.message, "error_type": "generation"},
}


def refused(response: Any, dialect: str, trouble: Trouble) -> None:
    status, again = STATUSES[dialect][trouble.code]
    assert (response.status_code, response.headers.get("Retry-After")) == (status, again)
    body = response.json
    # Anthropic's answers also carry their request's id.
    body.pop("request_id", None)
    assert body == BODIES[dialect](trouble)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ROUTES)
def test_what_is_the_matter_is_said_at_once_and_costs_no_place_in_the_queue(path: str, stream: bool) -> None:
    asked, store = client()
    dialect, body = ROUTES[path]
    for name, trouble in TROUBLES.items():
        refused(asked.post(path, json={**body, "model": name, "stream": stream}), dialect, trouble)
    assert store.attempt is None


@pytest.mark.parametrize("path", ROUTES)
def test_a_name_means_what_it_meant_if_the_model_were_there(path: str) -> None:
    asked, _ = client()
    dialect, body = ROUTES[path]
    refused(asked.post(path, json={**body, "model": "Pull"}), dialect, COMING)
    assert asked.post(path, json={**body, "model": "other"}).status_code == 404


@pytest.mark.parametrize("path", ROUTES)
def test_no_other_model_answers_for_one_that_is_known(path: str) -> None:
    asked, _ = client(unknown_model="default")
    dialect, body = ROUTES[path]
    refused(asked.post(path, json={**body, "model": "big"}), dialect, BROKEN)


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
@pytest.mark.parametrize("name", TROUBLES)
def test_tgis_one_model_is_the_operators(path: str, name: str) -> None:
    asked, _ = client(default_model=name)
    refused(asked.post(path, json={"inputs": "hi"}), "tgi", TROUBLES[name])
    refused(asked.post(f"/models/{name}", json={"inputs": "hi"}), "tgi", TROUBLES[name])


IDLE = Worker("i", "cpu", "idle", 4, None)


@pytest.mark.parametrize(
    ("workers", "failures", "well"),
    [
        ((), {}, False),
        ((IDLE,), {}, True),
        ((IDLE,), {"m": {"i": BROKEN}}, False),
        ((IDLE, replace(IDLE, name="j")), {"m": {"i": BROKEN}}, True),
        ((replace(IDLE, state="draining"),), {}, False),
        ((replace(IDLE, state="draining", returns=True),), {}, True),
        ((replace(WORKER, state="loading"),), {}, True),
        ((replace(WORKER, state="draining"),), {}, False),
        ((WORKER,), {"m": {WORKER.name: BROKEN}}, True),
    ],
)
def test_nothing_is_listed_or_said_to_be_well_that_cannot_answer(
    workers: tuple[Worker, ...], failures: dict[str, dict[str, Trouble]], well: bool
) -> None:
    announced = FakeAnnouncements(*workers)
    announced.stored, announced.failures, announced.troubles = (definition("m"),), failures, TROUBLES
    asked, _ = client(announced)
    names = ["m"] if well else []
    assert [model["id"] for model in asked.get("/v1/models").json["data"]] == names
    assert len(asked.get("/api/tags").json["models"]) == len(names)
    for path in ("/health", "/v1/health", "/ping", "/"):
        assert asked.get(path).status_code == (200 if well else 503)

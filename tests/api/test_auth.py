"""Who may ask what: every route with every kind of key, in every dialect's words; and whose everything is."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from fakes import (
    WORKER,
    Clock,
    FakeAlbum,
    FakeAnnouncements,
    FakeBatches,
    FakeBook,
    FakeCalls,
    FakeInbox,
    FakeKeys,
    FakeStore,
    answer,
    errands,
    request,
    streams,
)
from flask.testing import FlaskClient
from tropilla.api.app import Collaborators, create_app
from tropilla.api.auth import Guard
from tropilla.api.cluster import Cluster
from tropilla.api.docs import described
from tropilla.api.keyring import Keyring
from tropilla.api.relay import Relay
from tropilla.api.surface import AnyRoute, method_of, scopes_of
from tropilla.api.surfaces import DIALECTS
from tropilla.common import codec
from tropilla.common.errors import StoreUnavailable, UnknownStream
from tropilla.common.keys import NO_LIMITS, SCOPES, Key, Limits, Principal, Scope, digest_of, new_key
from tropilla.common.settings import Settings

NOW = 1_700_000_000.0
MESSAGES = [{"role": "user", "content": "hi"}]


def made(*scopes: Scope, **fields: Any) -> tuple[Key, str]:
    key, secret = new_key(scopes=scopes, created=1)
    return dataclasses.replace(key, **fields), secret


INFERENCE, OTHER, ADMIN, METRICS = made("inference", id="key_1"), made("inference"), made("admin"), made("metrics")
ALL = made(*SCOPES)
REVOKED, EXPIRED = made(*SCOPES, revoked=5), made(*SCOPES, expires=int(NOW))
KEYS = (INFERENCE, OTHER, ADMIN, METRICS, ALL, REVOKED, EXPIRED)


class World:
    def __init__(self, home: Path, *, keys: bool = True) -> None:
        clock, book = Clock(), FakeBook()
        settings = Settings(home=home, keys="on" if keys else "off")
        self.store, self.inbox = FakeStore(clock), FakeInbox(clock)
        cluster = Cluster(announced := FakeAnnouncements(WORKER), announced, clock)
        relay = Relay(self.store, self.store, self.inbox, lambda *_: None, cluster.look_again, settings, clock)
        self.keys = FakeKeys(*(key for key, _ in KEYS))
        self.ring = Keyring(self.keys, clock)
        self.ring.refresh()
        guard = Guard(self.ring if keys else None, clock=lambda: NOW)
        calls = streams(self.store.calls)
        collaborators = Collaborators(
            settings, cluster, relay, self.inbox, book, errands(book), calls, FakeBatches(), FakeAlbum(), guard=guard
        )  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(collaborators).test_client()

    def ask(self, method: str, path: str, secret: str | None = None, **more: Any) -> Any:
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return self.client.open(path, method=method, headers=headers, **more)

    def upload(self, secret: str) -> str:
        form = {"file": (io.BytesIO(b"{}\n"), "in.jsonl"), "purpose": "batch"}
        kept = self.ask("POST", "/v1/files", secret, data=form, content_type="multipart/form-data")
        assert kept.status_code == 200, kept.data
        return str(kept.json["id"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """For what changes nothing."""
    return World(tmp_path_factory.mktemp("home"))


# -- which key opens what ----------------------------------------------------------------------------------------------

ROUTES = [route for dialect in (*DIALECTS, described(DIALECTS)) for route in dialect.routes]
#: What of them needs something else than a key for inference or one for admin, or for one of these: everything there is.
OPEN = {"GET /", "GET /health", "GET /ping", "GET /v1/health", "GET /livez", "GET /readyz"}
CHANGING = {
    "POST /api/pull", "POST /api/push", "POST /api/copy", "DELETE /api/delete", "POST /api/create",
    "POST /v1/models/pull", "DELETE /v1/models/pull", "POST /v1/models/start", "POST /v1/models/stop",
    "POST /v1/models/import", "PATCH /v1/models/<path:id>", "POST /v1/models/<path:id>/pull", "POST /v1/models",
    "GET /v1/models/download/<path:id>", "POST /v1/models/<path:id>/start", "PUT /v1/models/<path:id>/start",
    "POST /v1/models/<path:id>/stop", "PUT /v1/models/<path:id>/stop", "DELETE /v1/models/<path:id>",
}  # fmt: skip
COUNTED = {"GET /metrics", "GET /models/<path:root>/metrics"}
#: Of reading, what is not a page.
READ = {"POST /api/show", "GET /v1/models/pull/<task>/events"}


def called(route: AnyRoute) -> str:
    return f"{method_of(route)} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=called)
def test_every_route_says_whose_keys_open_it(route: AnyRoute) -> None:
    name = called(route)
    if name in OPEN:
        wanted: set[str] = set()
    elif name in CHANGING:
        wanted = {"admin"}
    elif name in COUNTED:
        wanted = {"metrics", "admin"}
    elif name in READ or type(route).__name__ == "Page":
        wanted = {"inference", "admin"}
    else:
        wanted = {"inference"}
    assert scopes_of(route) == wanted


def test_the_tables_name_routes_that_there_are() -> None:
    assert {*CHANGING, *COUNTED, *READ} <= {called(route) for route in ROUTES}


PATHS = [(method_of(route), re.sub(r"<[^>]+>", "m", route.path), scopes_of(route)) for route in ROUTES]
PATHS += [(method, "/api/blobs/sha256:" + "0" * 64, frozenset({"admin"})) for method in ("HEAD", "POST")]


@pytest.mark.parametrize(
    ("given", "may"),
    [
        (None, None), ("", None), ("trp_" + "x" * 43, None), (INFERENCE[0].digest, None), (REVOKED[1], None),
        (EXPIRED[1], None), (INFERENCE[1], {"inference"}), (ADMIN[1], {"admin"}), (METRICS[1], {"metrics"}),
        (ALL[1], set(SCOPES)),
    ],
    ids=["none", "empty", "unknown", "a-digest", "revoked", "expired", "inference", "admin", "metrics", "all"],
)  # fmt: skip
def test_a_route_is_open_to_those_whose_key_has_a_scope_for_it(world: World, given: str | None, may: Any) -> None:
    wrong = []
    for method, path, scopes in PATHS:
        wanted = 0 if not scopes or (may and scopes & may) else 403 if may else 401
        # A body that nothing understands: whoever is admitted is refused for that, and nobody waits for a model.
        asked = world.ask(method, path, given, data=b"?", content_type="application/json")
        found = asked.status_code if asked.status_code in (401, 403) else 0
        if found != wanted:
            wrong.append((method, path, asked.status_code, wanted))
        asked.close()
    assert wrong == []


@pytest.mark.parametrize("way", ["Bearer {}", "bearer {}", "x-api-key", "basic"])
def test_a_key_is_taken_however_it_is_given(world: World, way: str) -> None:
    secret = INFERENCE[1]
    if way == "basic":
        found = world.client.get("/v1/models", auth=("anybody", secret))
    elif way == "x-api-key":
        found = world.client.get("/v1/models", headers={"x-api-key": secret})
    else:
        found = world.client.get("/v1/models", headers={"Authorization": way.format(secret)})
    assert found.status_code == 200


def test_what_does_not_exist_is_said_to_everybody(world: World) -> None:
    assert world.ask("GET", "/nowhere").status_code == 404
    assert world.ask("PUT", "/v1/chat/completions").status_code == 405


def test_a_browser_asks_beforehand_without_a_key(world: World) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    assert world.client.options("/v1/chat/completions", headers=asked).status_code == 200
    refused = world.client.post("/v1/chat/completions", headers={"Origin": "http://localhost:3000"}, json={})
    assert refused.status_code == 401
    # Else the page would not learn why.
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


class Watched(io.BytesIO):
    """A body that says whether anybody has looked at it."""

    looked = False

    def readinto(self, buffer: Any) -> int:
        self.looked = True
        return super().readinto(buffer)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/generate", "/v1/messages"])
def test_the_body_is_not_read_before_the_key(world: World, path: str) -> None:
    environ = {"CONTENT_LENGTH": "100", "CONTENT_TYPE": "application/json"}
    for secret, status, looked in (("nonsense", 401, False), (METRICS[1], 403, False), (INFERENCE[1], 400, True)):
        body = Watched(bytes(100))
        asked = world.ask("POST", path, secret, input_stream=body, environ_overrides=environ)
        assert (asked.status_code if asked.status_code != 422 else 400, body.looked) == (status, looked)


# -- in whose words ----------------------------------------------------------------------------------------------------

MISSING = "no API key was given: send one as Authorization: Bearer KEY, or as x-api-key"
WANTS = "this API key may not do that: it needs the scope inference"
SAID: dict[str, tuple[str, Any, Any]] = {
    "openai": (
        "/v1/chat/completions",
        {
            "error": {
                "message": f"Incorrect API key provided: {MISSING}.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            },
            "error_type": "unauthorized",
        },
        {
            "error": {
                "message": f"You have insufficient permissions for this operation: {WANTS}.",
                "type": "invalid_request_error",
                "param": None,
                "code": "insufficient_permissions",
            },
            "error_type": "forbidden",
        },
    ),
    "anthropic": (
        "/v1/messages",
        {"type": "error", "error": {"type": "authentication_error", "message": MISSING}},
        {"type": "error", "error": {"type": "permission_error", "message": WANTS}},
    ),
    "ollama": ("/api/chat", {"error": "unauthorized"}, {"error": WANTS}),
    "tgi": (
        "/generate",
        {"error": MISSING, "error_type": "unauthorized"},
        {"error": WANTS, "error_type": "forbidden"},
    ),
}


@pytest.mark.parametrize("dialect", SAID)
def test_every_dialect_refuses_in_its_own_words(world: World, dialect: str) -> None:
    path, missing, closed = SAID[dialect]
    without, wrong = world.ask("POST", path, json={}), world.ask("POST", path, METRICS[1], json={})
    assert (without.status_code, without.json) == (401, missing)
    assert without.headers["WWW-Authenticate"] == 'Bearer realm="tropilla"'
    assert (wrong.status_code, wrong.json, "WWW-Authenticate" in wrong.headers) == (403, closed, False)


def test_jans_clients_find_the_sentence_where_they_look(world: World) -> None:
    refused = world.ask("POST", "/v1/models/start", json={"model": "m"})
    assert (refused.status_code, refused.json["message"]) == (401, f"Incorrect API key provided: {MISSING}.")


def test_a_person_with_a_browser_is_asked_for_a_password(world: World) -> None:
    refused = world.ask("GET", "/docs")
    assert (refused.status_code, refused.text) == (401, MISSING)
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert world.client.get("/docs", auth=("me", ALL[1])).status_code == 200


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [("nonsense", "is not known here"), (REVOKED[1], "was revoked"), (EXPIRED[1], "has expired")],
    ids=["unknown", "revoked", "expired"],
)
def test_whoever_has_a_key_hears_what_is_wrong_with_it(world: World, secret: str, sentence: str) -> None:
    told = world.ask("POST", "/v1/messages", secret, json={}).text
    assert sentence in told
    assert secret not in told


# -- what it names -----------------------------------------------------------------------------------------------------


def say(world: World, secret: str, **headers: str) -> Any:
    world.inbox.script = list(world.store.write(*answer("hi")))
    body = {"model": "m", "messages": MESSAGES}
    given = {"Authorization": f"Bearer {secret}", **headers}
    return world.client.post("/v1/chat/completions", json=body, headers=given)


def test_a_key_says_whose_turn_it_is_and_brings_its_limits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.keys.kept[0] = dataclasses.replace(INFERENCE[0], limits=Limits(3, 60, 1000))
    world.ring.refresh()
    assert say(world, INFERENCE[1]).status_code == 200
    assert (world.store.terms.key, world.store.terms.limits) == ("key_1", Limits(3, 60, 1000))
    assert world.store.bounds is not None
    assert world.store.bounds.key == 3


def test_where_no_key_is_needed_it_still_says_whose_turn_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, keys=False)
    assert say(world, "whatever").status_code == 200
    assert (world.store.terms.key, world.store.terms.limits) == (digest_of("whatever")[:16], NO_LIMITS)
    for method, path, _ in PATHS:
        with world.ask(method, path, data=b"?", content_type="application/json") as asked:
            assert asked.status_code not in (401, 403), path


def test_only_who_may_change_models_unloads_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    gone = {"model": "m", "keep_alive": 0}
    refused = world.ask("POST", "/api/generate", INFERENCE[1], json=gone)
    assert (refused.status_code, refused.json["error"]) == (403, WANTS.replace("inference", "admin"))
    assert world.ask("POST", "/api/generate", ALL[1], json=gone).status_code == 200


def test_files_and_batches_are_there_for_their_owner_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    mine, theirs = INFERENCE[1], OTHER[1]
    file = world.upload(mine)
    wanted = {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused = world.ask("POST", "/v1/batches", theirs, json=wanted)
    assert (refused.status_code, refused.json["error"]["param"]) == (400, "input_file_id")
    batch = world.ask("POST", "/v1/batches", mine, json=wanted).json["id"]
    places = [
        ("GET", f"/v1/files/{file}"), ("GET", f"/v1/files/{file}/content"), ("DELETE", f"/v1/files/{file}"),
        ("GET", f"/v1/batches/{batch}"), ("POST", f"/v1/batches/{batch}/cancel"),
    ]  # fmt: skip
    for secret in (theirs, ALL[1]):
        assert [world.ask(*place, secret).status_code for place in places] == [404] * 5
        for listing in ("/v1/files", "/v1/batches"):
            assert world.ask("GET", listing, secret).json["data"] == []
    for listing, found in (("/v1/files", file), ("/v1/batches", batch)):
        assert [each["id"] for each in world.ask("GET", listing, mine).json["data"]] == [found]
    assert world.ask("POST", f"/v1/batches/{batch}/cancel", mine).json["status"] == "cancelling"


def test_a_page_of_a_listing_is_full_though_others_have_left_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    mine = [world.upload(INFERENCE[1]) for _ in range(3)]
    for _ in range(3):
        world.upload(OTHER[1])
    page = world.ask("GET", "/v1/files?limit=2", INFERENCE[1]).json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (mine[:0:-1], True)


def test_a_stream_goes_on_for_its_owner_alone() -> None:
    calls, stream = FakeCalls(), "ab" * 16
    kept = {"route": "/r", "body": {}, "headers": {}, "path": {}, "received": 1.0, "queued": 1.0, "request": ""}
    encoded = codec.encode_request(request(stream)).decode()
    calls.kept[stream] = json.dumps({**kept, "request": encoded, "key": "key_1"}).encode()
    found = streams(calls)
    for principal in (Principal("key_1", private=True), Principal(), Principal("0123")):
        assert found.find(stream, principal).key == "key_1"
    for principal in (Principal("key_2", private=True), Principal("", private=True)):
        with pytest.raises(UnknownStream):
            found.find(stream, principal)


def test_what_is_kept_of_a_stream_says_whose_it_is_and_not_by_which_secret(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert say(world, INFERENCE[1], **{"Idempotency-Key": "word"}).status_code == 200
    (kept,) = world.store.calls.kept.values()
    assert json.loads(kept)["key"] == "key_1"
    assert INFERENCE[1].encode() not in kept


# -- the ring ----------------------------------------------------------------------------------------------------------


def test_a_redis_that_is_away_locks_nobody_out_and_lets_nobody_in(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.keys.down = True
    with pytest.raises(StoreUnavailable):
        world.ring.refresh()
    assert world.ring.find(INFERENCE[1]) == INFERENCE[0]
    assert world.ring.find("trp_" + "x" * 43) is None
    assert world.ask("GET", "/api/version", INFERENCE[1]).status_code == 200


def test_a_revoked_key_is_one_as_soon_as_the_ring_has_heard(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.ask("GET", "/v1/models", INFERENCE[1]).status_code == 200
    world.keys.kept[0] = dataclasses.replace(INFERENCE[0], revoked=int(NOW))
    world.ring.refresh()
    assert world.ask("GET", "/v1/models", INFERENCE[1]).status_code == 401
    assert world.ring.limits(INFERENCE[0].id) == NO_LIMITS
    refusals = {name: world.ring.refusal(name, NOW) for name in (INFERENCE[0].id, OTHER[0].id, EXPIRED[0].id, "other")}
    assert list(refusals.values()) == ["this API key was revoked", "", "this API key has expired", ""]


def test_the_use_of_a_key_is_told_once_and_kept_until_it_can_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask("GET", "/v1/models", INFERENCE[1])
    world.ask("GET", "/v1/models", METRICS[1])
    told, world.keys.used = world.keys.used, unable  # type: ignore[method-assign]
    world.ring.refresh()
    world.keys.used = told  # type: ignore[method-assign]
    world.ring.refresh()
    # Of a key that was refused nothing is said.
    assert world.keys.uses == {"key_1": int(NOW)}
    world.keys.uses.clear()
    world.ring.refresh()
    assert world.keys.uses == {}


def test_the_ring_says_that_it_still_turns() -> None:
    def unheard() -> Any:
        raise StoreUnavailable("Redis cannot serve")

    keys = FakeKeys()
    keys.listen = unheard  # type: ignore[method-assign]
    ring = Keyring(keys)
    began = ring.turned_at = 0.0
    ring.start()
    until = time.monotonic() + 5
    while ring.turned_at == began and time.monotonic() < until:
        time.sleep(0.01)
    ring.stop()
    assert ring.turned_at > began


def unable(_: Any) -> None:
    raise StoreUnavailable("Redis has no room")

"""What every response carries, over the real dialects and no cluster at all: ids, timing, CORS, content types."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest
from fakes import Clock, FakeAlbum, FakeAnnouncements, FakeBatches, FakeBook, FakeInbox, FakeStore, errands, streams
from flask.testing import FlaskClient
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.api.surface import AnyRoute, acts, method_of
from tropilla.api.surfaces import DIALECTS
from tropilla.common.settings import Settings

HERE, THERE = "http://localhost:5173", "https://elsewhere.example"
ROUTES = ("/v1/chat/completions", "/v1/models", "/v1/models/org/name", "/api/chat", "/generate", "/")
NOWHERE = ("/v1/nothing", "/api/nothing", "/nothing")


def client(**given: Any) -> FlaskClient:
    """A cluster without any worker: whoever asks for a generation gets a 404 before anything is queued."""
    clock, settings = Clock(), Settings(**{"max_body_bytes": 1024, "max_image_body_bytes": 0, **given})
    inbox, cluster = FakeInbox(clock), Cluster(announcements := FakeAnnouncements(), announcements, clock)
    relay = Relay(store := FakeStore(clock), store, inbox, lambda *_: None, cluster.look_again, settings, clock)
    book = FakeBook()
    collaborators = Collaborators(
        settings, cluster, relay, inbox, book, errands(book), streams(), FakeBatches(), FakeAlbum()
    )  # type: ignore[arg-type]
    return create_app(collaborators).test_client()


@pytest.mark.parametrize("path", [*ROUTES, *NOWHERE])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_response_has_a_request_id(path: str, method: str) -> None:
    found = client().open(path, method=method)
    assert re.fullmatch(r"req_[0-9a-f]{32}", found.headers["x-request-id"])
    assert found.headers.getlist("x-request-id") == [found.headers["x-request-id"]]
    assert found.status_code < 500 or path == "/"


@pytest.mark.parametrize("path", [*ROUTES, *NOWHERE])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_answer_is_kept_on_the_way(path: str, method: str) -> None:
    assert "no-store" in client().open(path, method=method).headers["Cache-Control"]


ACTING = [route for dialect in DIALECTS for route in dialect.routes if method_of(route) == "GET" and acts(route)]


@pytest.mark.parametrize("route", ACTING, ids=lambda route: route.path)
def test_head_does_nothing(route: AnyRoute) -> None:
    """Browsers and previews of links look by it at whatever they are shown."""
    found = client().head(re.sub("<[^>]*>", "m", route.path))
    assert (found.status_code, found.headers["Allow"]) == (405, "GET, OPTIONS")


def test_a_get_that_begins_a_download_acts() -> None:
    assert "/v1/models/download/<path:id>" in {route.path for route in ACTING}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gone", "/v1/chat/completions", "/v1/nothing", "/models"])
def test_openais_answers_carry_openais_headers_errors_included(path: str) -> None:
    found = client().get(path)
    assert found.headers["openai-version"] == "2020-10-01"
    assert 0 <= int(found.headers["openai-processing-ms"]) < 10_000


@pytest.mark.parametrize("path", ["/api/tags", "/info", "/api/nothing", "/nothing"])
def test_no_other_answer_does(path: str) -> None:
    assert "openai-version" not in client().get(path).headers


@pytest.mark.parametrize("path", [*ROUTES, *NOWHERE])
def test_a_browser_may_ask_about_any_path(path: str) -> None:
    asked = {
        "Origin": THERE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    found = client(cors_origins="*").options(path, headers=asked)
    assert found.status_code == (204 if path.startswith("/api") else 200)
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert found.headers["Access-Control-Allow-Headers"] == "authorization,content-type,x-stainless-lang"
    assert "POST" in found.headers["Access-Control-Allow-Methods"]
    assert found.data == b""


def test_options_tells_which_methods_a_path_has() -> None:
    assert client().options("/v1/chat/completions").headers["Allow"] == "OPTIONS, POST"
    assert client().options("/v1/health").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert client().options("/v1/models").headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/info", "/v1/nothing"])
def test_a_page_that_may_ask_gets_its_answer_and_may_read_it(path: str) -> None:
    strict = client(cors_origins="https://other.example")
    for origin in (HERE, "https://other.example"):
        found = strict.get(path, headers={"Origin": origin})
        assert found.headers["Access-Control-Allow-Origin"] == origin
        assert found.headers["Access-Control-Expose-Headers"] == "*"
        assert found.status_code != 403


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", [*ROUTES, *NOWHERE])
def test_a_page_that_may_not_ask_gets_nothing(path: str, method: str) -> None:
    found = client(cors_origins="").open(path, method=method, headers={"Origin": THERE})
    assert found.status_code == 403
    assert "Access-Control-Allow-Origin" not in found.headers
    assert THERE in found.text


@pytest.mark.parametrize(
    ("given", "may"),
    [({}, False), ({"keys": "off", "host": "0.0.0.0"}, False), ({"keys": "on"}, True), ({"host": "0.0.0.0"}, True)],
    ids=["on this machine", "without keys", "with keys", "on any address"],
)
def test_pages_of_strangers_may_ask_only_where_they_need_a_key(given: dict[str, str], may: bool) -> None:
    for origin, admitted in ((THERE, may), (HERE, True)):
        asked = client(**given).get("/api/version", headers={"Origin": origin})
        assert (asked.status_code != 403) is admitted


@pytest.mark.parametrize(("site", "refused"), [("cross-site", True), ("same-site", True), ("none", False), ("", False)])
def test_no_image_on_a_page_changes_models(site: str, refused: bool) -> None:
    """It is asked for without an origin, and with whatever password the browser has for us."""
    asked = client(cors_origins="*").get("/v1/models/download/m", headers={"Sec-Fetch-Site": site} if site else {})
    assert (asked.status_code == 403) is refused
    # What changes nothing is not read by who may not, either.
    assert client().get("/v1/models", headers={"Sec-Fetch-Site": site}).status_code == 200


REBOUND = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", [*ROUTES, *NOWHERE])
def test_a_page_whose_name_was_made_to_point_here_gets_nothing(path: str, method: str) -> None:
    """To its browser we are its own server: it may read every answer."""
    found = client(cors_origins="*").open(path, method=method, headers=REBOUND)
    assert found.status_code == 403
    assert "evil.example:8000" in found.text
    assert "TROPILLA_HOSTS" in found.text


def test_a_body_is_not_read_for_a_name_that_is_not_ours() -> None:
    posted = client().post("/api/pull", data=b" " * 5000, headers=REBOUND)
    assert (posted.status_code, list(posted.json)) == (403, ["error"])


@pytest.mark.parametrize("path", ["/v1/models/download/m", "/v1/models/status/m", "/api/pull"])
@pytest.mark.parametrize(("scheme", "refused"), [("Basic", True), ("basic", True), ("Bearer", False)])
def test_no_page_uses_a_password_that_the_browser_keeps(path: str, scheme: str, refused: bool) -> None:
    """A page that was given a key sends it itself; one that was not has the browser send what its user once typed."""
    method = "POST" if path == "/api/pull" else "GET"
    for origins, may in (("*", not refused), (f"*,{THERE}", True)):
        headers = {"Origin": THERE, "Authorization": f"{scheme} Og=="}
        asked = client(cors_origins=origins, keys="on").open(path, method=method, headers=headers)
        assert (asked.status_code != 403) is may


def test_nobody_but_browsers_hears_of_cors() -> None:
    strict = client(cors_origins="")
    for headers in ({}, {"Origin": "http://api.internal:80", "Host": "api.internal:80"}):
        found = strict.get("/v1/models", headers=headers)
        assert found.status_code == 200
        assert not [name for name, _ in found.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/generate"])
@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
def test_a_body_that_says_it_is_no_json_is_not_read(path: str, kind: str) -> None:
    found = client().post(path, data=b"{}", headers={"Content-Type": kind})
    assert found.status_code == 415
    assert kind in found.text


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/problem+json", "application/x-www-form-urlencoded", None]
)
def test_a_body_that_says_json_or_nothing_is_read(kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for path, status in (("/v1/chat/completions", 400), ("/generate", 422)):
        assert client().post(path, data=b"{}", headers=headers).status_code == status


def test_ollama_does_not_look_at_content_types() -> None:
    found = client().post("/api/chat", data=b"{}", headers={"Content-Type": "text/plain"})
    assert (found.status_code, found.json) == (400, {"error": "model is required"})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/generate"])
def test_a_packed_body_is_read(path: str) -> None:
    plain = client().post(path, json={"n": "x"})
    packed = client().post(
        path,
        data=gzip.compress(b'{"n": "x"}'),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )
    assert (packed.status_code, packed.json) == (plain.status_code, plain.json)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/generate"])
@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [(b"x", "zstd", 415), (gzip.compress(b" " * 5000, mtime=0), "gzip", 413), (b" " * 5000, "identity", 413)],
)
def test_a_packed_body_that_cannot_be_read_says_why(path: str, data: bytes, encoding: str, status: int) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    found = client().post(path, data=data, headers=headers)
    assert found.status_code == status
    assert ("1024" if status == 413 else encoding) in found.text


def test_a_doubled_slash_leads_to_the_proper_path() -> None:
    found = client().get("/v1//models")
    assert (found.status_code, found.headers["Location"]) == (308, "http://localhost/v1/models")


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_model_itself_takes_no_other_methods(method: str) -> None:
    found = client().open("/v1/models/pocket", method=method)
    assert (found.status_code, found.headers["Allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")
    assert set(found.json["error"]) == {"message", "type", "param", "code"}


def test_an_unknown_path_is_told_in_openais_words() -> None:
    found = client().post("/v1/audio/speech", json={})
    assert found.status_code == 404
    assert found.json["error"]["message"] == "Invalid URL (POST /v1/audio/speech)"

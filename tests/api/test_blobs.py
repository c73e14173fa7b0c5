"""Files over HTTP: uploads as Ollama's clients make them, and ranges for workers of other machines (section 10.2)."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
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
    FakeInbox,
    FakeStore,
    errands,
    streams,
)
from flask.testing import FlaskClient
from tropilla.api.app import Collaborators, create_app
from tropilla.api.auth import Guard
from tropilla.api.blobs import PIECE_BYTES, SYNC_BYTES, arrays_reader
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.common.blobs import Blobs
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings

DATA = bytes(range(256)) * 40
HEX = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64
#: What the processes of the cluster show each other.
SECRET = "the cluster's own"
OURS = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs.below(tmp_path)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """Bodies in memory may be small, files large."""
    clock = Clock()
    settings = Settings(home=tmp_path, max_body_bytes=1024, max_blob_bytes=1 << 20)
    cluster = Cluster(announcements := FakeAnnouncements(WORKER), announcements, clock)
    inbox = FakeInbox(clock)
    relay = Relay(store := FakeStore(clock), store, inbox, lambda asked, lane: None, cluster.pulled, settings, clock)
    book = FakeBook()
    collaborators = Collaborators(
        settings,
        cluster,
        relay,
        inbox,
        book,
        errands(book),
        streams(),
        FakeBatches(),
        FakeAlbum(),
        guard=Guard(internal_secret=lambda: SECRET),
    )  # type: ignore[arg-type]
    return create_app(collaborators).test_client()


def files(blobs: Blobs) -> list[str]:
    return sorted(path.name for path in blobs.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", ["sha256:{}", "sha256-{}", "sha256%3A{}"])
def test_a_file_is_kept_under_its_digest_and_found_again(client: FlaskClient, blobs: Blobs, form: str) -> None:
    path = "/api/blobs/" + form.format(HEX)
    assert client.head(path).status_code == 404
    # Python's client says that it is JSON.
    created = client.post(path, data=DATA, content_type="application/json")
    assert (created.status_code, created.data) == (201, b"")
    assert blobs.path(HEX).read_bytes() == DATA
    again = client.post(path, data=b"not looked at")
    assert (again.status_code, again.data) == (200, b"")
    found = client.head(path)
    assert (found.status_code, found.data) == (200, b"")
    assert files(blobs) == [f"sha256-{HEX}"]


def test_an_upload_may_come_without_a_length_and_is_larger_than_other_bodies(client: FlaskClient, blobs: Blobs) -> None:
    data = bytes(PIECE_BYTES + 5)
    digest = hashlib.sha256(data).hexdigest()
    # As gunicorn hands on a chunked body.
    environ: dict[str, Any] = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    posted = client.post(f"/api/blobs/sha256:{digest}", input_stream=io.BytesIO(data), environ_overrides=environ)
    assert posted.status_code == 201
    assert blobs.path(digest).stat().st_size == len(data)


@pytest.mark.parametrize(
    "digest", ["x", HEX, "sha256:" + HEX[1:], f"sha256:{HEX}0", f"md5:{HEX}", "sha256:" + "g" * 64]
)
@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_what_is_no_digest_is_refused(client: FlaskClient, digest: str, method: str) -> None:
    refused = client.open(f"/api/blobs/{digest}", method=method, data=DATA)
    assert refused.status_code == 400
    assert method == "HEAD" or refused.json == {"error": "invalid digest format"}


def test_a_file_that_is_not_what_it_was_called_is_not_kept(client: FlaskClient, blobs: Blobs) -> None:
    refused = client.post(f"/api/blobs/sha256:{OTHER}", data=DATA)
    text = f'digest mismatch, expected "sha256:{OTHER}", got "sha256:{HEX}"'
    assert (refused.status_code, refused.json) == (400, {"error": text})
    assert files(blobs) == []


@pytest.mark.parametrize("told", [True, False], ids=["by-its-length", "by-its-bytes"])
def test_a_file_that_is_too_large_is_not_kept(client: FlaskClient, blobs: Blobs, told: bool) -> None:
    data = io.BytesIO(bytes((1 << 20) + 1))
    more: dict[str, Any] = {"content_length": (1 << 20) + 1} if told else {}
    environ = {} if told else {"wsgi.input_terminated": True}
    refused = client.post(f"/api/blobs/sha256:{OTHER}", input_stream=data, environ_overrides=environ, **more)
    assert (refused.status_code, refused.json) == (413, {"error": "the request body is larger than 1048576 bytes"})
    assert files(blobs) == []


def test_an_upload_that_breaks_off_leaves_nothing(client: FlaskClient, blobs: Blobs) -> None:
    promised = {"CONTENT_LENGTH": str(len(DATA))}
    body = io.BytesIO(DATA[:100])
    short = client.post(f"/api/blobs/sha256:{HEX}", input_stream=body, environ_overrides=promised)
    assert (short.status_code, short.json) == (400, {"error": "the upload broke off"})
    assert files(blobs) == []


def test_a_disk_that_refuses_is_told(client: FlaskClient, blobs: Blobs) -> None:
    # A file stands where the folder should.
    blobs.folder.parent.mkdir(exist_ok=True)
    blobs.folder.write_bytes(b"")
    refused = client.post(f"/api/blobs/sha256:{HEX}", data=DATA)
    assert (refused.status_code, refused.json) == (500, {"error": "the file cannot be kept: Not a directory"})


def test_what_is_written_in_large_pieces_is_whole(client: FlaskClient, blobs: Blobs, tmp_path: Path) -> None:
    """Past the place where the disk is asked to have what came so far."""
    data = (b"0123456789abcdef" * (SYNC_BYTES // 16)) + b"!"
    settings = client.application.extensions["tropilla"].settings
    assert settings.max_blob_bytes < len(data)
    object.__setattr__(settings, "max_blob_bytes", len(data))
    fresh = create_app(client.application.extensions["tropilla"]).test_client()
    digest = hashlib.sha256(data).hexdigest()
    assert fresh.post(f"/api/blobs/sha256:{digest}", data=data).status_code == 201
    assert blobs.path(digest).read_bytes() == data


@pytest.fixture
def kept(client: FlaskClient) -> FlaskClient:
    assert client.post(f"/api/blobs/sha256:{HEX}", data=DATA).status_code == 201
    return client


@pytest.mark.parametrize("digest", [HEX, f"sha256:{HEX}", f"sha256-{HEX}"])
def test_a_worker_fetches_a_whole_file(kept: FlaskClient, digest: str) -> None:
    with kept.get(f"/internal/blobs/{digest}", headers=OURS) as told:
        assert (told.status_code, told.data) == (200, DATA)
        assert (told.headers["Content-Length"], told.headers["Accept-Ranges"]) == (str(len(DATA)), "bytes")
    with kept.head(f"/internal/blobs/{digest}", headers=OURS) as head:
        assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(DATA)))


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Bearer wrong", f"Basic {SECRET}", SECRET])
@pytest.mark.parametrize("path", [f"/internal/blobs/{HEX}", f"/internal/blobs/{OTHER}", "/internal/blobs/x"])
def test_only_the_clusters_own_processes_fetch_files(kept: FlaskClient, path: str, given: str | None) -> None:
    refused = kept.get(path, headers={} if given is None else {"Authorization": given})
    assert (refused.status_code, refused.json) == (401, {"error": "unauthorized"})


def test_where_there_is_no_secret_nobody_has_it(client: FlaskClient) -> None:
    open_hearted = replace(client.application.extensions["tropilla"], guard=Guard())
    nobody = create_app(open_hearted).test_client()
    assert nobody.get(f"/internal/blobs/{HEX}").status_code == 401


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=100-", 206, 100, len(DATA)),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=-10", 206, len(DATA) - 10, len(DATA)),
        (f"bytes={len(DATA)}-", 416, 0, 0),
    ],
)
def test_a_worker_goes_on_where_it_was_cut_off(
    kept: FlaskClient, asked: str, status: int, start: int, stop: int
) -> None:
    with kept.get(f"/internal/blobs/{HEX}", headers={"Range": asked, **OURS}) as told:
        assert (told.status_code, told.data) == (status, DATA[start:stop])
        part = f"{start}-{stop - 1}" if status == 206 else "*"
        assert told.headers["Content-Range"] == f"bytes {part}/{len(DATA)}"


def test_a_range_of_another_file_is_the_whole_file(kept: FlaskClient) -> None:
    headers = {"Range": "bytes=5-", "If-Range": '"another"'}
    with kept.get(f"/internal/blobs/{HEX}", headers={**headers, **OURS}) as told:
        assert (told.status_code, told.data) == (200, DATA)


@pytest.mark.parametrize("digest", [OTHER, "x", "..%2F..%2Fetc%2Fpasswd", "sha256-"])
def test_a_file_that_is_not_there_is_told_in_ollamas_words(kept: FlaskClient, digest: str) -> None:
    told = kept.get(f"/internal/blobs/{digest}", headers=OURS)
    assert told.status_code == 404
    assert isinstance(told.json["error"], str)


@pytest.mark.parametrize(("path", "methods"), [("/api/blobs/x", "GET"), ("/internal/blobs/x", "POST")])
def test_other_methods_are_told_which_there_are(client: FlaskClient, path: str, methods: str) -> None:
    assert client.open(path, method=methods).status_code == 405


def test_arrays_are_read_from_files_that_are_there(tmp_path: Path, blobs: Blobs) -> None:
    blobs.prepare()
    blobs.path(HEX).write_bytes(DATA)
    blobs.path(OTHER).write_bytes(b"broken")

    def read(path: Path) -> dict[str, Any]:
        if path.read_bytes() == b"broken":
            raise ConfigurationError("no GGUF file")
        return {"tokens": [path.name]}

    arrays = arrays_reader(Settings(home=tmp_path), read)
    assert arrays(HEX) == {"tokens": [f"sha256-{HEX}"]}
    assert arrays(OTHER) == {}
    assert arrays("f" * 64) == {}

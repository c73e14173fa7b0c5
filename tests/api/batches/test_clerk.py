"""/v1/files and /v1/batches over HTTP, without a cluster: what is kept, told and refused, as the SDK has it."""

from __future__ import annotations

import dataclasses
import io
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
from openai.types import Batch, FileDeleted, FileObject
from openai_strict import strict
from tropilla.api.app import Collaborators, create_app
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.forms import FORM_BYTES
from tropilla.api.batches.records import File, new_file_id
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.api.surface import Desk
from tropilla.api.surfaces.openai import OPENAI
from tropilla.common.settings import Settings

DATA = b'{"custom_id": "a"}\n'
NOBODY = "file-" + "0" * 32
#: Nothing else of the dialect, so that it is made quickly.
DESKS = dataclasses.replace(OPENAI, routes=tuple(route for route in OPENAI.routes if isinstance(route, Desk)))
WANTED = {"endpoint": "/v1/embeddings", "completion_window": "24h"}


class World:
    def __init__(self, home: Path, **settings: Any) -> None:
        clock = Clock()
        told = Settings(home=home, max_body_bytes=1024, **settings)
        cluster, inbox = Cluster(FakeAnnouncements(WORKER), clock), FakeInbox(clock)
        relay = Relay(FakeStore(clock), inbox, lambda *_: None, cluster.look_again, told, clock)
        self.batches, book = FakeBatches(), FakeBook()
        collaborators = Collaborators(
            told, cluster, relay, inbox, book, errands(book), streams(), self.batches, FakeAlbum()
        )  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(collaborators, (DESKS,)).test_client()
        self.archive = Archive.below(home)

    def upload(self, data: bytes = DATA, name: str = "in.jsonl", *, key: str = "", **fields: Any) -> Any:
        form = {"file": (io.BytesIO(data), name), "purpose": "batch", **fields}
        given = {key: value for key, value in form.items() if value is not ...}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.client.post("/v1/files", data=given, headers=headers, content_type="multipart/form-data")

    def begin(self, **fields: Any) -> Any:
        body = {"input_file_id": self.upload().json["id"], **WANTED, **fields}
        return self.client.post("/v1/batches", json={key: value for key, value in body.items() if value is not ...})

    @property
    def files(self) -> int:
        return sum(path.is_file() for path in self.archive.folder.rglob("*"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def error(answer: Any) -> tuple[int, str | None, str]:
    told = answer.json["error"]
    return answer.status_code, told["param"], told["message"]


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_kept_found_read_and_deleted(world: World) -> None:
    answer = world.upload()
    file = strict(FileObject, answer.data)
    assert (answer.status_code, file.bytes, file.filename, file.purpose) == (200, len(DATA), "in.jsonl", "batch")
    assert file.expires_at == file.created_at + 30 * 86400
    path = f"/v1/files/{file.id}"
    assert world.client.get(path).json == answer.json
    with world.client.get(f"{path}/content") as content:
        assert (content.status_code, content.data) == (200, DATA)
        assert content.headers["Content-Disposition"] == "attachment; filename=in.jsonl"
    with world.client.get(f"{path}/content", headers={"Range": "bytes=2-5"}) as part:
        assert (part.status_code, part.data) == (206, DATA[2:6])
    assert strict(FileDeleted, world.client.delete(path).data).deleted is True
    for gone in (world.client.get(path), world.client.get(f"{path}/content"), world.client.delete(path)):
        assert error(gone) == (404, "id", f"No such File object: {file.id}")
    assert world.files == 0


def test_a_file_is_larger_than_what_is_kept_in_memory(world: World) -> None:
    data = bytes(range(256)) * 1600
    file = world.upload(data).json
    assert file["bytes"] == len(data)
    assert world.archive.path(file["id"]).read_bytes() == data


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a b.jsonl", "a b.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("c:\\\\x\\\\y.jsonl", "y.jsonl"),
        ("x" * 400, "x" * 255),
    ],
)
def test_a_file_s_name_has_no_folders(world: World, name: str, kept: str) -> None:
    assert world.upload(name=name).json["filename"] == kept


def test_a_caller_says_how_long_a_file_is_kept(world: World) -> None:
    file = world.upload(**{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}).json
    assert file["expires_at"] == file["created_at"] + 3600


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": ...}, "purpose"),
        ({"purpose": "assistants"}, "purpose"),
        ({"purpose": "poem"}, "purpose"),
        ({"file": ...}, "file"),
        ({"file": "text"}, "file"),
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "last_active", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after": "tomorrow"}, "expires_after"),
    ],
    ids=str,
)
def test_a_form_that_is_wrong_names_its_field_and_leaves_nothing(
    world: World, fields: dict[str, Any], param: str | None
) -> None:
    status, at, message = error(world.upload(**fields))
    assert (status, at) == (400, param)
    assert message
    assert world.files == 0


def test_another_purpose_of_openai_s_is_refused_by_its_name(world: World) -> None:
    assert "files for 'fine-tune' are not served" in error(world.upload(purpose="fine-tune"))[2]


def test_a_form_with_a_second_file_is_refused(world: World) -> None:
    assert error(world.upload(other=(io.BytesIO(b"x"), "x")))[:2] == (400, None)
    assert world.files == 0


def test_a_file_under_another_name_is_not_taken_for_the_one(world: World) -> None:
    assert error(world.upload(file=..., data_file=(io.BytesIO(b"x"), "x")))[:2] == (400, "file")


@pytest.mark.parametrize("size", [2001, FORM_BYTES + 5000])
def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    world = World(tmp_path, max_file_bytes=2000)
    assert error(world.upload(b"x" * size)) == (413, None, "the request body is larger than 2000 bytes")
    assert world.files == 0
    assert world.upload(b"x" * 2000).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut', 400),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n\r\n--x--\r\n", 400),
    ],
)
def test_what_is_no_form_is_refused(world: World, kind: str, body: bytes, status: int) -> None:
    assert error(world.client.post("/v1/files", data=body, content_type=kind))[0] == status
    assert world.files == 0


def test_the_files_of_one_caller_have_a_bound_together(tmp_path: Path) -> None:
    world = World(tmp_path, max_files_bytes_per_key=2000)
    first, second = world.upload(b"x" * 900), world.upload(b"x" * 1100)
    assert (first.status_code, second.status_code) == (200, 200)
    status, param, message = error(world.upload(b"x"))
    assert (status, param) == (400, "file")
    assert message == "Invalid 'file': Your files may take 2000 bytes together. Delete some, or wait until they expire."
    assert world.files == 4, "two, and what is said of them"
    # Others have a bound of their own; what has expired counts no more.
    assert world.upload(b"x", key="other").status_code == 200
    card = world.archive.find(first.json["id"])
    assert card is not None
    world.archive.drop(card.id)
    assert world.upload(b"x" * 900).status_code == 200
    assert world.upload(b"x" * 2).status_code == 400


def test_what_has_expired_takes_no_room(tmp_path: Path) -> None:
    world = World(tmp_path, max_files_bytes_per_key=1024)
    with world.archive.partial() as (path, file):
        file.write(b"x" * 1024)
        file.close()
        world.archive.keep(File(new_file_id(1.0), "old", "batch", 1024, 1, 2), path)
    assert world.upload(b"x" * 1024).status_code == 200
    assert world.upload(b"x").status_code == 400


def test_everybodys_files_have_a_bound_together_unfinished_ones_included(tmp_path: Path) -> None:
    world = World(tmp_path, max_files_bytes=2000)
    with world.archive.partial() as (_, file):
        file.write(b"x" * 1500)
        file.flush()
        assert world.upload(b"x" * 500, key="one").status_code == 200
        status, param, message = error(world.upload(b"x", key="another"))
    assert (status, param) == (400, "file")
    assert "All files here may take 2000 bytes" in message
    assert world.upload(b"x" * 1500, key="another").status_code == 200


def test_an_upload_that_says_it_is_too_much_is_refused_before_it_comes(tmp_path: Path) -> None:
    """What comes here is no form, which nobody finds out."""
    world = World(tmp_path, max_files_bytes=200_000)
    asked = world.client.post(
        "/v1/files",
        input_stream=io.BytesIO(b"no form"),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": "300000"},
    )
    assert "All files here may take 200000 bytes" in error(asked)[2]


def test_files_are_listed_page_by_page(world: World) -> None:
    ids = [world.upload().json["id"] for _ in range(3)]
    whole = world.client.get("/v1/files").json
    assert [each["id"] for each in whole["data"]] == ids[::-1]
    assert (whole["object"], whole["has_more"]) == ("list", False)
    page = world.client.get("/v1/files?limit=2&order=asc").json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    assert (page["first_id"], page["last_id"]) == (ids[0], ids[1])
    rest = world.client.get(f"/v1/files?limit=2&order=asc&after={ids[1]}").json
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[2:], False)
    assert world.client.get("/v1/files?purpose=batch_output").json["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=10001", "limit"), ("limit=x", "limit"), ("after=x", "after"), ("order=up", "order")],
)
def test_a_listing_s_query_is_checked(world: World, query: str, param: str) -> None:
    assert error(world.client.get(f"/v1/files?{query}"))[:2] == (400, param)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_is_begun_found_and_cancelled(world: World) -> None:
    answer = world.begin(metadata={"for": "me"})
    batch = strict(Batch, answer.data)
    assert (answer.status_code, batch.status, batch.endpoint) == (200, "validating", "/v1/embeddings")
    assert (batch.completion_window, batch.expires_at) == ("24h", batch.created_at + 86400)
    assert batch.metadata == {"for": "me"}
    assert world.client.get(f"/v1/batches/{batch.id}").json == answer.json
    for _ in range(2):
        cancelled = strict(Batch, world.client.post(f"/v1/batches/{batch.id}/cancel").data)
        assert cancelled.status == "cancelling"
        assert cancelled.cancelling_at is not None


def test_a_window_of_another_length_is_kept_to(world: World) -> None:
    batch = world.begin(completion_window="90m").json
    assert batch["expires_at"] == batch["created_at"] + 5400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_file_id": ...}, "input_file_id"),
        ({"input_file_id": NOBODY}, "input_file_id"),
        ({"input_file_id": "../../etc/passwd"}, "input_file_id"),
        ({"input_file_id": 5}, "input_file_id"),
        ({"endpoint": ...}, "endpoint"),
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": ...}, "completion_window"),
        ({"completion_window": "1d"}, "completion_window"),
        ({"completion_window": 24}, "completion_window"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"x" * 65: "a"}}, "metadata." + "x" * 65),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
    ],
    ids=str,
)
def test_a_batch_that_is_asked_wrongly_names_its_field_and_is_not_begun(
    world: World, fields: dict[str, Any], param: str
) -> None:
    assert error(world.begin(**fields))[:2] == (400, param)
    assert world.batches.kept == {}


def test_what_another_batch_has_left_is_no_input(world: World) -> None:
    left = File(new_file_id(1.0), "out.jsonl", "batch_output", 1, 1)
    with world.archive.partial() as (path, _):
        world.archive.keep(left, path)
    assert "must be 'batch'" in error(world.begin(input_file_id=left.id))[2]


@pytest.mark.parametrize(("method", "path"), [("GET", "{}"), ("POST", "{}/cancel")])
@pytest.mark.parametrize("name", ["batch_" + "0" * 32, "x"])
def test_a_batch_that_is_not_there_is_not_found(world: World, method: str, path: str, name: str) -> None:
    answer = world.client.open(f"/v1/batches/{path.format(name)}", method=method)
    assert error(answer) == (404, "id", f"No batch found with id '{name}'.")


def test_a_batch_that_is_over_cannot_be_cancelled(world: World) -> None:
    batch_id = world.begin().json["id"]
    for status in ("finalizing", "completed", "failed", "expired", "cancelled"):
        world.batches.put(batch_id, status=status)
        answer = world.client.post(f"/v1/batches/{batch_id}/cancel")
        assert error(answer)[::2] == (409, f"Cannot cancel a batch with status '{status}'.")


def test_the_file_of_a_batch_that_is_not_over_cannot_be_deleted(world: World) -> None:
    batch = world.begin().json
    path = f"/v1/files/{batch['input_file_id']}"
    answer = world.client.delete(path)
    assert error(answer)[0] == 409
    assert batch["id"] in answer.json["error"]["message"]
    world.batches.put(batch["id"], status="completed")
    assert world.client.delete(path).status_code == 200


def test_batches_are_listed_page_by_page_the_newest_first(world: World) -> None:
    ids = sorted((world.begin().json["id"] for _ in range(3)), reverse=True)
    page = world.client.get("/v1/batches?limit=2").json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    rest = world.client.get(f"/v1/batches?after={page['last_id']}").json
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[2:], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=x"])
def test_a_listing_of_batches_checks_its_query(world: World, query: str) -> None:
    assert error(world.client.get(f"/v1/batches?{query}"))[:2] == (400, query.split("=")[0])

"""Batches on a live cluster with the official client: every line answered once, whatever dies in between."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import openai
import psutil
import pytest
import tiny
from cluster.herd import Herd, Process, wait_for
from openai.types import Batch, FileObject
from openai_strict import strict
from tropilla.api.batches import book
from tropilla.api.batches.book import Book, Held
from tropilla.api.batches.records import ENDED, Asked, new_batch_id
from tropilla.common import names

CHAT = "/v1/chat/completions"


def client_of(herd: Herd, *, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="mine", max_retries=retries)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """A model that writes and one that embeds, behind two API processes."""
    folder = tmp_path_factory.mktemp("batches")
    herd = Herd(folder, context=512, max_batch_lines=50)
    try:
        herd.start_worker(slots=4, ready=False)
        herd.start_worker(slots=1, model=f"bert={tiny.Encoder().write(folder / 'bert.gguf')}", ready=False)
        herd.start_api(api_processes=2)
        wait_for(lambda: len(herd.bus.catalogue().models) == 2, "both models")
        yield herd
    finally:
        herd.stop()


@pytest.fixture
def client(small: Herd) -> Iterator[openai.OpenAI]:
    with client_of(small) as client:
        yield client


def line(custom_id: str, url: str, **body: Any) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode() + b"\n"


def begun(client: openai.OpenAI, url: str, lines: list[bytes], **more: Any) -> Batch:
    file = client.files.create(file=("in.jsonl", b"".join(lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint=url,
        **{"completion_window": "24h", **more},  # type: ignore[arg-type]
    )


def ended(client: openai.OpenAI, batch: Batch, seconds: float = 30) -> Batch:
    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ENDED else None

    found = wait_for(look, f"the end of {batch.id}", seconds)
    assert isinstance(found, Batch)
    return found


def left(client: openai.OpenAI, file_id: str | None) -> list[Any]:
    return [json.loads(each) for each in client.files.content(file_id).text.splitlines()] if file_id else []


# -- what is asked and answered ----------------------------------------------------------------------------------------

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def test_every_endpoint_answers_its_lines_as_its_route_would(client: openai.OpenAI) -> None:
    asked: dict[str, dict[str, Any]] = {
        CHAT: {"model": "pocket", "messages": MESSAGES, "max_tokens": 5, "temperature": 0},
        "/v1/completions": {"model": "pocket", "prompt": "Once", "max_tokens": 5, "temperature": 0, "n": 2},
        "/v1/responses": {"model": "pocket", "input": "Hello", "max_output_tokens": 5, "temperature": 0},
        "/v1/embeddings": {"model": "bert", "input": ["a cat", "a dog"]},
    }
    batches = {url: begun(client, url, [line("good", url, **body)]) for url, body in asked.items()}
    for url, batch in batches.items():
        done = ended(client, batch)
        assert (done.status, done.error_file_id) == ("completed", None)
        assert done.usage is not None
        assert done.usage.input_tokens > 0
        (answer,) = left(client, done.output_file_id)
        assert (answer["custom_id"], answer["error"]) == ("good", None)
        response = answer["response"]
        assert response["status_code"] == 200
        assert answer["id"].removeprefix("batch_req_") == response["request_id"].removeprefix("req_")
        over_http = client.post(url.removeprefix("/v1"), body=asked[url], cast_to=object)
        assert without_ids(response["body"]) == without_ids(over_http)


def without_ids(value: Any) -> Any:
    """What two answers to the same question have in common."""
    if isinstance(value, dict):
        own = {"id", "created", "created_at", "completed_at", "input_tokens_details", "prompt_tokens_details"}
        return {key: without_ids(each) for key, each in value.items() if key not in own and key not in ("seed",)}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


def test_a_batch_is_told_as_the_sdk_has_it_and_lines_that_are_refused_have_a_file_of_their_own(
    small: Herd, client: openai.OpenAI
) -> None:
    good = {"model": "pocket", "messages": MESSAGES, "max_tokens": 3}
    lines = [
        line("good", CHAT, **good),
        line("hot", CHAT, **{**good, "temperature": 9}),
        line("streamed", CHAT, **good, stream=True),
        line("long", CHAT, **{**good, "messages": [{"role": "user", "content": "word " * 2000}]}),
    ]
    batch = begun(client, CHAT, lines, metadata={"for": "a test"})
    done = ended(client, batch)
    raw = client.batches.with_raw_response.retrieve(batch.id)
    assert raw.headers["x-request-id"].startswith("req_")
    assert strict(Batch, raw.content) == done
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 4, "completed": 1, "failed": 3}
    assert done.metadata == {"for": "a test"}
    assert None not in (done.in_progress_at, done.finalizing_at, done.completed_at)
    assert [each["custom_id"] for each in left(client, done.output_file_id)] == ["good"]
    errors = {each["custom_id"]: each["response"] for each in left(client, done.error_file_id)}
    assert [each["status_code"] for each in errors.values()] == [400, 400, 400]
    assert [each["body"]["error"]["param"] for each in errors.values()] == ["temperature", "stream", "messages"]
    file = strict(FileObject, client.files.with_raw_response.retrieve(done.output_file_id or "").content)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert batch.id in [each.id for each in client.batches.list(limit=1)]
    assert not list(small.folder.glob(f"files/batches/{batch.id}"))
    # A batch's requests go last, in the ledger as well; its journals are let go of.
    rows = [fields for _, fields in small.redis.xrevrange(names.LEDGER_KEY, count=20)]
    assert b"batch" in {fields[b"class"] for fields in rows}
    request_id = left(client, done.output_file_id)[0]["response"]["request_id"].removeprefix("req_")
    assert not small.redis.exists(names.journal_key(request_id))


def test_a_file_that_is_wrong_fails_with_the_numbers_of_its_lines(client: openai.OpenAI) -> None:
    lines = [line("a", CHAT), b"{\n", line("a", CHAT), line("b", "/v1/completions")]
    done = ended(client, begun(client, CHAT, lines))
    assert (done.status, done.output_file_id, done.error_file_id) == ("failed", None, None)
    assert done.errors is not None
    told = [(each.line, each.code, each.param) for each in done.errors.data or []]
    assert told == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "mismatched_url", "url"),
    ]
    many = ended(client, begun(client, CHAT, [line(str(number), CHAT) for number in range(51)]))
    assert many.errors is not None
    assert [each.code for each in many.errors.data or []] == ["too_many_requests"]


def test_an_upload_is_refused_in_the_client_s_own_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="files for 'assistants' are not served"):
        client.files.create(file=io.BytesIO(b"x"), purpose="assistants")
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.content("file-" + "0" * 32)
    with pytest.raises(openai.BadRequestError, match="there is no file"):
        client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")


def test_a_cancelled_batch_ends_at_once_and_says_which_lines_were_not_answered(
    small: Herd, client: openai.OpenAI
) -> None:
    """The first line is short, the others fill their context."""
    asked = {"model": "pocket", "prompt": "Once upon a time", "ignore_eos": True}
    lines = [line("short", "/v1/completions", **asked, max_tokens=1)]
    lines += [line(f"long {number}", "/v1/completions", **asked, max_tokens=500) for number in range(20)]
    batch = begun(client, "/v1/completions", lines)
    wait_for(lambda: (found := client.batches.retrieve(batch.id).request_counts) and found.completed, "an answer")
    with pytest.raises(openai.ConflictError, match=batch.id):
        client.files.delete(batch.input_file_id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = ended(client, batch)
    assert (done.status, done.cancelled_at is not None) == ("cancelled", True)
    answered = [each["custom_id"] for each in left(client, done.output_file_id)]
    errors = left(client, done.error_file_id)
    assert "short" in answered
    assert len(answered) + len(errors) == len(lines)
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'cancelled'"):
        client.batches.cancel(batch.id)
    assert client.files.delete(batch.input_file_id).deleted
    # What was under way has left its worker.
    wait_for(lambda: not list(small.redis.scan_iter(names.lease_key("*"))), "nothing to run any more")


# -- what dies in between ----------------------------------------------------------------------------------------------

LINES = 60


def foreman(herd: Herd, batch: Batch) -> psutil.Process:
    """The API process that runs the batch: it writes the batch's answers."""

    def look() -> psutil.Process | None:
        for api in (process for process in herd.processes if process.name == "api"):
            for child in psutil.Process(api.pid).children():
                if child.status() != psutil.STATUS_ZOMBIE and any(batch.id in each.path for each in child.open_files()):
                    return child
        return None

    found = wait_for(look, "a process that runs the batch")
    assert isinstance(found, psutil.Process)
    return found


def holder(herd: Herd) -> Process:
    """A worker that runs something."""

    def look() -> bytes | None:
        return next(
            (value for key in herd.redis.scan_iter(names.lease_key("*")) if (value := herd.redis.get(key))), None
        )

    value = wait_for(look, "a worker at work")
    return herd.processes[int(value.decode().split("@")[0].removeprefix("test-"))]


def done_at_least(client: openai.OpenAI, batch: Batch, count: int) -> Callable[[], bool]:
    """Whether so many lines have an answer."""

    def look() -> bool:
        found = client.batches.retrieve(batch.id).request_counts
        return found is not None and found.completed + found.failed >= count

    return look


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Herd]:
    """Two workers of one model, two API processes."""
    quick = {"threads": 1, "slots": 2, "lease_seconds": 1, "stall_seconds": 0.3}
    herd = Herd(tmp_path_factory.mktemp("pair"), model=endless_model, context=8192, **quick)
    try:
        for _ in range(2):
            herd.start_worker(ready=False)
        herd.start_api(api_processes=2)
        wait_for(lambda: len([each for each in herd.bus.catalogue().workers if each.state == "ready"]) == 2, "both")
        yield herd
    finally:
        herd.stop()


def many(client: openai.OpenAI) -> Batch:
    asked = {"model": "endless", "prompt": "a", "max_tokens": 10, "temperature": 0}
    return begun(client, "/v1/completions", [line(f"c{number}", "/v1/completions", **asked) for number in range(LINES)])


def each_once(client: openai.OpenAI, done: Batch) -> None:
    assert (done.status, done.error_file_id) == ("completed", None)
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": LINES, "completed": LINES, "failed": 0}
    answers = left(client, done.output_file_id)
    assert [each["custom_id"] for each in answers] == [f"c{number}" for number in range(LINES)]
    assert {each["response"]["body"]["usage"]["completion_tokens"] for each in answers} == {10}


def test_an_api_process_that_was_frozen_changes_nothing_any_more(pair: Herd) -> None:
    with client_of(pair, retries=5) as client:
        batch = many(client)
        wait_for(done_at_least(client, batch, 5), "some answers")
        frozen = foreman(pair, batch)
        frozen.suspend()
        try:
            kept = Book(pair.bus)
            wait_for(lambda: (found := kept.find(batch.id)) and found.ended, "the other process to end it")
            before = pair.redis.hgetall(names.batch_key(batch.id))
        finally:
            frozen.resume()
        api = next(process for process in pair.processes if process.name == "api")
        wait_for(lambda: "goes on at another process" in api.log, "the frozen one to see it")
        each_once(client, ended(client, batch))
        assert pair.redis.hgetall(names.batch_key(batch.id)) == before


def test_every_line_is_answered_once_though_its_api_process_and_a_worker_are_killed(pair: Herd) -> None:
    with client_of(pair, retries=5) as client:
        batch = many(client)
        wait_for(done_at_least(client, batch, 5), "some answers")
        holder(pair).kill()
        foreman(pair, batch).send_signal(signal.SIGKILL)
        each_once(client, ended(client, batch))
    assert pair.redis.hget(names.batch_key(batch.id), "term") == b"2"


# -- who may say how far it is -----------------------------------------------------------------------------------------


@pytest.fixture
def kept(herd: Herd) -> Book:
    return Book(herd.bus)


def asked(now: float = 1_700_000_000.0) -> Asked:
    return Asked(new_batch_id(now), CHAT, "file-x", "24h", 1, 2, 3, {"a": "b"})


def took(kept: Book, batch_id: str) -> Held:
    found = kept.take(batch_id)
    assert found is not None
    return found


def test_a_batch_is_whoever_took_it_last(kept: Book) -> None:
    """Of ids that the API of this herd does not run: they are taken here at once, and ended."""
    batch = kept.begin(asked())
    batch_id = batch.asked.id
    first = took(kept, batch_id)
    assert kept.write(first, book.reached("in_progress", 5), during=("validating",)) in ("in_progress", None)
    second = took(kept, batch_id)
    assert kept.write(first, {"completed": 9}, during=("validating", "in_progress")) is None
    status = kept.write(second, book.reached("failed", 6), during=("validating", "in_progress"))
    found = kept.find(batch_id)
    assert found is not None
    assert (found.tally.completed, found.asked) == (0, batch.asked)
    assert status in ("failed", None)

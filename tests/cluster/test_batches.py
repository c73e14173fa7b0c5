"""Batches on a live cluster with the official client: every line answered once, whatever dies in between."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from itertools import islice
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
from tropilla.api.batches.records import ENDED, Asked, Objection, Status, Tally, Tokens, new_batch_id
from tropilla.common import names

CHAT = "/v1/chat/completions"
LINES = 60


def client_of(herd: Herd, *, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="mine", max_retries=retries)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """Two workers of a model that writes and one of a model that embeds, behind two API processes that soon see a loss."""
    folder = tmp_path_factory.mktemp("batches")
    quick = {"threads": 1, "slots": 2, "lease_seconds": 1, "stall_seconds": 0.3}
    herd = Herd(folder, context=512, max_batch_lines=LINES, **quick)
    try:
        for model in ("", "", f"bert={tiny.Encoder().write(folder / 'bert.gguf')}"):
            herd.start_worker(model=model, ready=False)
        herd.start_api(api_processes=2)
        wait_for(lambda: len([each for each in herd.bus.catalogue().workers if each.state == "ready"]) == 3, "all")
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
    many = ended(client, begun(client, CHAT, [line(str(number), CHAT) for number in range(LINES + 1)]))
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


def many(client: openai.OpenAI) -> Batch:
    asked = {"model": "pocket", "prompt": "Once", "max_tokens": 30, "temperature": 0, "ignore_eos": True}
    return begun(client, "/v1/completions", [line(f"c{number}", "/v1/completions", **asked) for number in range(LINES)])


def each_once(client: openai.OpenAI, done: Batch) -> None:
    assert (done.status, done.error_file_id) == ("completed", None)
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": LINES, "completed": LINES, "failed": 0}
    answers = left(client, done.output_file_id)
    assert [each["custom_id"] for each in answers] == [f"c{number}" for number in range(LINES)]
    assert {each["response"]["body"]["usage"]["completion_tokens"] for each in answers} == {30}


def test_an_api_process_that_was_frozen_changes_nothing_any_more(small: Herd) -> None:
    with client_of(small, retries=5) as client:
        batch = many(client)
        wait_for(done_at_least(client, batch, 5), "some answers")
        frozen = foreman(small, batch)
        frozen.suspend()
        try:
            kept = Book(small.bus)
            wait_for(lambda: (found := kept.find(batch.id)) and found.ended, "the other process to end it")
            before = small.redis.hgetall(names.batch_key(batch.id))
        finally:
            frozen.resume()
        api = next(process for process in small.processes if process.name == "api")
        wait_for(lambda: "goes on at another process" in api.log, "the frozen one to see it")
        each_once(client, ended(client, batch))
        assert small.redis.hgetall(names.batch_key(batch.id)) == before


def test_every_line_is_answered_once_though_its_api_process_and_a_worker_are_killed(small: Herd) -> None:
    with client_of(small, retries=5) as client:
        batch = many(client)
        wait_for(done_at_least(client, batch, 5), "some answers")
        holder(small).kill()
        foreman(small, batch).send_signal(signal.SIGKILL)
        each_once(client, ended(client, batch))
    assert small.redis.hget(names.batch_key(batch.id), "term") == b"2"


# -- who may say how far it is: the book on a real Redis, where no process runs batches ---------------------------------

RUNNING: tuple[Status, ...] = ("validating", "in_progress")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    herd = Herd(tmp_path_factory.mktemp("bare"))
    yield herd
    herd.stop()


@pytest.fixture
def kept(bare: Herd) -> Book:
    return Book(bare.bus)


def asked(now: float = 1_700_000_000.0) -> Asked:
    return Asked(new_batch_id(now), CHAT, "file-x", "24h", 1, 2, 3, {"a": "b"}, "key")


def took(kept: Book, batch_id: str) -> Held:
    found = kept.take(batch_id)
    assert found is not None
    return found


def found(kept: Book, batch_id: str) -> Any:
    batch = kept.find(batch_id)
    assert batch is not None
    return batch


def test_a_batch_is_whose_who_took_it_last(kept: Book) -> None:
    wanted = asked()
    assert kept.begin(wanted) == found(kept, wanted.id)
    first = took(kept, wanted.id)
    assert kept.write(first, book.reached("in_progress", 5), during=RUNNING) == "in_progress"
    counted = book.progress(first.term, 90, Tally(3, 1, 1, Tokens(4, 3, 2, 1)))
    assert kept.write(first, counted, during=RUNNING) == "in_progress"
    second = took(kept, wanted.id)
    assert (second.batch, second.counted) == (found(kept, wanted.id), {first.term: 90})
    assert kept.write(first, book.progress(first.term, 500, Tally(3, 3, 0)), during=RUNNING) is None
    assert found(kept, wanted.id).tally == Tally(3, 1, 1, Tokens(4, 3, 2, 1))
    assert took(kept, wanted.id).counted == {first.term: 90}


def test_what_is_written_in_another_status_than_was_known_is_not(kept: Book) -> None:
    wanted = asked()
    kept.begin(wanted)
    held = took(kept, wanted.id)
    assert kept.cancel(wanted.id, now=7) == "validating"
    assert kept.write(held, book.reached("in_progress", 8), during=("validating",)) == "cancelling"
    batch = found(kept, wanted.id)
    assert (batch.status, batch.times) == ("cancelling", {"cancelling": 7})
    # Whoever asks again changes nothing.
    assert kept.cancel(wanted.id, now=9) == "cancelling"
    assert found(kept, wanted.id) == batch


def test_a_batch_that_is_over_is_told_and_taken_by_nobody(kept: Book) -> None:
    wanted = asked()
    kept.begin(wanted)
    assert wanted.id in kept.open()
    held = took(kept, wanted.id)
    fields = {**book.reached("failed", 6), **book.objected([Objection("empty_file", "It is empty.", None, 4)])}
    assert kept.write(held, fields, during=RUNNING) == "failed"
    assert wanted.id not in kept.open()
    assert kept.take(wanted.id) is None
    assert found(kept, wanted.id).objections == (Objection("empty_file", "It is empty.", None, 4),)
    assert kept.cancel(wanted.id, now=9) == "failed"


def test_a_batch_that_nobody_has_begun_is_not_there(kept: Book) -> None:
    nobody = new_batch_id(5.0)
    assert (kept.find(nobody), kept.cancel(nobody, now=1), kept.take(nobody)) == (None, None, None)
    assert kept.find(nobody) is None


def test_a_listing_goes_on_behind_an_id_and_leaves_out_what_is_gone(bare: Herd, kept: Book) -> None:
    ids = [kept.begin(asked(2_000_000_000.0 + number)).asked.id for number in range(4)]
    assert [each.asked.id for each in islice(kept.listing(""), 2)] == [ids[3], ids[2]]
    assert [each.asked.id for each in islice(kept.listing(ids[2]), 1)] == [ids[1]]
    # As after its month.
    bare.redis.delete(names.batch_key(ids[2]))
    assert [each.asked.id for each in islice(kept.listing(""), 3)] == [ids[3], ids[1], ids[0]]

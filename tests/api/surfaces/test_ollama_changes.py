"""Pull, push, copy, delete: bodies -> errands or refusals, words -> lines (sections 2 and 10, edge cases 21 to 23)."""

from __future__ import annotations

import dataclasses
from typing import Any

import ollama
import orjson
import pytest
from ollama_scene import LIPS, POCKET, surroundings
from tropilla.api.surface import JSON, Chore, ErrandCall, Reply, Surroundings
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.common.catalogue import Definition, Trouble, Worker, catalogue
from tropilla.common.errands import Copy, Delete, Done, Progress, Pull, Refused, Word
from tropilla.common.errors import TropillaError
from tropilla.common.recipes import Recipe

#: A worker's own, one that was fetched, one that was made here, one that is on its way.
FETCHED = dataclasses.replace(LIPS, name="Llama3:latest")
MADE = dataclasses.replace(LIPS, name="org/Bard:q4")
STORED = (
    Definition(FETCHED, Recipe("l", ()), source="ollama://llama3"),
    Definition(MADE, Recipe("b", ())),
)
KNOWN = catalogue(
    (Worker("a", "cpu", "ready", 8, POCKET), Worker("b", "cpu", "idle", 8, None)),
    STORED,
    {"half:latest": Trouble("downloading", "half is on its way")},
)
AROUND: Surroundings = dataclasses.replace(surroundings(), catalogue=KNOWN)


def route(path: str) -> Chore:
    (found,) = [each for each in OLLAMA.routes if isinstance(each, Chore) and each.path == path]
    return found


def parsed(path: str, body: JSON) -> ErrandCall | Reply:
    try:
        call = route(path).parse(body, AROUND)
    except TropillaError as error:
        return OLLAMA.fault(error)
    assert isinstance(call, ErrandCall | Reply)
    return call


def errand(path: str, body: JSON) -> Any:
    """The errand without its id."""
    call = parsed(path, body)
    assert isinstance(call, ErrandCall), call
    assert len(call.errand.id) == 32
    return dataclasses.replace(call.errand, id="")


def wrong(field: str, given: str = "number", kind: str = "string") -> str:
    return f"json: cannot unmarshal {given} into Go struct field {field} of type {kind}"


REFUSED: list[Any] = [
    # Section 2's table: a column for each route.
    pytest.param("/api/pull", None, 400, "invalid model name", id="pull-missing"),
    pytest.param("/api/pull", {"model": "^"}, 400, "invalid model name", id="pull-illegal"),
    pytest.param("/api/pull", {"model": 1}, 400, wrong("PullRequest.model"), id="pull-type"),
    pytest.param(
        "/api/pull", {"model": "x", "stream": 1}, 400, wrong("PullRequest.stream", kind="bool"), id="pull-how"
    ),
    pytest.param("/api/push", {}, 400, "model is required", id="push-missing"),
    pytest.param("/api/push", {"name": "^"}, 400, "invalid model name", id="push-illegal"),
    pytest.param("/api/delete", {}, 400, "model is required", id="delete-missing"),
    pytest.param("/api/delete", {"model": "^"}, 400, 'name "^" is invalid', id="delete-illegal"),
    pytest.param("/api/delete", {"model": "x"}, 404, "model 'x' not found", id="row-21-delete-unknown"),
    pytest.param(
        "/api/delete",
        {"model": "pocket"},
        400,
        'model "pocket" belongs to a worker that was started with it',
        id="delete-a-workers-own",
    ),
    pytest.param("/api/copy", {}, 400, 'source "" is invalid', id="copy-missing"),
    pytest.param("/api/copy", {"source": "^", "destination": "x"}, 400, 'source "^" is invalid', id="copy-illegal"),
    pytest.param("/api/copy", {"source": "pocket"}, 400, 'destination "" is invalid', id="copy-no-destination"),
    pytest.param(
        "/api/copy", {"source": "pocket", "destination": "a//b"}, 400, 'destination "a//b" is invalid', id="copy-where"
    ),
    pytest.param("/api/copy", {"source": "x", "destination": "y"}, 404, 'model "x" not found', id="copy-unknown"),
    pytest.param(
        "/api/copy",
        {"source": "llama3", "destination": "Pocket"},
        400,
        'model "pocket" belongs to a worker that was started with it',
        id="copy-onto-a-workers-own",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "text"), REFUSED)
def test_each_route_refuses_in_its_own_words(path: str, body: JSON, status: int, text: str) -> None:
    reply = parsed(path, body)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (status, {"error": text})


LIBRARY = "ollama://registry.ollama.ai/library/"
ERRANDS: list[Any] = [
    pytest.param(
        "/api/pull",
        {"model": "mistral"},
        Pull("", LIBRARY + "mistral:latest", "mistral:latest"),
        id="pull-new",
    ),
    pytest.param(
        "/api/pull", {"name": "hf.co/o/r:Q4_0"}, Pull("", "hf.co/o/r:Q4_0", "hf.co/o/r:Q4_0"), id="pull-by-name"
    ),
    pytest.param(
        "/api/pull",
        {"model": "LLAMA3"},
        Pull("", LIBRARY + "LLAMA3:latest", "Llama3:latest"),
        id="row-22-pull",
    ),
    pytest.param(
        "/api/pull",
        {"model": "half"},
        Pull("", LIBRARY + "half:latest", "half:latest"),
        id="pull-again",
    ),
    pytest.param(
        "/api/pull",
        {"model": "http://localhost:5000/library/m", "insecure": True},
        Pull("", "http://localhost:5000/library/m:latest", "localhost-5000/library/m:latest", insecure=True),
        id="pull-from-a-port",
    ),
    pytest.param(
        "/api/pull",
        {"model": "h:5/n/f.gguf"},
        Pull("", "ollama://h:5/n/f.gguf:latest", "h-5/n/f.gguf:latest"),
        id="a-path",
    ),
    pytest.param(
        "/api/pull", {"model": "hf.co/o/r"}, Pull("", "hf.co/o/r", "hf.co/o/r:latest"), id="pull-from-the-hub"
    ),
    pytest.param("/api/delete", {"model": "llama3"}, Delete("", "Llama3:latest"), id="delete"),
    pytest.param(
        "/api/copy",
        {"source": "llama3", "destination": "h:5/n/m"},
        Copy("", "Llama3:latest", "h-5/n/m:latest"),
        id="copy-to-a-port",
    ),
    pytest.param("/api/delete", {"name": "ORG/bard:Q4"}, Delete("", "org/Bard:q4"), id="row-22-delete-in-any-case"),
    pytest.param("/api/delete", {"model": "half"}, Delete("", "half:latest"), id="delete-what-is-on-its-way"),
    pytest.param(
        "/api/copy",
        {"source": "llama3", "destination": "beefsteak"},
        Copy("", "Llama3:latest", "beefsteak:latest"),
        id="row-21-copy",
    ),
    pytest.param(
        "/api/copy",
        {"source": "pocket", "destination": "mine"},
        Copy("", "pocket", "mine:latest"),
        id="copy-a-workers-own",
    ),
    pytest.param(
        "/api/copy",
        {"source": "LLAMA3", "destination": "ORG/BARD:q4"},
        Copy("", "Llama3:latest", "org/Bard:q4"),
        id="row-22-copy-over-one-in-any-case",
    ),
]


@pytest.mark.parametrize(("path", "body", "expected"), ERRANDS)
def test_what_is_understood_is_the_stores_to_do(path: str, body: JSON, expected: Any) -> None:
    assert errand(path, body) == expected


def test_copying_a_model_onto_itself_does_nothing() -> None:
    assert parsed("/api/copy", {"source": "llama3", "destination": "Llama3:LATEST"}) == Reply(None)


def test_pulls_of_one_name_are_one_flight_and_other_errands_are_alone() -> None:
    one, other = (parsed("/api/pull", {"model": name}) for name in ("mistral", "library/Mistral:latest"))
    assert isinstance(one, ErrandCall)
    assert isinstance(other, ErrandCall)
    assert one.flight == other.flight != ""
    assert (one.stream, one.stops) == (True, True)
    copy = parsed("/api/copy", {"source": "llama3", "destination": "x"})
    assert isinstance(copy, ErrandCall)
    assert (copy.flight, copy.stops) == ("", False)


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/o/r/resolve/main/f.gguf",
        "https://example.com/models/f.gguf?token=secret",
        "http://127.0.0.1:8000/f.gguf",
        "http://127.0.0.1:8000/models/f.gguf",
        "hf://o/r/f.gguf",
        "huggingface://o/r/f.gguf",
    ],
)
def test_addresses_that_are_no_names_are_pulled_as_they_are_and_named_by_the_store(address: str) -> None:
    assert errand("/api/pull", {"model": address, "insecure": True}) == Pull("", address, insecure=True)
    one, same, other = (parsed("/api/pull", {"model": each}) for each in (address, address, f"{address}2"))
    assert isinstance(one, ErrandCall)
    assert isinstance(same, ErrandCall)
    assert isinstance(other, ErrandCall)
    assert one.flight == same.flight != other.flight
    assert "secret" not in one.flight


@pytest.mark.parametrize("path", ["/etc/passwd.gguf", "file:///etc/passwd.gguf", "../f.gguf", "^"])
def test_files_of_the_stores_machine_and_nonsense_are_no_addresses(path: str) -> None:
    refused = parsed("/api/pull", {"model": path})
    assert isinstance(refused, Reply)
    assert (refused.status, refused.body) == (400, {"error": "invalid model name"})


def ndjson(reply: Any) -> list[JSON]:
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in reply.body.splitlines()]


@pytest.mark.parametrize("name", ["pocket", "org/bard:q4"])
def test_what_came_from_nowhere_else_is_there_already(name: str) -> None:
    size = POCKET.size_bytes
    assert ndjson(parsed("/api/pull", {"model": name})) == [
        {"status": "pulling manifest"},
        {"status": f"pulling {'ab' * 6}", "digest": f"sha256:{'ab' * 32}", "total": size, "completed": size},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    assert parsed("/api/pull", {"model": name, "stream": False}) == Reply({"status": "success"})


def test_a_push_is_refused_in_a_stream_or_with_a_status() -> None:
    text = "pushing is not supported: this server has no registry to push to"
    assert ndjson(parsed("/api/push", {"model": "llama3"})) == [{"status": "retrieving manifest"}, {"error": text}]
    assert parsed("/api/push", {"model": "llama3", "stream": False}) == Reply({"error": text}, 501)


NO_FILE = Refused("unknown", "pull model manifest: file does not exist")
LAYER = Progress("pulling 0123456789ab", digest="sha256:" + "01" * 32, total=9, completed=4)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (Progress("pulling manifest"), {"status": "pulling manifest"}),
        (LAYER, {"status": LAYER.status, "digest": LAYER.digest, "total": 9, "completed": 4}),
        (dataclasses.replace(LAYER, completed=0), {"status": LAYER.status, "digest": LAYER.digest, "total": 9}),
        (Done("m", ("a warning",)), {"status": "success"}),
        (NO_FILE, {"error": NO_FILE.message}),
    ],
)
def test_a_word_is_a_line(word: Word, line: JSON) -> None:
    call = parsed("/api/pull", {"model": "mistral"})
    assert isinstance(call, ErrandCall)
    frames = route("/api/pull").frames
    assert frames is not None
    (frame,) = frames(call)(word)
    assert frame.data == line
    if "error" not in line:
        assert ollama.ProgressResponse.model_validate(frame.data).status


def test_success_is_told_once() -> None:
    call = parsed("/api/pull", {"model": "mistral"})
    frames = route("/api/pull").frames
    assert isinstance(call, ErrandCall)
    assert frames is not None
    said = [frame.data for word in (Progress("success"), Done()) for frame in frames(call)(word)]
    assert said == [{"status": "success"}]


CREATED = {"model": "x", "from": "pocket"}


@pytest.mark.parametrize(
    ("path", "body", "words", "status", "answer"),
    [
        pytest.param(
            "/api/pull", {"model": "x"}, (LAYER, Done("x")), 200, {"status": "success"}, id="row-23-last-wins"
        ),
        pytest.param(
            "/api/pull", {"model": "x"}, (NO_FILE,), 500, {"error": NO_FILE.message}, id="row-23-pull-unknown"
        ),
        pytest.param(
            "/api/pull", {"model": "x"}, (Refused("failed", "no room"),), 500, {"error": "no room"}, id="failed"
        ),
        pytest.param(
            "/api/pull",
            {"model": "x"},
            (Refused("forbidden", "no"),),
            403,
            {"error": "no"},
            id="forbidden",
        ),
        pytest.param("/api/delete", {"model": "llama3"}, (Done("x"),), 200, None, id="row-21-delete-known"),
        pytest.param(
            "/api/delete", {"model": "llama3"}, (Refused("unknown", "gone"),), 404, {"error": "gone"}, id="lost"
        ),
        pytest.param("/api/copy", {"source": "llama3", "destination": "x"}, (Done("x"),), 200, None, id="copied"),
        pytest.param("/api/create", CREATED, (Done("x"),), 200, {"status": "success"}, id="created"),
        pytest.param("/api/create", CREATED, (Refused("invalid", "no"),), 400, {"error": "no"}, id="bad"),
    ],
)
def test_without_a_stream_the_last_word_is_the_answer(
    path: str, body: JSON, words: tuple[Word, ...], status: int, answer: JSON
) -> None:
    call = parsed(path, body)
    assert isinstance(call, ErrandCall)
    reply = route(path).whole(call, words)
    assert (reply.status, reply.body) == (status, answer)
    # Plain `application/json`, as upstream has it here.
    assert reply.headers == {}

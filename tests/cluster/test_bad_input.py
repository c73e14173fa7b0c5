"""What a caller gets for a request, or an operator for a model, that cannot be served: over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from cluster.wire import get, post
from tropilla.workers import pocket

MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT = "/v1/chat/completions"
OPENAI_KEYS = {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        (CHAT, b"{", 400, "JSON"),
        (CHAT, b"", 400, "body"),
        (CHAT, b"[]", 400, "object"),
        (CHAT, {"model": "pocket"}, 400, "messages"),
        (CHAT, {"model": "pocket", "messages": MESSAGES, "temperature": "hot"}, 400, "temperature"),
        (CHAT, {"model": "pocket", "messages": MESSAGES, "n": 10**9}, 400, "'n'"),
        (CHAT, {"model": "pocket", "messages": MESSAGES, "max_tokens": -5}, 400, "max_tokens"),
        (CHAT, {"model": "nobody", "messages": MESSAGES}, 404, "nobody"),
        (CHAT, {"model": "pocket", "messages": MESSAGES, "tools": [{"type": "function"}]}, 400, "tools"),
        ("/v1/completions", {"model": "pocket", "prompt": [999_999]}, 400, "vocabulary"),
        ("/v1/completions", {"model": "pocket", "prompt": "x" * 100_000, "stream": True}, 400, "context"),
    ],
)
def test_openai_refusals(herd: Herd, path: str, body: Any, status: int, named: str) -> None:
    with post(herd, path, body) as answer:
        assert answer.status == status
        assert answer.request_id
        said = answer.json()
    assert set(said["error"]) >= OPENAI_KEYS
    assert named in said["error"]["message"]
    assert said["error_type"]


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/api/generate", b"{", 400, ""),
        ("/api/generate", b"", 400, "missing request body"),
        ("/api/generate", b"null", 404, "model '' not found"),
        ("/api/chat", b"{}", 400, "model is required"),
        ("/api/chat", {"model": "nobody", "messages": MESSAGES}, 404, "nobody"),
        ("/api/chat", {"model": "pocket", "messages": "Hi"}, 400, "messages"),
        ("/api/generate", {"model": "pocket", "prompt": "Hi", "options": {"num_ctx": "many"}}, 400, "num_ctx"),
        ("/api/generate", {"model": "pocket", "prompt": "Hi", "keep_alive": "60"}, 400, "missing unit"),
        ("/api/generate", {"model": "pocket", "prompt": "Hi", "think": True}, 400, "does not support thinking"),
    ],
)
def test_ollama_refusals(herd: Herd, path: str, body: Any, status: int, named: str) -> None:
    with post(herd, path, body) as answer:
        assert answer.status == status
        assert "application/json" in answer.headers["Content-Type"]
        said = answer.json()
    assert named in said["error"]


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", ""),
        ({}, "inputs"),
        ({"inputs": ""}, "`inputs` cannot be empty"),
        ({"inputs": "x", "parameters": {"temperature": 0}}, "`temperature` must be strictly positive"),
        ({"inputs": "x", "parameters": {"top_p": 1.0}}, "`top_p` must be > 0.0 and < 1.0"),
        (
            {"inputs": "x", "parameters": {"max_new_tokens": 100_000}},
            "`inputs` tokens + `max_new_tokens` must be <= 4096",
        ),
        ({"inputs": "x " * 9000, "parameters": {}}, "`inputs` must have less than"),
    ],
)
def test_tgi_refusals(herd: Herd, path: str, body: Any, text: str) -> None:
    with post(herd, path, body) as answer:
        assert answer.status == 422
        said = answer.json()
    assert said["error"].startswith("Input validation error: ")
    assert text in said["error"]
    assert said["error_type"] == "validation"


@pytest.mark.parametrize(
    ("path", "wrong_method"), [("/v1/nothing", CHAT), ("/api/nothing", "/api/chat"), ("/nothing", "/generate")]
)
def test_unknown_paths_and_wrong_methods_answer_in_the_dialect_of_the_path(
    herd: Herd, path: str, wrong_method: str
) -> None:
    with post(herd, path, {}) as answer:
        assert answer.status == 404
        assert answer.json()["error"]
    with get(herd, wrong_method) as answer:
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]
        assert answer.json()["error"]


@pytest.mark.parametrize(("path", "status"), [(CHAT, 413), ("/api/chat", 413), ("/generate", 413)])
def test_a_body_over_the_limit_is_refused(herd: Herd, path: str, status: int) -> None:
    with post(herd, path, b" " * (4 << 20) + b"{}") as answer:
        assert answer.status == status
        assert answer.json()["error"]


def test_no_refusal_has_cost_a_queue_slot_or_left_anything_behind(herd: Herd) -> None:
    assert herd.waiting("pocket.cpu") == 0


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.gguf"
    whole = pocket.path().read_bytes()
    contents = {
        "truncated": whole[: len(whole) // 2],
        "headless": whole[:100],
        "text": b"<html>not found</html>",
        "empty": b"",
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize("kind", ["missing", "truncated", "headless", "text", "empty"])
def test_a_worker_given_a_broken_file_says_which_and_why_and_leaves(make_herd: HerdMaker, kind: str) -> None:
    herd = make_herd()
    path = broken(herd.folder, kind)
    worker = herd.start_worker(ready=False, model=f"broken={path}")
    assert worker.wait(30) == 2
    (sentence,) = [line for line in worker.log.splitlines() if line.startswith("tropilla worker:")]
    assert str(path) in sentence
    herd.start_api()
    with post(herd, CHAT, {"model": "broken", "messages": MESSAGES}) as answer:
        assert answer.status == 404


def test_a_gpu_worker_without_a_gpu_refuses_to_start(make_herd: HerdMaker) -> None:
    worker = make_herd().start_worker(ready=False, flavour="gpu")
    assert worker.wait(30) == 2
    assert "a gpu worker needs a GPU" in worker.log

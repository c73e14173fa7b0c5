"""The document's operations, fuzzed by schemathesis over a real socket: no 5xx, and every answer as documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
import tiny
from cluster.herd import Herd, wait_for
from cluster.wire import get
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tropilla.api.admission import DEADLINE, DEADLINE_PATTERN
from tropilla.api.docs import described
from tropilla.api.docs.openapi import document
from tropilla.api.surfaces import DIALECTS
from tropilla.common.settings import Settings

#: Answers stay short, and a name that nobody serves still reaches the model.
LIMITS: dict[str, Any] = {"context": 128, "default_max_tokens": 8, "max_choices": 2, "unknown_model": "default"}
ASKED = Settings(**LIMITS)
DOCUMENT = document((*DIALECTS, described(DIALECTS)), ASKED)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
#: What is the store's to do, which would ask other machines for the names that are made up here; forms; and what is never
#: done.
CHANGES = re.compile(
    r"POST /api/(pull|push|create|copy)|POST /v1/models|.*/v1/models/.*(pull|import|stop)|POST /v1/files|GET .*/download/.*"
    r"|(DELETE|PATCH) .*"
)
OPERATIONS = [each for found in SCHEMA.get_all_operations() if not CHANGES.fullmatch((each := found.ok()).label)]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def told(operation: Any) -> str:
    """All that the document says of it but its name, its path, and who turns pages of other servers away there: aliases
    say the same, and whatever is below a model's root.
    """
    said = DOCUMENT["paths"][operation.path][operation.method]
    responses = {status: answer for status, answer in said["responses"].items() if status != "403"}
    kept = {key: value for key, value in said.items() if key not in ("operationId", "parameters")}
    return json.dumps({**kept, "responses": responses})


#: Aliases are asked only their example.
DIFFERENT = list({told(operation): operation for operation in reversed(OPERATIONS)}.values())
QUESTIONS = [
    each for each in DIFFERENT if each.method == "post" and "requestBody" in DOCUMENT["paths"][each.path][each.method]
]
#: In all, some 40 ms each; a new route takes its share.
CASES = 700
#: The same cases in every run, and nothing kept for the next.
SAME = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=max(CASES // (3 * len(QUESTIONS)), 5),
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
each_operation = pytest.mark.parametrize("operation", DIFFERENT, ids=lambda operation: operation.label)
#: The models here are their workers' own, whose settings nobody changes; and there is no file for a batch.
each_changeable = pytest.mark.parametrize(
    "operation",
    [each for each in QUESTIONS if not each.path.endswith(("/start", "/batches"))],
    ids=lambda operation: operation.label,
)
each_question = pytest.mark.parametrize("operation", QUESTIONS, ids=lambda operation: operation.label)


def example_of(operation: Any) -> dict[str, Any]:
    """Empty for a route that does well without a body."""
    told = DOCUMENT["paths"][operation.path]["post"].get("requestBody", {"content": {"application/json": {}}})
    example: dict[str, Any] = told["content"]["application/json"].get("example", {})
    return example


@pytest.fixture(scope="module")
def small_herd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    folder = tmp_path_factory.mktemp("small")
    herd = Herd(folder, **LIMITS)
    try:
        herd.start_worker(slots=4, ready=False)
        # OpenAI's route embeds with nothing that was made to write.
        herd.start_worker(slots=1, model=f"bert={tiny.Encoder().write(folder / 'bert.gguf')}")
        wait_for(lambda: len(herd.bus.catalogue().models) == 2, "both models")
        herd.start_api()
        yield herd
    finally:
        herd.stop()


def ask(herd: Herd, case: schemathesis.Case) -> Any:
    """The answer, as documented."""
    # What is wanted within a few milliseconds is a 504, as it should be, and no failure of the server's.
    if case.headers and re.fullmatch(DEADLINE_PATTERN, str(case.headers.get(DEADLINE, "")).strip()):
        del case.headers[DEADLINE]
    response = case.call(base_url=herd.base_url, timeout=30)
    case.validate_response(response, checks=CHECKS)
    check_items(case, response)
    return response


def check_items(case: schemathesis.Case, response: Any) -> None:
    """OpenAPI 3.1 has no words for the items of a stream, so schemathesis reads none."""
    if response.status_code != 200:
        return
    responses = DOCUMENT["paths"][case.path][case.method.lower()]["responses"]
    media = responses["200"]["content"][response.headers["content-type"][0].partition(";")[0]]
    if "x-item" not in media:
        return
    validator = jsonschema_rs.validator_for({**media["x-item"], "components": DOCUMENT["components"]})
    items = list(items_of(response.content))
    assert items
    for item in items:
        validator.validate(item)
        broken = item != "[DONE]" and ("error" in item or item.get("type") in ("error", "response.failed"))
        assert not broken, f"a stream that had begun ended with {item}"


def items_of(body: bytes) -> Iterator[Any]:
    """Every SSE or NDJSON object."""
    for line in body.splitlines():
        data = line.removeprefix(b"data:").strip()
        if data and not data.startswith((b":", b"event:", b"id:")):
            yield "[DONE]" if data == b"[DONE]" else json.loads(data)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_operation_answers_its_example(small_herd: Herd, operation: Any) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method]
    variables = [variable["name"] for variable in described["parameters"] if variable.get("in") == "path"]
    body = {"body": example_of(operation), "media_type": "application/json"} if operation.method == "post" else {}
    # Every variable is a model's name.
    name = "bert" if operation.path.endswith("/embeddings") else "pocket"
    case = operation.Case(path_parameters=dict.fromkeys(variables, name), **body)
    # No stream, task, file or batch is called like a model, and the example's file is not there.
    expected = 404 if re.search(r"/streams/|\{task\}|/files/|/batches/", operation.path) else 200
    if operation.label == "POST /v1/batches":
        expected = 400
    assert ask(small_herd, case).status_code == expected


@each_operation
def test_what_the_document_allows(small_herd: Herd, operation: Any) -> None:
    @SAME
    @hypothesis.given(operation.as_strategy())
    def allowed(case: schemathesis.Case) -> None:
        ask(small_herd, case)

    allowed()


@each_question
def test_what_the_document_does_not_allow(small_herd: Herd, operation: Any) -> None:
    @SAME
    @hypothesis.given(operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def forbidden(case: schemathesis.Case) -> None:
        ask(small_herd, case)

    forbidden()


@each_changeable
def test_the_example_with_some_of_what_is_allowed_beside_it(small_herd: Herd, operation: Any) -> None:
    """Of bodies out of thin air few reach the model; most of these do."""
    example = example_of(operation)
    answered = []

    @SAME
    @hypothesis.given(operation.as_strategy(), strategies.booleans(), strategies.data())
    def extended(case: schemathesis.Case, stream: bool, data: Any) -> None:
        names = sorted(set(case.body) - set(example))
        kept = data.draw(strategies.sets(strategies.sampled_from(names), max_size=3)) if names else set()
        case.body = {**example, **{name: case.body[name] for name in sorted(kept)}, "stream": stream}
        response = ask(small_herd, case)
        if response.status_code == 200:
            answered.append(response.headers["content-type"][0].partition(";")[0])

    extended()
    assert len(answered) > SAME.max_examples / 5
    documented = DOCUMENT["paths"][operation.path]["post"]["responses"]["200"]["content"]
    assert set(answered) == set(documented)


@pytest.mark.parametrize("path", ["/openapi.json", "/api-doc/openapi.json"])
def test_the_document_that_was_fuzzed_is_the_one_that_is_served(small_herd: Herd, path: str) -> None:
    with get(small_herd, path) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == DOCUMENT


def test_people_get_a_page(small_herd: Herd) -> None:
    with get(small_herd, "/docs") as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "/v1/chat/completions" in answer.text()


def test_nothing_broke_behind_the_answers(small_herd: Herd) -> None:
    for process in small_herd.processes:
        assert process.alive, process.log
        assert "Traceback" not in process.log

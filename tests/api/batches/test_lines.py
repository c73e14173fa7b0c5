"""What a batch's lines ask, what is wrong with a file of them, and what is written for each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tropilla.api.batches.lines import (
    ENVELOPE_BYTES,
    MAX_CUSTOM_ID,
    MOST_OBJECTIONS,
    Line,
    Review,
    answered,
    body_of,
    failed,
    request_id,
    unanswered,
    window_seconds,
)
from tropilla.api.batches.records import new_batch_id, new_file_id

URL = "/v1/chat/completions"
BATCH = "batch_" + "0" * 32


def entry(**fields: Any) -> bytes:
    told = {"custom_id": "a", "method": "POST", "url": URL, "body": {"model": "m"}, **fields}
    return json.dumps({name: value for name, value in told.items() if value is not ...}).encode() + b"\n"


def review(*lines: bytes, max_lines: int = 10, max_body_bytes: int = 1000) -> Review:
    found = Review(URL, max_lines=max_lines, max_body_bytes=max_body_bytes)
    start = 0
    for number, data in enumerate(lines, start=1):
        found.see(number, start, data[: found.longest])
        start += len(data)
    found.done()
    return found


def test_each_line_is_known_by_its_number_and_found_at_its_place() -> None:
    first, second = entry(custom_id="x"), entry(custom_id="y").rstrip(b"\n")
    found = review(first, b"\n", b"   \r\n", second)
    assert found.objections == []
    assert found.lines == [
        Line(1, "x", 0, len(first)),
        Line(4, "y", len(first) + 6, len(second)),
    ]
    assert body_of(second) == {"model": "m"}


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{\n", "invalid_json_line", None),
        (b"[]\n", "invalid_json_line", None),
        (b"\xff\xfe\n", "invalid_json_line", None),
        (entry(custom_id=...), "missing_required_parameter", "custom_id"),
        (entry(custom_id=None), "missing_required_parameter", "custom_id"),
        (entry(method=...), "missing_required_parameter", "method"),
        (entry(url=...), "missing_required_parameter", "url"),
        (entry(body=...), "missing_required_parameter", "body"),
        (entry(custom_id=5), "invalid_custom_id", "custom_id"),
        (entry(custom_id=""), "invalid_custom_id", "custom_id"),
        (entry(custom_id="x" * (MAX_CUSTOM_ID + 1)), "invalid_custom_id", "custom_id"),
        (entry(method="GET"), "invalid_method", "method"),
        (entry(url="/v1/completions"), "mismatched_url", "url"),
        (entry(body=[1]), "invalid_body", "body"),
        (entry(custom_id="first"), "duplicate_custom_id", "custom_id"),
        (entry(body={"prompt": "x" * (1000 + ENVELOPE_BYTES)}), "line_too_long", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_line_is_told_with_its_number(line: bytes, code: str, param: str | None) -> None:
    (told,) = review(entry(custom_id="first"), line).objections
    assert (told.code, told.param, told.line) == (code, param, 2)
    assert told.message


def test_a_custom_id_may_be_as_long_as_is_told() -> None:
    assert review(entry(custom_id="x" * MAX_CUSTOM_ID)).objections == []


def test_models_may_differ_from_line_to_line() -> None:
    lines = [entry(custom_id=str(number), body={"model": f"m{number}"}) for number in range(3)]
    assert len(review(*lines).lines) == 3


@pytest.mark.parametrize("lines", [(), (b"\n", b" \n")], ids=["nothing", "blanks"])
def test_a_file_without_requests_is_refused_as_a_whole(lines: tuple[bytes, ...]) -> None:
    (told,) = review(*lines).objections
    assert (told.code, told.line) == ("empty_file", None)


@pytest.mark.parametrize(("count", "codes"), [(10, []), (11, ["too_many_requests"])])
def test_as_many_lines_as_the_operator_lets(count: int, codes: list[str]) -> None:
    found = review(*(entry(custom_id=str(number)) for number in range(count)))
    assert [each.code for each in found.objections] == codes
    assert found.hopeless is bool(codes)


def test_after_enough_objections_nobody_looks_further() -> None:
    found = Review(URL, max_lines=10_000, max_body_bytes=1000)
    for number in range(MOST_OBJECTIONS):
        assert not found.hopeless
        found.see(number + 1, 0, b"{\n")
    assert found.hopeless


def test_a_request_has_the_same_id_wherever_it_is_asked_and_another_for_each_line_and_attempt() -> None:
    asked = [(BATCH, 1, 0), (BATCH, 1, 1), (BATCH, 2, 0), (BATCH, 11, 0), ("batch_" + "1" * 32, 1, 0)]
    ids = [request_id(*each) for each in asked]
    assert ids == [request_id(*each) for each in asked]
    assert len(set(ids)) == len(asked)
    assert all(len(each) == 32 for each in ids)


def test_an_answer_of_any_status_stands_beside_the_line_s_name() -> None:
    assert json.loads(answered("ab", "mine", 404, {"error": {}})) == {
        "id": "batch_req_ab",
        "custom_id": "mine",
        "response": {"status_code": 404, "request_id": "req_ab", "body": {"error": {}}},
        "error": None,
    }


def test_what_was_never_answered_says_why() -> None:
    line = Line(3, "mine", 0, 5)
    for how, code in (("expired", "batch_expired"), ("cancelled", "batch_cancelled")):
        told = json.loads(unanswered(BATCH, line, how))  # type: ignore[arg-type]
        assert (told["custom_id"], told["response"], told["error"]["code"]) == ("mine", None, code)
    told = json.loads(failed("ab", "mine", "request_timeout", "late"))
    assert told["error"] == {"code": "request_timeout", "message": "late"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86400),
        ("1h", 3600),
        ("90m", 5400),
        ("744h", 31 * 86400),
        ("745h", None),
        ("0h", None),
        ("24", None),
        ("h", None),
        ("", None),
        ("-1h", None),
        ("1.5h", None),
        ("24H", None),
        ("1d", None),
        ("٢h", None),
        ("999999m", None),
    ],
)
def test_a_window_is_whole_hours_or_minutes_of_a_month_at_the_most(text: str, seconds: int | None) -> None:
    assert window_seconds(text) == seconds


@pytest.mark.parametrize("make", [new_file_id, new_batch_id])
def test_ids_in_order_are_things_in_order(make: Any) -> None:
    ids = [make(1_000.0 + number / 1000) for number in range(50)]
    assert sorted(ids) == ids
    assert len({make(5.0) for _ in range(50)}) == 50

"""How lines look, what they are about, and what is left out of them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tropilla.common import logs
from tropilla.common.settings import Settings

SECRET = "xyzzyplugh"
LOG = logging.getLogger("tropilla.tests")


@pytest.fixture
def as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.handlers[:], root.level, ours.level
    # Whatever ran in this thread before.
    logs.bind()
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logs.bind()


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("as_before")
def test_a_json_line_has_these_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(Settings(log_format="json"), "worker", "cpu-1")
    LOG.info("loaded %s\nin two lines", "pocket")
    (line,) = said(capsys)
    assert line.pop("time").endswith("+00:00")
    assert line.pop("pid") > 0
    assert line == {
        "level": "info",
        "logger": "tropilla.tests",
        "message": "loaded pocket\nin two lines",
        "role": "worker",
        "process": "cpu-1",
    }


@pytest.mark.usefixtures("as_before")
def test_a_line_bears_the_request_that_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(Settings(log_format="json"), "api")
    logs.bind("req_a")
    LOG.info("one")
    with logs.about("req_b", "pocket"):
        LOG.info("two")
    thread = threading.Thread(target=LOG.info, args=("three",))
    thread.start()
    thread.join()
    LOG.info("four", extra={"facts": {"request_id": "req_c", "request": {"status": 200}}})
    found = [(line["message"], line.get("request_id"), line.get("model")) for line in said(capsys)]
    assert found == [("one", "req_a", None), ("two", "req_b", "pocket"), ("three", None, None), ("four", "req_c", None)]


@pytest.mark.usefixtures("as_before")
def test_lines_for_people_are_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(Settings(), "worker")
    LOG.warning("a lease is lost")
    assert capsys.readouterr().err == "WARNING tropilla.tests: a lease is lost\n"


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["info", "warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_other_peoples_libraries_never_say_all_they_know(
    capsys: pytest.CaptureFixture[str], level: str, ours: list[str], theirs: list[str]
) -> None:
    logs.begin(Settings(log_format="json", log_level=level), "api")
    for logger in (LOG, logging.getLogger("redis.client")):
        for number in logs.LEVELS.values():
            logger.log(number, "said")
    found = said(capsys)
    assert [line["level"] for line in found if line["logger"] == LOG.name] == ours
    assert [line["level"] for line in found if line["logger"] != LOG.name] == theirs
    assert logs.library_level(Settings(log_level=level)) == {"debug": "INFO"}.get(level, level.upper())


def fail() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"cannot render {SECRET}") from error


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_that_ends_a_request_is_told_without_its_own_words(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    logs.begin(Settings(log_format=form), "worker")
    with logs.about("req_a"):
        try:
            fail()
        except ValueError:
            LOG.exception("request a could not be prepared")
    told = capsys.readouterr().err
    assert SECRET not in told
    assert "builtins.ValueError" in told
    assert "builtins.KeyError" in told
    assert "in fail" in told


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_that_is_no_requests_is_told_in_full(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.begin(Settings(log_format=form), "worker")
    try:
        raise RuntimeError("llama_decode answered -3")
    except RuntimeError:
        LOG.exception("a step failed")
    assert "RuntimeError: llama_decode answered -3" in capsys.readouterr().err

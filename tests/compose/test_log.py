from __future__ import annotations

import errno
import io
import json

import pytest
from tropilla.compose.log import LONGEST_LINE_BYTES, Lines, Log, prefixes, wants_colour

OUTPUT = "first\nsecönd\r\n\n 10 %\r 20 %\nlast".encode()


def test_lines_are_the_same_however_the_bytes_are_cut() -> None:
    for cut in range(len(OUTPUT) + 1):
        lines = Lines()
        found = lines.feed(OUTPUT[:cut]) + lines.feed(OUTPUT[cut:]) + lines.flush()
        assert found == ["first", "secönd", "", " 20 %", "last"]


def test_an_endless_line_is_shown_in_pieces() -> None:
    pieces = Lines().feed(b"x" * (3 * LONGEST_LINE_BYTES))
    assert [len(piece) for piece in pieces] == [LONGEST_LINE_BYTES] * 3


def test_bytes_that_are_no_text_do_not_stop_the_log() -> None:
    assert Lines().feed(b"\xff\n") == ["\ufffd"]


def test_prefixes_are_equally_wide_and_plain_without_colour() -> None:
    assert prefixes(["api", "cpu-10"], colour=False) == {
        "api": "api      | ", "cpu-10": "cpu-10   | ", "tropilla": "tropilla | ",
    }  # fmt: skip


def test_every_name_has_its_own_colour() -> None:
    coloured = prefixes(["redis", "api", "cpu-1", "flower"], colour=True)
    assert len({prefix.split("m")[0] for prefix in coloured.values()}) == 5
    assert all(prefix.endswith("\x1b[0m") for prefix in coloured.values())


@pytest.mark.parametrize(
    ("environment", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours_are_for_terminals_whose_owner_wants_them(
    environment: dict[str, str], terminal: bool, colour: bool
) -> None:
    assert wants_colour(environment, terminal=terminal) is colour


def test_a_log_line_names_who_said_it() -> None:
    output = io.StringIO()
    log = Log(output, prefixes(["api"], colour=False))
    log.line("api", "hello")
    log.say("there")
    assert output.getvalue() == "api      | hello\ntropilla | there\n"


@pytest.mark.parametrize(("problem", "gone"), [(errno.EPIPE, True), (errno.EIO, True), (errno.ENOSPC, False)])
def test_a_log_nobody_reads_any_more_is_remembered_and_a_full_disk_is_not(problem: int, gone: bool) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(problem, "broken")

    log = Log(Broken(), prefixes([], colour=False))
    log.say("hello")
    assert log.gone is gone


def test_json_lines_pass_as_they_are_and_all_others_are_put_into_one() -> None:
    output = io.StringIO()
    log = Log(output, prefixes(["api", "redis"], colour=True), json_lines=True)
    own = '{"level":"info","message":"x","role":"api"}'
    log.line("api", own)
    log.line("redis", "Ready to accept {connections}")
    log.line("api", '{"torn": ')
    log.block("Tropilla is up.\n  API  http://127.0.0.1:8000")
    first, *others = output.getvalue().splitlines()
    assert first == own
    said = [json.loads(line) for line in others]
    assert [(line["role"], line["message"]) for line in said] == [
        ("redis", "Ready to accept {connections}"),
        ("api", '{"torn": '),
        ("up", "Tropilla is up.\n  API  http://127.0.0.1:8000"),
    ]
    assert all(line["time"].endswith("+00:00") for line in said)

"""`tropilla usage` and `tropilla dead` without a cluster: what is typed, what is refused, what is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import request
from standin import Tropilla
from tropilla.common.dead import Dead
from tropilla.common.generation import CallDelta, Event, Failed, Finished, TextPrompt, Token, Usage
from tropilla.common.ledger import Row, Sum
from tropilla.common.terms import Terms
from tropilla.compose.client import letters, tables, words
from tropilla.compose.client.usage import row_json
from tropilla.compose.home import ADDRESSES

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOBODY_THERE = "redis://:secret@127.0.0.1:1/0"
LETTER = Dead(
    "abc", "generation", "m", "", "batch", NOW - timedelta(hours=3), NOW - timedelta(hours=2), 60.0, 2, ("a@x", "b@x"),
    7, 2, 3, "",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h", timedelta(hours=1)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("2026-05-01T11:00:00+00:00", timedelta(hours=1)),
        ("2026-05-01T11:00Z", timedelta(hours=1)),
        ("2026-05-01T13:00+02:00", timedelta(hours=1)),
    ],
)
def test_a_point_in_time_is_a_while_ago_or_a_date(text: str, before: timedelta) -> None:
    assert words.moment(text, NOW) == NOW - before


def test_a_date_without_a_zone_is_by_the_clock_on_the_wall() -> None:
    assert words.moment("2026-04-30", NOW) == datetime(2026, 4, 30).astimezone()


@pytest.mark.parametrize("text", ["", "yesterday", "1", "h", "-1h", "1y", "2026-13-01", "9" * 40 + "w"])
def test_what_is_no_point_in_time_is_refused_by_name(tropilla: Tropilla, text: str) -> None:
    refused = tropilla("usage", f"--since={text}")
    assert refused.status == 2
    assert f"argument --since: {text!r} is no point in time" in refused.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("usage", "--by", "hour"), "argument --by: invalid choice: 'hour'"),
        (("dead",), "the following arguments are required: COMMAND"),
        (("dead", "bury"), "invalid choice: 'bury'"),
        (("dead", "show"), "the following arguments are required: ID"),
        (("dead", "retry", "a", "b"), "unrecognized arguments: b"),
        (("dead", "drop"), "name the requests that are to be dropped, or all of them with --all"),
        (("dead", "drop", "a", "--all"), "name the requests that are to be dropped, or all of them with --all"),
        (("usage", "--redis", "ftp://x"), "is not a Redis URL"),
    ],
)
def test_what_makes_no_sense_is_refused(tropilla: Tropilla, arguments: tuple[str, ...], sentence: str) -> None:
    refused = tropilla(*arguments)
    assert (refused.status, refused.out) == (2, "")
    assert sentence in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("usage",),
        ("dead", "list"),
        ("dead", "show", "a"),
        ("dead", "retry", "a", "--no-wait"),
        ("dead", "drop", "--all"),
    ],
    ids=" ".join,
)
def test_books_that_cannot_be_reached_are_one_sentence_without_the_password(
    tropilla: Tropilla, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / ADDRESSES).write_text(json.dumps({"redis": NOBODY_THERE}))
    refused = tropilla(*arguments, "--home", str(tmp_path))
    assert refused.status == 69
    assert refused.err.startswith("tropilla: the cluster's books cannot be read: ")
    assert refused.err.count("\n") == 1
    assert "127.0.0.1:1" in refused.err
    assert "secret" not in refused.err


def test_sums_stand_in_a_table_with_a_line_for_all_of_them() -> None:
    sums = {"": Sum(3, 1, 1, 1, 0, 10, 4, 6), "k": Sum(1, 0, 0, 0, 1, 1, 0, 0)}
    assert list(tables.sum_rows(sums)) == [
        ("-", "3", "1", "1", "1", "0", "10", "4", "6"),
        ("k", "1", "0", "0", "0", "1", "1", "0", "0"),
        ("in all", "4", "1", "1", "1", "1", "11", "4", "6"),
    ]
    assert len(list(tables.sum_rows({"k": Sum(1)}))) == 1
    assert len(tables.SUM_HEADER) + 1 == 9


def test_a_row_is_json_with_a_time_that_others_can_read() -> None:
    row = Row(NOW, "r", "generation", "m", "k", "normal", "completed", 10, 4, 3, 1, 0, 250, "w")
    told = row_json(row)
    assert json.loads(json.dumps(told)) == told
    assert told["time"] == "2026-05-01T12:00:00.000+00:00"
    assert (told["generated"], told["worker"]) == (3, "w")


def test_what_was_given_up_is_listed_with_whom_it_cost() -> None:
    assert list(tables.dead_rows([LETTER], NOW)) == [("m", "2 hours ago", "a@x, b@x", "10", "no", "abc")]
    assert LETTER.terms == Terms("", "batch", 60.0)


def test_what_a_caller_wrote_is_shown_only_on_demand() -> None:
    asked = request("abc", prompts=(TextPrompt("my secret"),))
    public = json.dumps([list(letters.sections(LETTER)), letters.facts(LETTER)])
    private = json.dumps([list(letters.private_sections(asked, ["an answer"])), letters.content(asked, ["an answer"])])
    assert "b@x" in public
    assert "secret" not in public
    assert private.count("my secret") == private.count("an answer") == 2


#: Events -> what each choice says.
SAID: dict[str, tuple[list[Event], list[str]]] = {
    "nothing": ([Failed(0, "internal", "no")], []),
    "two choices": ([Token(0, 1, 1, "b"), Token(1, 0, 1, "a"), Token(2, 1, 1, "c")], ["a", "bc"]),
    "thought and called": (
        [
            Token(0, 0, 1, "", reasoning="hm "),
            Token(1, 0, 1, "ok"),
            Token(2, 0, 1, "", calls=(CallDelta(0, name="f"),)),
            Token(3, 0, 1, "", calls=(CallDelta(0, arguments="{}"),)),
            Finished(4, 0, "eos", Usage(1, 0, 4), seed=0),
        ],
        ["hm ok\nf {}"],
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_was_said_is_told_as_the_model_wrote_it(name: str) -> None:
    events, texts = SAID[name]
    assert letters.said(events) == texts


def test_commands_of_commands_keep_their_flags_anywhere(tropilla: Tropilla, tmp_path: Path) -> None:
    """The parser that lets prompts stand between flags knows of commands that have commands."""
    shown: Any = tropilla("dead", "drop", "a", "--home", str(tmp_path), "b", "--redis", NOBODY_THERE, "c")
    assert shown.status == 69

"""`tropilla usage`, `dead` and `keys` without a cluster: what is typed, what is refused, what is shown."""

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
from tropilla.common.keys import Key, Limits, new_key
from tropilla.common.ledger import Row, Sum
from tropilla.common.terms import Terms
from tropilla.compose.client import keys, letters, tables, words
from tropilla.compose.client.usage import called, key_id, row_json
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
        (("keys",), "the following arguments are required: COMMAND"),
        (("keys", "revoke"), "the following arguments are required: ID|NAME"),
        (("keys", "create", "--scope", "root"), "argument --scope: invalid choice: 'root'"),
        (("keys", "create", "--name", "key_1"), "argument --name: 'key_1' cannot be a key's name"),
        (("keys", "create", "--name", ""), "argument --name: '' cannot be a key's name"),
        (("keys", "create", "--expires", "soon"), "argument --expires: 'soon' is not a length of time"),
        (("keys", "create", "--expires", "999999999d"), "argument --expires: '999999999d' is not a length of time"),
        (("keys", "create", "--max-queue", "0"), "argument --max-queue: '0' is not a number from 1 to"),
        (("keys", "create", "--tokens-per-day", "-1"), "argument --tokens-per-day: "),
        (("keys", "create", "--requests-per-minute", "many"), "argument --requests-per-minute: 'many' is not"),
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
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke", "a"),
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


def test_keys_are_listed_with_what_they_may_and_what_they_did() -> None:
    seconds = int(NOW.timestamp())
    kept = [
        Key("key_1", "d", "abcd", "ci", ("inference", "admin"), Limits(3, 60, 1000), seconds - 7200),
        Key("key_2", "d", "efgh", created=seconds - 60, expires=seconds + 86_400),
        Key("key_3", "d", "ijkl", created=seconds - 60, expires=seconds - 5),
        Key("key_4", "d", "mnop", created=seconds - 60, revoked=seconds - 5),
    ]
    rows = list(tables.key_rows(kept, {"key_1": seconds - 60}, {"key_1": 7}, NOW))
    assert rows[0] == (
        "ci", "key_1", "...abcd", "inference,admin", "3 waiting, 60 a minute, 1000 tokens a day", "2 hours ago",
        "1 minute ago", "7", "good",
    )  # fmt: skip
    assert rows[1] == ("-", "key_2", "...efgh", "inference", "-", "1 minute ago", "never", "0", "until 1 day from now")
    assert [row[-1] for row in rows[2:]] == ["expired 5 seconds ago", "revoked 5 seconds ago"]
    assert all(len(row) == len(tables.KEY_HEADER) for row in rows)


def test_of_a_key_everything_may_be_known_but_its_secret_and_digest() -> None:
    key, secret = new_key(name="ci", created=int(NOW.timestamp()), expires=int(NOW.timestamp()) + 60)
    told = keys.facts(key)
    assert (told["created"], told["expires"], told["revoked"]) == (
        "2026-05-01T12:00:00+00:00", "2026-05-01T12:01:00+00:00", None,
    )  # fmt: skip
    assert told["limits"] == {"max_queue": 0, "requests_per_minute": 0, "tokens_per_day": 0}
    assert key.digest not in json.dumps(told)
    assert secret not in json.dumps(told)


def test_usage_calls_keys_by_their_names() -> None:
    kept = [
        Key("key_1", "d", "a", "ci", created=1, revoked=2),
        Key("key_2", "d", "b", "ci", created=3),
        Key("key_3", "d", "c", "alice", created=1),
        Key("key_4", "d", "d"),
    ]
    found = {name: Sum(number) for number, name in enumerate(("", "0123", "key_1", "key_2", "key_3", "key_4"))}
    assert list(called(found, kept)) == ["", "0123", "ci (key_1)", "ci (key_2)", "alice", "key_4"]
    assert [each.requests for each in called(found, kept).values()] == list(range(6))
    words = {"ci": "key_2", "alice": "key_3", "key_1": "key_1", "0123": "0123", "": ""}
    assert {word: key_id(kept, word) for word in words} == words


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

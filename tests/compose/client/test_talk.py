from __future__ import annotations

from typing import Any

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.compose.client.talk import Entered, Talk, Typed, Wishes


def said(talk: Talk, text: str = "hi") -> list[tuple[str, str]]:
    """What the model would be told."""
    return [(message["role"], message["content"]) for message in talk.ask(text)["messages"]]


def test_a_talk_remembers_turns_that_were_answered() -> None:
    talk = Talk(Wishes("m", system="be kind"))
    assert said(talk) == [("system", "be kind"), ("user", "hi")]
    assert said(talk, "again") == [("system", "be kind"), ("user", "again")]
    talk.heard("again", "yes")
    assert said(talk) == [("system", "be kind"), ("user", "again"), ("assistant", "yes"), ("user", "hi")]
    talk.command("/clear")
    assert said(talk) == [("system", "be kind"), ("user", "hi")]


def test_only_what_is_wished_for_is_asked() -> None:
    assert Wishes("m").body([]) == {"model": "m", "messages": [], "stream": True, "options": {}}
    wishes = Wishes("m", format="json", think=False, keep_alive=0.0)
    assert wishes.body([]) | {"format": "json", "think": False, "keep_alive": 0.0} == wishes.body([])
    # An empty chat with keep_alive 0 would unload the model.
    assert Wishes("m", system="s", keep_alive=0.0).loading() == {"model": "m", "messages": []}


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("/set system be brief", {"system": "be brief"}),
        ("/set   system  two\nlines", {"system": "two\nlines"}),
        ("/set system", {"system": None}),
        ("/set parameter temperature 0.7", {"options": {"temperature": 0.7}}),
        ("/set parameter num_predict 5", {"options": {"num_predict": 5}}),
        ("/set parameter stop <|end|>", {"options": {"stop": ["<|end|>"]}}),
        ("/set parameter seed", {}),
        ("/set parameter", {}),
        ("/set format json", {"format": "json"}),
        ("/set format xml", {}),
        ("/set noformat", {"format": None}),
        ("/set think", {"think": True}),
        ("/set think high", {"think": "high"}),
        ("/set think hard", {}),
        ("/set nothink", {"think": False}),
        ("/set verbose", {"verbose": True}),
        ("/set quiet", {"verbose": False}),
        ("/set", {}),
        ("/set colour", {}),
        ("/settle", {}),
    ],
)
def test_commands_change_what_they_say_and_nothing_else(line: str, changed: dict[str, Any]) -> None:
    before = {"system": "old", "format": None, "think": None, "verbose": False, "options": {}}
    wishes = Wishes("m", system="old")
    assert Talk(wishes).command(line)
    assert {name: getattr(wishes, name) for name in before} == {**before, **changed}


def test_several_stop_texts_add_up() -> None:
    talk = Talk(Wishes("m"))
    talk.command("/set parameter stop a")
    talk.command("/set parameter stop b c")
    assert talk.wishes.options == {"stop": ["a", "b c"]}


@pytest.mark.parametrize("line", ["/bye", "/exit", "/bye now"])
def test_leaving_is_said_with_nothing(line: str) -> None:
    assert Talk(Wishes("m")).command(line) is None


def test_what_is_set_can_be_seen() -> None:
    talk = Talk(Wishes("m", think=True, options={"seed": 1}))
    talk.heard("a", "b")
    shown = talk.command("/show") or ""
    assert [line.split() for line in shown.splitlines()] == [
        ["model", "m"], ["think", "true"], ["parameter", "seed", "1"], ["turns", "1"],
    ]  # fmt: skip


def test_help_names_every_command() -> None:
    shown = Talk(Wishes("m")).command("/?") or ""
    for name in (
        "/set system",
        "/set parameter",
        "/set format",
        "/set think",
        "/set verbose",
        "/show",
        "/clear",
        "/bye",
    ):
        assert name in shown


@pytest.mark.parametrize(
    ("lines", "entered"),
    [
        (["hello"], Entered("hello")),
        (["  hello  "], Entered("hello")),
        ([""], Entered("")),
        (["/bye"], Entered("/bye", command=True)),
        ([" /usr/bin is a folder"], Entered("/usr/bin is a folder")),
        (['"""one"""'], Entered("one")),
        (['"""', "one", "  two", '"""'], Entered("one\n  two")),
        (['"""one', 'two""" '], Entered("one\ntwo")),
        (['"""', "/bye", '"""'], Entered("/bye")),
        (['/set system """', "a", 'b"""'], Entered("/set system a\nb", command=True)),
        (['say """ aloud'], Entered('say """ aloud')),
        (['""""""'], Entered("")),
    ],
)
def test_lines_become_texts(lines: list[str], entered: Entered) -> None:
    typed = Typed()
    *before, last = lines
    for line in before:
        assert typed.feed(line) is None
        assert typed.open
    assert typed.feed(last) == entered
    assert not typed.open


def test_a_text_that_has_begun_can_be_given_up() -> None:
    typed = Typed()
    typed.feed('"""not this')
    typed.forget()
    assert typed.feed("but this") == Entered("but this")


def test_a_picture_goes_with_one_question_and_stays_with_it() -> None:
    def read(path: str) -> str:
        if path == "gone.png":
            raise ConfigurationError("the picture gone.png cannot be read")
        return f"base64 of {path}"

    talk = Talk(Wishes("m"), read_picture=read, pictures=["given"])
    assert talk.command("/image a b.png") == "Pictures that go with the next question: 2."
    asked = {"role": "user", "content": "what?", "images": ["given", "base64 of a b.png"]}
    assert talk.ask("what?")["messages"] == [asked]
    # It came to nothing: they go with the next one.
    assert talk.ask("what?")["messages"] == [asked]
    talk.heard("what?", "a cat")
    assert talk.ask("and?")["messages"] == [
        asked, {"role": "assistant", "content": "a cat"}, {"role": "user", "content": "and?"}
    ]  # fmt: skip
    assert talk.command("/image gone.png") == "tropilla: the picture gone.png cannot be read"
    assert "needs a file" in (talk.command("/image") or "")
    assert "images" not in talk.ask("so?")["messages"][-1]

"""`tropilla restart` and the one it asks, over files in the home folder."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tropilla.compose.client.errors import Unreachable
from tropilla.compose.home import Home, owner
from tropilla.compose.restart import NotRestarted, restart
from tropilla.compose.rolling import RollFailed
from tropilla.compose.signals import Signals
from tropilla.compose.wishes import Wishes, told, wish_file


def asked(folder: Path, signals: Signals, roll: Callable[[Wishes], None]) -> tuple[list[BaseException], str]:
    """What came of asking ourselves, who roll in the main thread, and what was shown."""
    output, caught = io.StringIO(), []

    def ask() -> None:
        try:
            restart(folder, output)
        except (NotRestarted, Unreachable) as error:
            caught.append(error)

    client = threading.Thread(target=ask)
    with Home(folder) as home:
        client.start()
        while not signals.restarts:
            pass
        try:
            with Wishes(home.folder) as wishes:
                roll(wishes)
        except RollFailed:
            pass
        client.join(20)
    assert not client.is_alive()
    assert not list(folder.glob("*.wish"))
    return caught, output.getvalue()


def test_progress_is_shown_line_by_line(tmp_path: Path, signals: Signals) -> None:
    def roll(wishes: Wishes) -> None:
        wishes.say("api: one")
        wishes.say("cpu-1: two")

    assert asked(tmp_path, signals, roll) == ([], "api: one\ncpu-1: two\n")
    assert signals.requests == 0


def test_a_restart_that_stops_says_why(tmp_path: Path, signals: Signals) -> None:
    def roll(wishes: Wishes) -> None:
        wishes.say("api: one")
        raise RollFailed("cpu-1 ended")

    (error,), shown = asked(tmp_path, signals, roll)
    assert (str(error), shown) == ("the restart has stopped: cpu-1 ended", "api: one\n")


def test_where_nobody_runs_nobody_is_asked(tmp_path: Path) -> None:
    with Home(tmp_path):
        assert owner(tmp_path) == os.getpid()
    assert owner(tmp_path) is None
    assert owner(tmp_path / "nowhere") is None
    with pytest.raises(Unreachable, match="no `tropilla up` runs"):
        restart(tmp_path, io.StringIO())


def test_one_that_ends_without_a_word_has_not_restarted(tmp_path: Path) -> None:
    """It is killed by the very signal: it was just going."""
    home = Home(tmp_path)

    def leave(number: int, frame: object) -> None:
        os.close(home.lock)

    before = signal.signal(signal.SIGUSR2, leave)
    try:
        with pytest.raises(NotRestarted, match="has ended"):
            restart(tmp_path, io.StringIO())
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert not wish_file(tmp_path).exists()


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wish"
    with path.open("w+", encoding="utf-8") as reader, path.open("a", encoding="utf-8") as writer:
        writer.write('{"said": "ü')
        writer.flush()
        assert list(told(reader)) == []
        writer.write('ber"}\n')
        writer.flush()
        assert list(told(reader)) == [{"said": "über"}]
        assert list(told(reader)) == []

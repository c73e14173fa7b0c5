"""`tropilla run` and lists on a real terminal: what a person sees and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ollama_words import DONE, PULL, TAGS, chunk
from standin import StandIn, endless, lines

#: The terminal becomes the controlling one, so that Ctrl-C means something.
ADOPT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
PATIENCE_SECONDS = 20.0
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"
LOADED = {**DONE, "done_reason": "load"}


class Terminal:
    """A command on a terminal of so many columns."""

    def __init__(self, *arguments: str, home: Path, url: str, columns: int = 100, **environment: str) -> None:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("TROPILLA_", "NO_COLOR", "COLUMNS", "LINES"))
        }
        variables = {**clean, "TERM": "xterm", "TROPILLA_HOME": str(home), "TROPILLA_URL": url, **environment}
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        command = [sys.executable, "-m", "tropilla.compose.cli", *arguments]
        self.child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", ADOPT, *command],
            stdin=theirs, stdout=theirs, stderr=theirs, env=variables, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""
        self._place = 0

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, text: str) -> str:
        """Reads until the text has come behind what was expected last; answers all up to it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (at := self.seen.find(text, self._place)) < 0:
            assert self._read(deadline - time.monotonic()), f"{text!r} did not come behind {self.seen[self._place :]!r}"
        before, self._place = self.seen[self._place : at + len(text)], at + len(text)
        return before

    def insist(self, key: str, text: str) -> None:
        """Types a key until the text comes: a Ctrl-C between readline's prompt and its waiting is not heard at once."""
        for _ in range(20):
            self.type(key)
            while self._read(0.5):
                if self.seen.find(text, self._place) >= 0:
                    self.expect(text)
                    return
        raise AssertionError(f"{text!r} did not come behind {self.seen[self._place :]!r}")

    def end(self) -> int:
        """The exit status, once everything has been read."""
        while self._read(PATIENCE_SECONDS):
            pass
        return self.child.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            # How Linux says that nobody has the other end any more.
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


class Terminals:
    def __init__(self, home: Path, url: str) -> None:
        self._home, self._url = home, url
        self.opened: list[Terminal] = []

    def __call__(self, *arguments: str, columns: int = 100, **environment: str) -> Terminal:
        self.opened.append(Terminal(*arguments, home=self._home, url=self._url, columns=columns, **environment))
        return self.opened[-1]


@pytest.fixture
def terminal(standin: StandIn, tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path / "home", standin.url)
    yield terminals
    for each in terminals.opened:
        each.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_conversation_remembers_obeys_and_is_left(standin: StandIn, terminal: Terminals, tmp_path: Path) -> None:
    standin.answers["POST", "/api/chat"] = (200, LOADED)
    window = terminal("run", "m")
    window.expect(">>> ")
    standin.streams("/api/chat", chunk("Hello"), chunk(" there."), DONE)
    assert standin.asked[0].body == {"model": "m", "messages": []}
    window.type("hi\n")
    window.expect("Hello there.")
    window.expect(">>> ")
    window.type("/set system be kind\n")
    window.expect("The system text is set.")
    window.type('"""two\n')
    window.expect("... ")
    window.type('lines"""\n')
    window.expect("Hello there.")
    window.expect(">>> ")
    window.type("/clear\n")
    window.expect("forgotten")
    window.expect(">>> ")
    window.type(UP * 5 + "\n")
    window.expect("Hello there.")
    window.expect(">>> ")
    window.type(CTRL_D)
    assert window.end() == 0
    told = [[message["content"] for message in asked.body["messages"]] for asked in standin.asked]
    assert told == [[], ["hi"], ["be kind", "hi", "Hello there.", "two\nlines"], ["be kind", "hi"]]
    history = tmp_path / "home" / "history"
    assert "hi" in history.read_text().splitlines()
    assert history.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_stops_the_answer_and_not_the_conversation(standin: StandIn, terminal: Terminals) -> None:
    standin.answers["POST", "/api/chat"] = (200, LOADED)
    window = terminal("run", "m")
    window.expect(">>> ")
    standin.answers["POST", "/api/chat"] = (200, endless(standin, lambda: lines(chunk("on "))))
    window.type("tell me\n")
    window.expect("on on ")
    window.type(CTRL_C)
    window.expect("(stopped)")
    assert standin.left.wait(PATIENCE_SECONDS)
    window.expect(">>> ")
    window.insist(CTRL_C, "Ctrl-D or /bye leaves")
    standin.streams("/api/chat", chunk("Better."), DONE)
    window.type("again\n")
    window.expect("Better.")
    window.expect(">>> ")
    window.type("/bye\n")
    assert window.end() == 0
    first, answer, again = [message["content"] for message in standin.asked[-1].body["messages"]]
    assert (first, again) == ("tell me", "again")
    assert answer.startswith("on on ")


def test_a_typed_ctrl_c_gives_up_a_text_of_several_lines(standin: StandIn, terminal: Terminals) -> None:
    standin.answers["POST", "/api/chat"] = (200, LOADED)
    window = terminal("run", "m")
    window.expect(">>> ")
    standin.streams("/api/chat", chunk("ok"), DONE)
    window.type('"""not this\n')
    window.expect("... ")
    window.insist(CTRL_C, ">>> ")
    window.type("but this\n")
    window.expect("ok")
    window.expect(">>> ")
    window.type(CTRL_D)
    assert window.end() == 0
    assert standin.asked[-1].body["messages"] == [{"role": "user", "content": "but this"}]


def test_an_error_is_said_and_the_conversation_goes_on(standin: StandIn, terminal: Terminals) -> None:
    standin.answers["POST", "/api/chat"] = (200, LOADED)
    window = terminal("run", "m", "--verbose")
    window.expect(">>> ")
    standin.answers["POST", "/api/chat"] = (400, {"error": "no such option"})
    window.type("one\n")
    window.expect("tropilla: no such option")
    window.expect(">>> ")
    standin.streams("/api/chat", chunk("fine"), DONE)
    window.type("two\n")
    window.expect("2.00 tokens/s")
    window.expect(">>> ")
    window.type(CTRL_D)
    assert window.end() == 0
    # What was not answered was not said.
    assert len(standin.asked[-1].body["messages"]) == 1


def test_a_model_that_is_not_there_is_said_before_anybody_types(standin: StandIn, terminal: Terminals) -> None:
    standin.answers["GET", "/api/tags"] = (200, TAGS)
    window = terminal("run", "ghost")
    window.expect("`tropilla pull ghost` fetches it")
    assert window.end() == 1
    assert ">>>" not in window.seen


def test_a_terminal_is_given_no_escape_sequences_of_the_models(standin: StandIn, terminal: Terminals) -> None:
    standin.streams("/api/chat", chunk(thinking="\x1b]0;mine\x07"), chunk("a\x1b[2Jb"), DONE)
    window = terminal("run", "m", "x")
    assert window.end() == 0
    assert "a\ufffd[2Jb" in window.seen
    assert "\x1b]0" not in window.seen
    assert "\x1b[2mThinking...\n\x1b[0m" in window.seen


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_whoever_wants_no_colour_gets_none(standin: StandIn, terminal: Terminals, environment: dict[str, str]) -> None:
    standin.answers["GET", "/api/tags"] = (200, TAGS)
    window = terminal("list", **environment)
    assert window.end() == 0
    assert "\x1b[" not in window.seen


@pytest.mark.parametrize(("columns", "cut"), [(100, False), (52, True)])
def test_a_list_fits_the_terminal(standin: StandIn, terminal: Terminals, columns: int, cut: bool) -> None:
    then = datetime.now(UTC) - timedelta(days=3, hours=1)
    models = [{**model, "modified_at": then.isoformat()} for model in TAGS["models"]]
    standin.answers["GET", "/api/tags"] = (200, {"models": models})
    window = terminal("list", columns=columns)
    assert window.end() == 0
    shown = plain(window.seen).splitlines()
    assert max(map(len, shown)) <= columns
    assert ("…" in shown[1]) == cut
    assert ("llama3:latest" in shown[1]) != cut


def test_a_pull_draws_bars_and_leaves_the_sizes(standin: StandIn, terminal: Terminals) -> None:
    standin.streams("/api/pull", *PULL)
    window = terminal("pull", "m")
    assert window.end() == 0
    shown = plain(window.seen)
    assert "efefefefefef resumed at 40%" in shown
    assert "1.0 KB of 1.0 KB" in shown
    assert shown.rstrip().endswith("m is here")


def test_a_pull_that_is_stopped_says_how_to_go_on(standin: StandIn, terminal: Terminals) -> None:
    part = {"status": "pulling ef", "digest": "sha256:" + "ef" * 32, "total": 1000, "completed": 400}
    standin.answers["POST", "/api/pull"] = (200, endless(standin, lambda: lines(part)))
    window = terminal("pull", "m")
    window.expect("40%")
    window.type(CTRL_C)
    window.expect("`tropilla pull m` goes on from there")
    assert window.end() == 130
    assert standin.left.wait(PATIENCE_SECONDS)

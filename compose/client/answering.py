"""One answer, as it comes: the text on stdout, the model's thoughts and the timings beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext

from tropilla.compose.client import words
from tropilla.compose.client.answers import Piece, Timings
from tropilla.compose.client.errors import Unreachable
from tropilla.compose.client.screen import Screen

CUT_OFF = "(cut off: no more tokens were allowed, or the context is full)"


class Answer:
    """What has come so far, also when it is interrupted."""

    def __init__(self) -> None:
        self.text = ""
        self.last: Piece | None = None


def show(pieces: Iterable[Piece], screen: Screen, answer: Answer, *, waiting: str, thoughts: bool = True) -> None:
    """Writes an answer as it comes into `answer` and onto the screen; `waiting` is said until then, where somebody sees
    it. Raises `Unreachable` where it has no end.
    """
    thinking = _Thinking(screen, shown=thoughts)
    try:
        for piece in _announced(pieces, screen, waiting):
            thinking.feed(piece.thinking)
            if piece.text:
                thinking.close()
                # First: Ctrl-C may come between the two, and what was seen has been said.
                answer.text += piece.text
                screen.write(piece.text)
            if piece.done:
                answer.last = piece
    finally:
        thinking.close()
        # Pipes end with a line, too.
        if answer.text and not answer.text.endswith("\n"):
            screen.write("\n")
    if answer.last is None:
        raise Unreachable("the cluster's answer broke off")
    if answer.last.reason == "length":
        screen.aside(f"{CUT_OFF}\n", "faint")


def waiting_sign(screen: Screen, what: str) -> AbstractContextManager[object]:
    """A spinner, where somebody sees it."""
    return screen.console().status(words.harmless(what)) if screen.watched else nullcontext()


def show_timings(answer: Answer, screen: Screen) -> None:
    if answer.last and answer.last.timings:
        for title, fact in timing_rows(answer.last.timings):
            screen.say(f"{title + ':':<24}{fact}")


def timing_rows(timings: Timings) -> Iterator[tuple[str, str]]:
    yield "total duration", words.spent(timings.total)
    yield "load duration", words.spent(timings.load)
    for title, count, time in (
        ("prompt eval", timings.prompt_count, timings.prompt),
        ("eval", timings.answer_count, timings.answer),
    ):
        yield f"{title} count", f"{count} token{'' if count == 1 else 's'}"
        yield f"{title} duration", words.spent(time)
        if time > 0:
            yield f"{title} rate", f"{count / time * 1e9:.2f} tokens/s"


def _announced(pieces: Iterable[Piece], screen: Screen, waiting: str) -> Iterator[Piece]:
    """The pieces, with a spinner until the first."""
    with ExitStack() as spinning:
        spinning.enter_context(waiting_sign(screen, waiting))
        for piece in pieces:
            spinning.close()
            yield piece


class _Thinking:
    """Where answers are read, thoughts stand before them; from a pipe they are kept apart."""

    def __init__(self, screen: Screen, *, shown: bool) -> None:
        self._write = screen.write if screen.terminal else screen.aside
        self._shown = shown
        self._open = False

    def feed(self, text: str) -> None:
        if not text or not self._shown:
            return
        if not self._open:
            self._write("Thinking...\n", "faint")
        self._open = True
        self._write(text, "faint")

    def close(self) -> None:
        if self._open:
            self._write("\n...done thinking.\n\n", "faint")
        self._open = False

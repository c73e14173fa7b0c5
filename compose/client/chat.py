"""`tropilla run` in a terminal: a conversation that Ctrl-C stops answering and Ctrl-D leaves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from tropilla.common.errors import TropillaError
from tropilla.compose.client import answering
from tropilla.compose.client.answering import Answer
from tropilla.compose.client.answers import Piece
from tropilla.compose.client.screen import Screen
from tropilla.compose.client.talk import JSON, QUOTES, Talk, Typed

PROMPT, FURTHER_PROMPT = ">>> ", "... "
#: Sends a request; the pieces of its answer. Closing them hangs up.
Ask = Callable[[JSON], Generator[Piece]]


def chat(
    talk: Talk, ask: Ask, screen: Screen, *, thoughts: bool = True, read_line: Callable[[str], str] = input
) -> None:
    """Goes on until it is left. What goes wrong with one answer is said, and is not the end."""
    screen.say(f"{talk.wishes.model} listens. /? for help, {QUOTES} for several lines, Ctrl-D to leave.")
    typed = Typed()
    while True:
        try:
            line = read_line(FURTHER_PROMPT if typed.open else PROMPT)
        except EOFError:
            screen.say("")
            return
        except KeyboardInterrupt:
            typed.forget()
            screen.say("\nCtrl-D or /bye leaves.")
            continue
        entered = typed.feed(line)
        if entered is None or not entered.text:
            continue
        if not entered.command:
            _answer(talk, ask, screen, entered.text, thoughts=thoughts)
        elif (reply := talk.command(entered.text)) is not None:
            screen.say(reply)
        else:
            return


def _answer(talk: Talk, ask: Ask, screen: Screen, text: str, *, thoughts: bool) -> None:
    answer = Answer()
    try:
        with closing(ask(talk.ask(text))) as pieces:
            answering.show(pieces, screen, answer, waiting=talk.wishes.model, thoughts=thoughts)
    except KeyboardInterrupt:
        screen.say("(stopped)")
    except TropillaError as error:
        screen.say(f"tropilla: {error.message}")
    # What has been read is part of the conversation, stopped or not.
    if answer.text or answer.last:
        talk.heard(text, answer.text)
        screen.aside("\n")
    if talk.wishes.verbose:
        answering.show_timings(answer, screen)

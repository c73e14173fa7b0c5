"""`tropilla run MODEL [PROMPT]`: one answer, or a conversation."""

from __future__ import annotations

import base64
import sys
from argparse import Namespace
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tropilla.common.errors import ConfigurationError
from tropilla.compose.client import answering, answers
from tropilla.compose.client.answering import Answer
from tropilla.compose.client.answers import Piece, understood
from tropilla.compose.client.chat import chat
from tropilla.compose.client.client import Client
from tropilla.compose.client.history import History
from tropilla.compose.client.talk import JSON, Talk, Wishes
from tropilla.compose.client.wire import LOAD_SECONDS


def run_run(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    talk = Talk(_wishes(asked), read_picture=picture, pictures=[picture(path) for path in asked.image])
    prompt = _prompt(asked.prompt)
    if prompt:
        with client.hinting(asked.model):
            _once(client, talk, prompt, thoughts=not asked.hide_thinking)
        return 0
    if client.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("there is nothing to answer: a prompt is wanted, as an argument or on standard input")
    with client.hinting(asked.model):
        _load(client, talk)
    with History(client.settings.home):
        chat(talk, lambda body: _pieces(client, body), client.screen, thoughts=not asked.hide_thinking)
    return 0


def _prompt(typed: Sequence[str]) -> str:
    """What to do with a text stands before the text. Raises `ConfigurationError` for what is none."""
    try:
        piped = "" if sys.stdin.isatty() else sys.stdin.read()
        prompt = "\n\n".join(filter(str.strip, (" ".join(typed), piped)))
        # Python hides bytes that are no text from itself, not from others.
        prompt.encode()
    except UnicodeError as error:
        raise ConfigurationError("the prompt, or what is piped in, is not UTF-8 text") from error
    return prompt


def picture(path: str) -> str:
    """A file in base64; what is in it, the cluster looks. Raises `ConfigurationError`."""
    place = Path(path).expanduser()
    try:
        content = place.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the picture {place} cannot be read: {error.strerror or error}") from error
    if not content:
        raise ConfigurationError(f"the picture {place} is empty")
    return base64.b64encode(content).decode()


def _wishes(asked: Namespace) -> Wishes:
    return Wishes(
        model=asked.model,
        system=asked.system,
        format=asked.format,
        think=asked.think,
        keep_alive=asked.keepalive,
        verbose=asked.verbose,
    )


def _once(client: Client, talk: Talk, prompt: str, *, thoughts: bool) -> None:
    with closing(client.wire.stream("/api/chat", talk.ask(prompt))) as items:
        if client.json:
            for item in items:
                client.screen.json(item)
            return
        answer = Answer()
        answering.show(_read(items), client.screen, answer, waiting=talk.wishes.model, thoughts=thoughts)
    if talk.wishes.verbose:
        answering.show_timings(answer, client.screen)


def _load(client: Client, talk: Talk) -> None:
    """Nobody types a question to find out that there is no such model, or waits for it to load afterwards."""
    with answering.waiting_sign(client.screen, talk.wishes.model):
        client.wire.ask("POST", "/api/chat", talk.wishes.loading(), seconds=LOAD_SECONDS)


def _pieces(client: Client, body: JSON) -> Generator[Piece]:
    with closing(client.wire.stream("/api/chat", body)) as items:
        yield from _read(items)


def _read(items: Iterator[JSON]) -> Iterator[Piece]:
    for item in items:
        yield understood(answers.piece, item)

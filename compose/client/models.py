"""`tropilla pull | list | ps | show | stop | rm | cp`: which models there are, and how that changes."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime

from tropilla.compose.client import answers, tables
from tropilla.compose.client.answers import PullLine, understood
from tropilla.compose.client.bars import Bars, Lines, follow
from tropilla.compose.client.client import Client
from tropilla.compose.client.errors import Refusal, Unreachable
from tropilla.compose.client.pulling import Pull
from tropilla.compose.client.wire import JSON


def run_pull(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    try:
        with closing(client.wire.stream("/api/pull", _pull_body(asked))) as items:
            pull = _followed(client, items)
    except KeyboardInterrupt:
        client.screen.say(f"stopped; what has come is kept: `tropilla pull {asked.model}` goes on from there")
        raise
    if not pull.succeeded:
        raise Unreachable(f"the cluster's answer broke off at {pull.status!r}: the same command goes on from there")
    if not client.json:
        named = "" if "://" not in asked.model else ": `tropilla list` shows what it is called"
        client.screen.say(f"{asked.model} is here{named}")
    return 0


def _pull_body(asked: Namespace) -> JSON:
    body = {"model": asked.model, "stream": True}
    return body | ({"insecure": True} if asked.insecure else {})


def _followed(client: Client, items: Iterator[JSON]) -> Pull:
    if client.screen.watched and not client.json:
        with Bars(client.screen.console()) as bars:
            return follow(_lines(items), bars)
    return follow(_lines(items, client if client.json else None), Lines(_quiet if client.json else client.screen.say))


def _lines(items: Iterator[JSON], copied_to: Client | None = None) -> Iterator[PullLine]:
    for item in items:
        if copied_to:
            copied_to.screen.json(item)
        yield understood(answers.pull_line, item)


def _quiet(_: str) -> None:
    """The objects themselves are what is asked for."""


def run_list(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    answer = client.wire.ask("GET", "/api/tags")
    models = understood(answers.listed, answer)
    if client.json:
        client.screen.json(answer)
    elif not models:
        client.screen.say("There are no models yet: `tropilla pull MODEL` fetches one.")
    else:
        client.screen.table(tables.LISTED_HEADER, tables.listed_rows(models, datetime.now(UTC), asked.start))
    return 0


def run_ps(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    answer = client.wire.ask("GET", "/api/ps")
    models = understood(answers.running, answer)
    if client.json:
        client.screen.json(answer)
    else:
        client.screen.table(tables.RUNNING_HEADER, tables.running_rows(models, datetime.now(UTC)))
    return 0


def run_show(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    with client.hinting(asked.model):
        answer = client.wire.ask("POST", "/api/show", {"model": asked.model, "verbose": asked.verbose})
    model = understood(answers.shown, answer)
    if client.json:
        client.screen.json(answer)
    elif asked.part:
        # A text that the model has not is nothing at all.
        text: str = getattr(model, asked.part)
        client.screen.write(text if not text or text.endswith("\n") else f"{text}\n")
    else:
        client.screen.sections(tables.sections(model, verbose=asked.verbose))
    return 0


def run_stop(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    answer = client.wire.ask("POST", "/api/generate", {"model": asked.model, "keep_alive": 0})
    if client.json:
        client.screen.json(answer)
    else:
        client.screen.say(f"{asked.model} is let go of once what runs there has ended")
    return 0


def run_rm(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    refused = 0
    for model in asked.models:
        try:
            client.wire.ask("DELETE", "/api/delete", {"model": model})
        except Refusal as error:
            # The others go all the same.
            print(f"tropilla: {error.message}", file=sys.stderr)
            refused += 1
            continue
        if client.json:
            client.screen.json({"model": model, "status": "deleted"})
        else:
            client.screen.say(f"{model} is deleted")
    return 1 if refused else 0


def run_cp(asked: Namespace, environment: Mapping[str, str]) -> int:
    client = Client(asked, environment)
    client.wire.ask("POST", "/api/copy", {"source": asked.source, "destination": asked.destination})
    if client.json:
        client.screen.json({"source": asked.source, "destination": asked.destination, "status": "copied"})
    else:
        client.screen.say(f"{asked.source} is also called {asked.destination}")
    return 0

"""How a request that was given up looks: what was asked, and what had been said by then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from tropilla.common import codec
from tropilla.common.dead import Dead
from tropilla.common.generation import Event, Request, Token
from tropilla.compose.client.tables import Section
from tropilla.compose.client.wire import JSON


def said(events: Iterable[Event]) -> list[str]:
    """What each choice that was begun says: its reasoning, its text, its tool calls, as the model wrote them."""
    texts: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, Token):
            text = texts.setdefault(event.choice, [])
            text += [event.reasoning, event.text]
            for delta in event.calls:
                text += [f"\n{delta.name} " if delta.name else "", delta.arguments]
    return ["".join(texts[choice]) for choice in sorted(texts)]


def facts(letter: Dead) -> JSON:
    """Nothing that its caller wrote."""
    times = {"admitted": letter.admitted.isoformat(), "died": letter.died.isoformat()}
    return {**asdict(letter), **times}


def content(request: Request, answers: list[str]) -> JSON:
    """What its caller wrote, and what it was answered."""
    return {"request": json.loads(codec.encode_request(request)), "said": answers}


def sections(letter: Dead) -> Iterator[Section]:
    rows = (
        ("id", letter.id),
        ("kind", letter.kind),
        ("model", letter.model),
        ("key", letter.key),
        ("priority", letter.priority),
        ("asked", f"{letter.admitted:%Y-%m-%d %H:%M:%S} UTC"),
        ("given up", f"{letter.died:%Y-%m-%d %H:%M:%S} UTC"),
        ("attempts", str(letter.attempts)),
        ("tokens of the prompt", f"{letter.prompt} ({letter.cached} cached)"),
        ("tokens generated", str(letter.generated)),
        ("asked again as", letter.retried),
    )
    yield "Request", tuple(row for row in rows if row[1])
    yield "Workers lost", tuple((worker,) for worker in letter.workers)


def private_sections(request: Request, answers: list[str]) -> Iterator[Section]:
    asked = json.dumps(json.loads(codec.encode_request(request)), indent=2, ensure_ascii=False)
    yield "Asked", tuple((line,) for line in asked.splitlines())
    for number, answer in enumerate(answers, start=1):
        title = "Said" if len(answers) == 1 else f"Said, answer {number}"
        yield title, tuple((line,) for line in answer.splitlines())

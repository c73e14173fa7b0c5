"""What the tests of the Ollama surface have in common: a cluster to ask, and a worker's events by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from scene import POCKET
from tropilla.api.surface import JSON, Call, Dismissal, Fold, Frames, Question, Reply, Surface, Surroundings
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.common.catalogue import Catalogue, Model, Worker, catalogue
from tropilla.common.errors import TropillaError
from tropilla.common.generation import (
    CallDelta,
    Event,
    Finished,
    GenerationRequest,
    Loaded,
    LoadRequest,
    Prompted,
    PromptToken,
    Reason,
    Timings,
    Token,
    Usage,
)
from tropilla.common.settings import Settings

#: 2026-01-02T03:04:05Z, and the half second a request takes.
RECEIVED = 1767323045.0
ENDED = RECEIVED + 0.5

BERT = dataclasses.replace(POCKET, name="bert", capabilities=("embedding",), modified_at=1_600_000_000.0)
#: A model that can do all that text models can.
WISE = dataclasses.replace(POCKET, name="wise", capabilities=("completion", "insert", "tools", "thinking"))
LIPS = dataclasses.replace(POCKET, name="Apple/Lips:Code", modified_at=1_650_000_000.5)


def serving(*models: Model) -> Catalogue:
    return catalogue(Worker(f"cpu-{place}", "cpu", "ready", 8, model) for place, model in enumerate(models))


def surroundings(*models: Model, **settings: Any) -> Surroundings:
    """The models above, unless others are given."""
    return Surroundings(serving(*(models or (POCKET, BERT, LIPS, WISE))), Settings(**settings), RECEIVED)


def asked(surface: Surface, body: JSON, around: Surroundings | None = None) -> Call:
    """The call a body becomes."""
    call = surface.parse(body, around or surroundings())
    assert isinstance(call, Call)
    return call


def requested(surface: Surface, body: JSON, around: Surroundings | None = None) -> GenerationRequest:
    return asked(surface, body, around).request


def loads(surface: Surface, body: JSON, around: Surroundings | None = None) -> tuple[LoadRequest, Reply]:
    """What a body asks a worker to load, and what is said once it is there."""
    question = surface.parse(body, around or surroundings())
    assert isinstance(question, Question)
    assert isinstance(question.request, LoadRequest)
    assert surface.answer is not None
    return question.request, surface.answer(question, (Loaded(0, 0, 1.5, "w"),), RECEIVED)


def unloads(surface: Surface, body: JSON, around: Surroundings | None = None) -> tuple[str, Reply]:
    """The pin that a body lets go of, and what is said at once."""
    dismissal = surface.parse(body, around or surroundings())
    assert isinstance(dismissal, Dismissal)
    return dismissal.pin, dismissal.reply


def told(surface: Surface, body: JSON, around: Surroundings | None = None) -> Reply:
    """The answer a body gets at once: a load's, or an error's."""
    try:
        reply = surface.parse(body, around or surroundings())
    except TropillaError as error:
        return OLLAMA.fault(error)
    assert isinstance(reply, Reply)
    return reply


def token(index: int, text: str, **more: Any) -> Token:
    return Token(index=index, choice=0, id=100 + index, text=text, **more)


def calling(index: int, *deltas: CallDelta, **more: Any) -> Token:
    """A token that brings pieces of tool calls."""
    return token(index, "", calls=deltas, **more)


def finished(index: int, reason: Reason = "eos", *, generated: int = 3, **more: Any) -> Finished:
    return Finished(
        index=index,
        choice=0,
        reason=reason,
        usage=Usage(prompt=5, cached=2, generated=generated),
        seed=1,
        timings=Timings(queue=0.1, prefill=0.06, decode=0.08),
        **more,
    )


TURN = {"role": "user", "content": "Hi"}


def generate(**more: Any) -> dict[str, Any]:
    """A body of /api/generate."""
    return {"model": "pocket", "prompt": "Hi", **more}


def wise_generate(**more: Any) -> dict[str, Any]:
    return generate(model="wise", **more)


def wise_chat(**more: Any) -> dict[str, Any]:
    return chat(model="wise", **more)


def chat(**more: Any) -> dict[str, Any]:
    """A body of /api/chat."""
    return {"model": "pocket", "messages": [TURN], **more}


#: "Hello", said in three tokens, the second of which shows nothing, and the marker that ends it.
HELLO: tuple[Event, ...] = (
    Prompted(0, 0, (PromptToken(1, b"<s>"), PromptToken(2, b"Hi"))),
    token(1, "Hel"),
    token(2, ""),
    token(3, "lo"),
    token(4, "", special=True, last=True),
    finished(5, generated=4),
)


def lines(surface: Surface, call: Call, events: tuple[Event, ...]) -> list[JSON]:
    """What a stream says."""
    frames: Frames = surface.frames(call, lambda: ENDED)
    return [frame.data for event in events for frame in frames.feed(event)]


def whole(surface: Surface, call: Call, events: tuple[Event, ...]) -> Reply:
    """What one object says."""
    fold = Fold(call.request.choices)
    for event in events:
        fold.feed(event)
    return surface.whole(call, fold.completion(), ENDED)

"""What the tests of the OpenAI surface drive it with: a small catalogue, and the events of answers told as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scene import POCKET
from tropilla.api.surface import Call, Fold, Frame, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.faults import fault
from tropilla.common.catalogue import Capability, Model, Worker, catalogue
from tropilla.common.errors import TropillaError
from tropilla.common.generation import (
    Alternative,
    CallDelta,
    Event,
    Finished,
    Prompted,
    PromptToken,
    Reason,
    Token,
    Usage,
)
from tropilla.common.settings import Settings

NOW = 1_760_000_000.75
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
HELLO: dict[str, Any] = {"model": "pocket", "messages": [USER]}


def model(name: str, *, digest: str = "ab" * 32) -> Model:
    return dataclasses.replace(
        POCKET, name=name, digest=digest, context_length=512, trained_context=2048, modified_at=1_750_000_000.5
    )


def surroundings(*names: str, capabilities: tuple[Capability, ...] = ("completion",), **settings: Any) -> Surroundings:
    served = [dataclasses.replace(model(name), capabilities=capabilities) for name in names or ("pocket",)]
    workers = [Worker(f"w{place}", "cpu", "ready", 8, each) for place, each in enumerate(served)]
    return Surroundings(catalogue(workers), Settings(**settings), NOW)


def ask(surface: Surface, body: Any, around: Surroundings | None = None) -> Call:
    call = surface.parse(body, around or surroundings())
    assert isinstance(call, Call)
    return call


def refusal(surface: Surface, body: Any, around: Surroundings | None = None) -> Reply:
    """The answer to a body that is refused."""
    try:
        surface.parse(body, around or surroundings())
    except TropillaError as error:
        return fault(error)
    raise AssertionError(f"{body} was accepted")


def chat(**fields: Any) -> Call:
    return ask(CHAT, {**HELLO, **fields})


@dataclass(frozen=True)
class Bit:
    """A token of a reply that is taken apart: what it spells, and what its worker released with it."""

    piece: str | bytes
    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


def said(
    choice: int,
    tokens: Sequence[str | tuple[bytes, str] | Bit],
    reason: Reason = "eos",
    *,
    prompt: int = 5,
    cached: int = 0,
    top: int = 0,
    logprob: float = -0.5,
    reasoning: int = 0,
) -> list[Event]:
    """The events of one choice. A token is its text, or its bytes and the text it releases."""
    told: list[Event] = []
    for number, item in enumerate(tokens):
        bit = item if isinstance(item, Bit) else Bit(item, item) if isinstance(item, str) else Bit(*item)
        piece = bit.piece.encode() if isinstance(bit.piece, str) else bit.piece
        others = (Alternative(number, piece, -0.5), Alternative(999, b" other", -2.5))[:top]
        told.append(
            Token(
                0,
                choice,
                number,
                bit.text,
                piece=piece,
                logprob=logprob,
                top=others,
                reasoning=bit.reasoning,
                calls=bit.calls,
            )
        )
    if reason == "eos":
        told.append(Token(0, choice, 2, "", special=True, last=True, piece=b"<|im_end|>", logprob=-0.1))
    told.append(Finished(0, choice, reason, Usage(prompt, cached, len(told), reasoning), seed=1))
    return told


def prompted(choice: int, *pieces: str | bytes, top: int = 0) -> Prompted:
    """A choice's prompt; its log-probabilities are -1, -2 and so on from the second token."""
    tokens = []
    for number, each in enumerate(pieces):
        piece = each if isinstance(each, bytes) else each.encode()
        others = (Alternative(999, b" other", -0.25), Alternative(number, piece, -number))[:top]
        tokens.append(PromptToken(number, piece, *((-float(number), others) if number else ())))
    return Prompted(0, choice, tuple(tokens))


def called(number: int, *pieces: str) -> tuple[CallDelta, ...]:
    """A call's name, or with an empty first piece more of its arguments."""
    name, *arguments = pieces
    opening = (CallDelta(number, name=name),) if name else ()
    return (*opening, *(CallDelta(number, arguments=piece) for piece in arguments))


def woven(*choices: Iterable[Event]) -> list[Event]:
    """Several choices' events in turns, as a batch gives them."""
    waiting = [list(choice) for choice in choices]
    mixed: list[Event] = []
    while any(waiting):
        mixed += [choice.pop(0) for choice in waiting if choice]
    return mixed


def streamed(surface: Surface, call: Call, events: Iterable[Event]) -> list[Frame]:
    frames = surface.frames(call, lambda: NOW)
    return [frame for event in events for frame in frames.feed(event)]


def chunks(frames: Iterable[Frame]) -> Iterator[dict[str, Any]]:
    """The JSON of all frames but the terminator, which must be there."""
    *told, last = frames
    assert last.data == "[DONE]"
    for frame in told:
        assert isinstance(frame.data, dict)
        yield frame.data


def answered(surface: Surface, call: Call, events: Iterable[Event]) -> Reply:
    fold = Fold(call.request.choices)
    for event in events:
        fold.feed(event)
    assert fold.complete
    return surface.whole(call, fold.completion(), NOW + 1.5)

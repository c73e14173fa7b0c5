"""A streamed OpenAI answer: the order of chunks both routes share. `Shape` is what differs.

[opening of choice 0, 1, ...]  (text of some choice | closing of some choice)*  [usage]  [DONE]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tropilla.api.surface import Call, Frame
from tropilla.api.surfaces.openai.answer import REASONS, Answer, Tally, envelope
from tropilla.api.surfaces.openai.faults import fault
from tropilla.api.surfaces.openai.logprobs import Seen, Sight
from tropilla.common.errors import from_failed
from tropilla.common.generation import Event, Failed, Finished, Token

DONE = Frame("[DONE]")


@dataclass(frozen=True, slots=True)
class Shape:
    """A route's own keys of a chunk's choice. `opening` None: a choice needs no opening.

    `logprobs` gets the tokens a chunk shows and their choice.
    """

    object: str
    opening: dict[str, Any] | None
    text: Callable[[str], dict[str, Any]]
    closing: dict[str, Any]
    logprobs: Callable[[list[Seen], int], Any]


class Stream:
    """One streamed answer. The first event opens every choice in index order: SDKs append them as they arrive."""

    def __init__(self, call: Call, shape: Shape) -> None:
        self._shape = shape
        self._answer: Answer = call.answer
        self._head = envelope(call, shape.object)
        self._tally = Tally(call.request)
        self._sights = None if call.request.logprobs is None else [Sight() for _ in range(call.request.choices)]
        self._choices = self._open = call.request.choices
        self._opened = False

    def feed(self, event: Event) -> Iterator[Frame]:
        match event:
            case Failed():
                yield Frame(fault(from_failed(event)).body)
                yield DONE
            case Token():
                yield from self._opening()
                yield from self._token(event)
            case Finished():
                yield from self._opening()
                yield from self._finished(event)

    def _opening(self) -> Iterator[Frame]:
        if not self._opened and self._shape.opening is not None:
            for index in range(self._choices):
                yield self._chunk(index, self._shape.opening)
        self._opened = True

    def _token(self, token: Token) -> Iterator[Frame]:
        self._tally.count(token.choice)
        seen = self._sights[token.choice].feed(token) if self._sights else []
        if token.text:
            logprobs = self._shape.logprobs(seen, token.choice) if seen else None
            yield self._chunk(token.choice, self._shape.text(token.text), logprobs)

    def _finished(self, finished: Finished) -> Iterator[Frame]:
        self._tally.finish(finished)
        yield self._chunk(finished.choice, self._shape.closing, reason=REASONS[finished.reason])
        self._open -= 1
        if self._open:
            return
        if self._answer.include_usage:
            yield Frame({**self._head, "choices": [], "usage": self._tally.total()})
        yield DONE

    def _chunk(self, index: int, keys: dict[str, Any], logprobs: Any = None, reason: str | None = None) -> Frame:
        choice = {"index": index, **keys, "logprobs": logprobs, "finish_reason": reason}
        chunk = {**self._head, "choices": [choice]}
        if self._answer.include_usage:
            chunk["usage"] = self._tally.total() if self._answer.running_usage else None
        return Frame(chunk)

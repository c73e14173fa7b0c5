"""A streamed OpenAI answer: the order of chunks both routes share. `Shape` is what differs.

[opening of choice 0, 1, ...]  (pieces of some choice | closing of some choice)*  [usage]  [DONE]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tropilla.api.surface import Call, Frame
from tropilla.api.surfaces.openai.answer import Answer, Tally, envelope
from tropilla.api.surfaces.openai.faults import fault
from tropilla.api.surfaces.openai.token_facts import prompt_facts
from tropilla.common.errors import from_failed
from tropilla.common.generation import Event, Failed, Finished, Prompted, Token

DONE = Frame("[DONE]")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk says of its choice: a route's own keys, and the log-probabilities of the tokens it shows."""

    keys: dict[str, Any]
    logprobs: Any = None
    finish_reason: str | None = None


class Shape(Protocol):
    """A route's own state of one stream."""

    @property
    def object(self) -> str: ...
    @property
    def one_prompt(self) -> bool:
        """All choices answer one prompt: what is told of it stands in the chunk, not in a choice."""
        ...

    def opening(self, choice: int, /) -> Iterable[Piece]: ...
    def prompted(self, event: Prompted, /) -> Iterable[Piece]: ...
    def token(self, token: Token, /) -> Iterable[Piece]: ...
    def closing(self, finished: Finished, /) -> Piece: ...


class Stream:
    """One streamed answer. The first event opens every choice in index order: SDKs append them as they arrive."""

    def __init__(self, call: Call, shape: Shape) -> None:
        self._shape = shape
        self._answer: Answer = call.answer
        self._head = envelope(call, shape.object)
        self._tally = Tally(call.request)
        self._choices = self._open = call.request.choices
        self._opened = False
        self._prompts: dict[int, dict[str, Any]] = {}
        self._ids: list[list[int]] = [[] for _ in range(self._choices)]

    def feed(self, event: Event) -> Iterator[Frame]:
        match event:
            case Failed():
                yield Frame(fault(from_failed(event)).body)
                yield DONE
            case Prompted():
                self._tally.prompted(event.choice, len(event.tokens))
                self._prompts[event.choice] = prompt_facts(self._answer, event.tokens)
                yield from self._opening()
                yield from self._chunks(event.choice, self._shape.prompted(event))
            case Token():
                yield from self._opening()
                self._tally.count(event.choice)
                self._ids[event.choice].append(event.id)
                yield from self._chunks(event.choice, self._shape.token(event))
            case Finished():
                yield from self._opening()
                yield from self._finished(event)

    def _opening(self) -> Iterator[Frame]:
        if not self._opened:
            self._opened = True
            for choice in range(self._choices):
                yield from self._chunks(choice, self._shape.opening(choice))

    def _finished(self, finished: Finished) -> Iterator[Frame]:
        self._tally.finish(finished)
        yield from self._chunks(finished.choice, [self._shape.closing(finished)])
        self._open -= 1
        if self._open:
            return
        if self._answer.include_usage:
            yield Frame({**self._head, "choices": [], "usage": self._tally.total()})
        yield DONE

    def _chunks(self, choice: int, pieces: Iterable[Piece]) -> Iterator[Frame]:
        for piece in pieces:
            said = {"index": choice, **piece.keys, "logprobs": piece.logprobs, "finish_reason": piece.finish_reason}
            chunk: dict[str, Any] = {**self._head, "choices": [said]}
            about = self._prompts.pop(choice, {})
            if not self._shape.one_prompt:
                said |= about
            elif choice == 0:
                chunk |= about
            if self._answer.token_ids:
                # All tokens since the choice's last chunk: some show nothing, some come out in several chunks.
                said["token_ids"], self._ids[choice] = self._ids[choice], []
            if self._answer.include_usage:
                chunk["usage"] = self._tally.total() if self._answer.running_usage else None
            yield Frame(chunk)

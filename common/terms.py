"""On whose behalf a request runs, and how urgently: what decides its place among those that wait. Pure.

What is asked of a model is the request's own; nothing here changes an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tropilla.common.generation import (
    ChatPrompt,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    InfillPrompt,
    LoadRequest,
    MixedPrompt,
    Prompt,
    Request,
    TextPrompt,
    TokenizeRequest,
    TokenPrompt,
)
from tropilla.common.keys import NO_LIMITS, Limits

#: Whoever is more urgent goes first, always; among equals keys take turns by tokens (room.lua).
Priority = Literal["interactive", "normal", "batch"]
PRIORITIES: tuple[Priority, ...] = ("interactive", "normal", "batch")

#: An answer is thought to have so many tokens unless less was asked for; what it had is settled when it ends.
LIKELY_TOKENS = 256
#: Of text, for a token.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Terms:
    """`key` is who asks: the id of an API key, or where none is needed a digest of what the caller calls his; "" for
    nobody. `limits` are that key's own. `deadline_seconds` counts from admission; None is the operator's. With
    `idempotency` (the caller's word for this very request) and `digest` (of what it asks for), a request that was asked for
    before is joined instead of being run again.
    """

    key: str = ""
    priority: Priority = "normal"
    deadline_seconds: float | None = None
    idempotency: str = ""
    digest: str = ""
    limits: Limits = NO_LIMITS
    #: The traceparent of whoever asks, for the spans of its workers; "" where nobody collects them.
    trace: str = ""


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many requests may wait: for one model, for one key (0: as many as for a model), and in all. Of a model's places,
    and of all, a key may have its share only; see admit.lua.
    """

    model: int
    key: int
    all: int


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A request that waits in a lane, as workers hear of it."""

    request_id: str
    lane: str
    key: str = ""
    priority: Priority = "normal"


@dataclass(frozen=True, slots=True)
class Told:
    """What Redis knows of a request. `done`: as the ledger has its outcome, "" while it lives; `kind`: `kind`."""

    done: str
    kind: str
    model: str
    generated: int


def cost(request: Request) -> int:
    """About how many tokens a request takes, prompts and answers together; at least 1."""
    prompts = sum(map(_tokens, request.prompts))
    if not isinstance(request, GenerationRequest):
        return max(1, prompts)
    likely = LIKELY_TOKENS if request.max_tokens is None else min(request.max_tokens, LIKELY_TOKENS)
    return max(1, prompts + request.choices * likely)


def kind(request: Request) -> str:
    """What the ledger calls it; "" is not written down there."""
    match request:
        case GenerationRequest():
            return "generation"
        case EmbeddingRequest():
            return "embedding"
        case TokenizeRequest() | LoadRequest():
            return ""


def ending(event: Event) -> str:
    """What the ledger says of a request whose last event this is."""
    match event:
        case Failed(code="expired" | "cancelled" as code):
            return code
        case Failed():
            return f"failed:{event.code}"
        case Finished(reason="cancelled"):
            return "cancelled"
        case _:
            return "completed"


def _tokens(prompt: Prompt) -> int:
    match prompt:
        case ChatPrompt():
            return len(prompt.context) + sum(len(message.content) for message in prompt.messages) // BYTES_PER_TOKEN
        case TextPrompt():
            return len(prompt.context) + len(prompt.text) // BYTES_PER_TOKEN
        case TokenPrompt():
            return len(prompt.ids)
        case MixedPrompt():
            return sum(1 if isinstance(part, int) else len(part) // BYTES_PER_TOKEN for part in prompt.parts)
        case InfillPrompt():
            return (len(prompt.prefix) + len(prompt.suffix)) // BYTES_PER_TOKEN

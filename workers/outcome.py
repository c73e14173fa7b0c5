"""What a ticket came to, in a few words for Flower: what became of the request, its tokens and model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tropilla.common.terms import Told

#: done: the request was answered, or the ticket did what it could and the request goes on elsewhere.
Kind = Literal["done", "revoked", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`expired`: its time was over, where it is `revoked`; else nobody wanted it any more."""

    kind: Kind
    text: str
    expired: bool = False


def served(told: Told | None, said: str) -> Outcome:
    """Of the request that a ticket was for. said: what its holder knows, where Redis does not say how it has ended."""
    if told is None:
        return Outcome("done", said)
    # What is no generation has no words of its own in the books: its holder has.
    if not told.done or (told.done == "completed" and not told.kind):
        return Outcome("done", f"{said}: {told.model}")
    return _ended(told)


def nobody(told: Told | None) -> Outcome:
    """Nobody waited. told: of the request that the ticket was made for, which may have left the queue by itself."""
    if told is None or not told.done:
        return Outcome("done", "nobody waits")
    ended = _ended(told)
    return ended if ended.kind == "revoked" else Outcome("done", f"by another ticket: {ended.text}")


def _ended(told: Told) -> Outcome:
    if told.done == "completed":
        text = f"completed {told.generated} tokens of" if told.kind == "generation" else f"completed {told.kind} by"
        return Outcome("done", f"{text} {told.model}")
    if told.done in ("cancelled", "expired"):
        text = f"{told.done} after {told.generated} tokens of {told.model}"
        return Outcome("revoked", text, expired=told.done == "expired")
    return Outcome("failed", f"{told.done} of {told.model}")

"""What an earlier attempt at a request left in its journal: where the next one goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tropilla.common.generation import Event, Finished, Prompted, Token


@dataclass(frozen=True, slots=True)
class Past:
    """said: the tokens of each choice that was begun and has not ended; its prompt has been told, too, if it was wanted.
    ended: choices of which nothing more comes.
    """

    said: Mapping[int, tuple[Token, ...]] = field(default_factory=dict)
    ended: Collection[int] = frozenset()


#: Before the first attempt.
NOTHING = Past()


def past(events: Iterable[Event]) -> Past:
    """What these events, in their order, leave to be done."""
    said: dict[int, list[Token]] = {}
    ended: set[int] = set()
    for event in events:
        match event:
            case Prompted(choice=choice):
                said.setdefault(choice, [])
            case Token(choice=choice):
                said.setdefault(choice, []).append(event)
            case Finished(choice=choice):
                said.pop(choice, None)
                ended.add(choice)
    return Past({choice: tuple(tokens) for choice, tokens in said.items()}, frozenset(ended))

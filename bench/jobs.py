"""What the client is asked to do and what it saw: values that cross two process borders as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """`bodies` are sent by `streams` lanes, each taking the next when its last is done.

    `intruder` is one more request, sent when each of the first `streams` has had `intrude_after` events.
    """

    port: int
    path: str
    streams: int
    bodies: Sequence[Mapping[str, Any]]
    intruder: Mapping[str, Any] | None = None
    intrude_after: int = 0

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> Job:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the client saw it. Times are seconds of one clock; `tokens` are the words in each event."""

    sent: float
    arrivals: tuple[float, ...]
    tokens: tuple[int, ...]
    generated: int | None
    prompt: int | None
    cached: int | None

    @property
    def first(self) -> float:
        return self.arrivals[0]

    @property
    def last(self) -> float:
        return self.arrivals[-1]

    @property
    def count(self) -> int:
        return sum(self.tokens)


@dataclass(frozen=True, slots=True)
class Record:
    """All that a job saw."""

    requests: tuple[Seen, ...]
    intruder: Seen | None = None

    def encode(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> Record:
        known = json.loads(text)
        intruder = known["intruder"]
        return cls(tuple(map(_seen, known["requests"])), _seen(intruder) if intruder else None)


def _seen(known: dict[str, Any]) -> Seen:
    return Seen(**{**known, "arrivals": tuple(known["arrivals"]), "tokens": tuple(known["tokens"])})

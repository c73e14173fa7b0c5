"""Where the spans of a trace stand, and what one says: W3C's trace context, and OpenTelemetry's model, as values. Pure.

A request's trace is one: the API's span of the HTTP request, and below it what workers did. All of them are written down
when they are over, from durations that were measured anyway, so nothing of this is on a token's way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: Of an inference server, for `gen_ai.provider.name`.
PROVIDER = "tropilla"

#: Version 00 has exactly these; a later one may have more behind them, which is not ours to read (W3C, section 2.2).
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

Kind = Literal["server", "consumer", "internal"]
Value = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Of one span: its trace (32 hexadecimal digits), its own id (16), and whether anybody collects the trace."""

    trace: str
    span: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """What the header of that name says to whoever goes on below it."""
        return f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"

    def derived(self, what: str) -> Place:
        """Of the span below this one that is called so: everybody who knows the name finds the same."""
        digest = hashlib.sha256(f"{self.trace}/{self.span}/{what}".encode()).hexdigest()
        return Place(self.trace, digest[:16], self.sampled)


def parse(traceparent: str) -> Place | None:
    """None for what is no trace context: then a new trace begins, as W3C has it."""
    found = _PARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return Place(trace, span, bool(int(flags, 16) & _SAMPLED))


@dataclass(frozen=True, slots=True)
class Span:
    """What was done from `start` to `end`, Unix nanoseconds, below `parent`. `error`: a word for what went wrong, "" for
    nothing. `links`: what it goes on from.
    """

    name: str
    place: Place
    parent: Place | None
    start: int
    end: int
    attributes: Mapping[str, Value]
    kind: Kind = "internal"
    error: str = ""
    links: tuple[Place, ...] = ()


def attempt_place(request: Place, attempt: int) -> Place:
    """Of a worker's attempt at a request: known also to whoever comes after a worker that was lost."""
    return request.derived(f"attempt {attempt}")

"""What a file and a batch are to the house, whatever dialect asks: plain values, and the words between its parts.

An id begins with the time it was made at, so that ids in order are things in order, and a page of a listing goes on behind
an id without having to find it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_HEX = "[0-9a-f]{32}"
FILE_ID = re.compile(f"file-{_HEX}")
BATCH_ID = re.compile(f"batch_{_HEX}")

#: What a caller brings a file for, and what a batch leaves.
Purpose = Literal["batch", "batch_output"]
Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
#: How a batch can end once its lines have been looked through.
Ending = Literal["completed", "expired", "cancelled"]
#: Nothing happens to a batch after these.
ENDED: frozenset[Status] = frozenset({"failed", "completed", "expired", "cancelled"})


def new_file_id(now: float) -> str:
    return f"file-{_sortable(now)}"


def new_batch_id(now: float) -> str:
    return f"batch_{_sortable(now)}"


def made_at(object_id: str) -> int:
    """When the id was made, Unix seconds."""
    return int(object_id[-32:][:12], 16) // 1000


def _sortable(now: float) -> str:
    """Milliseconds, and 80 bits that nobody guesses: 32 hex digits."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class File:
    """Times are Unix seconds; None: it is kept until somebody deletes it. `key` is whose it is (`Principal.key`)."""

    id: str
    name: str
    purpose: Purpose
    size_bytes: int
    created_at: int
    expires_at: int | None = None
    key: str = ""

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with a batch's file, and in which line, counted from 1; None: with the file as a whole."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What answered lines have taken, in tokens. `cached` are among the prompt's, `reasoning` among the generated."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    reasoning: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.generated + other.generated,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a batch is: its lines, those answered with a 200, those with anything else, and their tokens."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    tokens: Tokens = field(default_factory=Tokens)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done, and never changes. `window` is as it was said; `key` is who asks (`Terms.key`).

    `output_seconds`: how long the files that it leaves are kept.
    """

    id: str
    endpoint: str
    input_file_id: str
    window: str
    created_at: int
    expires_at: int
    output_seconds: int
    metadata: Mapping[str, str] | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """`times`: status -> when it was reached, Unix seconds. The files are those it leaves, "" for none (yet)."""

    asked: Asked
    status: Status = "validating"
    times: Mapping[Status, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    objections: tuple[Objection, ...] = ()
    #: What it ends in. From when this is set no further answer counts, and the files have their names.
    ending: Ending | None = None
    output_file_id: str = ""
    error_file_id: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def files(self) -> frozenset[str]:
        """Those it reads and those it leaves."""
        return frozenset({self.asked.input_file_id, self.output_file_id, self.error_file_id} - {""})

"""The usage ledger: one row for every generation and embedding request that was accepted, however it ended, in that order.

room.lua writes it, in the same script that ends the request. What is counted in it was counted when events went into the
journal (append.lua), in the very call that raised Prometheus's counters: so the rows, the journals and those add up to the
same tokens. What a worker had computed and not yet handed over when it was lost is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from tropilla.common import names
from tropilla.common.bus import Bus, redis_errors_translated

#: So many rows are asked for at once: some 200 kB.
PAGE = 1000

By = Literal["key", "model", "day", "outcome"]


@dataclass(frozen=True, slots=True)
class Row:
    """What one request took. `time`: when it ended, by Redis's clock, and `ms`: how long after it was accepted.

    `key` is who asked (terms.py), `priority` how urgently. `outcome` is completed, cancelled, expired or failed:CODE.
    Tokens: `prompt` of all its prompts, each counted once, of which `cached` had not to be computed; `generated` in all its
    answers. A prompt that no worker had read yet has none. `attempts`: how often a worker took it; `lost`: how many workers
    were lost meanwhile; `worker`: the last who took it, "" where nobody had.
    """

    time: datetime
    request: str
    kind: str
    model: str
    key: str
    priority: str
    outcome: str
    prompt: int
    cached: int
    generated: int
    attempts: int
    lost: int
    ms: int
    worker: str


#: Where the stream's field is called otherwise.
_FIELDS = {"priority": "class"}
_NUMBERS = {"prompt", "cached", "generated", "attempts", "lost", "ms"}

#: What a row is added to, by what is wanted.
GROUPS: Mapping[By, Callable[[Row], str]] = {
    "key": lambda row: row.key,
    "model": lambda row: row.model,
    "day": lambda row: f"{row.time:%Y-%m-%d}",
    "outcome": lambda row: row.outcome,
}


@dataclass(slots=True)
class Sum:
    """Of some rows: how they ended, and their tokens."""

    requests: int = 0
    completed: int = 0
    cancelled: int = 0
    expired: int = 0
    failed: int = 0
    prompt: int = 0
    cached: int = 0
    generated: int = 0

    def add(self, row: Row) -> None:
        self.requests += 1
        match row.outcome:
            case "completed":
                self.completed += 1
            case "cancelled":
                self.cancelled += 1
            case "expired":
                self.expired += 1
            case _:
                self.failed += 1
        self.prompt += row.prompt
        self.cached += row.cached
        self.generated += row.generated


def sums(rows: Iterable[Row], by: By) -> dict[str, Sum]:
    """Group -> its sum, in the groups' order; days are UTC's."""
    found: dict[str, Sum] = {}
    for row in rows:
        found.setdefault(GROUPS[by](row), Sum()).add(row)
    return dict(sorted(found.items()))


class Ledger:
    """Over a process's bus."""

    def __init__(self, bus: Bus) -> None:
        self._redis = bus.connection

    def rows(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        key: str | None = None,
        model: str | None = None,
    ) -> Iterator[Row]:
        """Of the requests that ended from `since` on and before `until`, the oldest first; those of a key, of a model.
        Raises `StoreUnavailable`.
        """
        start, end = _entry(since) if since else "-", f"({_entry(until)}-0" if until else "+"
        while page := self._page(start, end):
            for _, row in page:
                if key in (None, row.key) and model in (None, row.model):
                    yield row
            start = f"({page[-1][0]}"

    @redis_errors_translated
    def _page(self, start: str, end: str) -> list[tuple[str, Row]]:
        found: Any = self._redis.xrange(names.LEDGER_KEY, start, end, count=PAGE)
        return [(entry.decode(), _row(entry, told)) for entry, told in found]


def _entry(moment: datetime) -> str:
    """The first id an entry of that moment may have, but for its number."""
    return str(max(0, round(moment.timestamp() * 1000)))


def _row(entry: bytes, told: Mapping[bytes, bytes]) -> Row:
    time = datetime.fromtimestamp(int(entry.partition(b"-")[0]) / 1000, UTC)
    values: dict[str, Any] = {"time": time}
    for field in fields(Row)[1:]:
        text = told.get(_FIELDS.get(field.name, field.name).encode(), b"").decode()
        values[field.name] = int(text or 0) if field.name in _NUMBERS else text
    return Row(**values)

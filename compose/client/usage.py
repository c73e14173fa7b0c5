"""`tropilla usage`: what requests took, row by row or added up."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC

from tropilla.common.ledger import Ledger, Row, sums
from tropilla.compose.client import tables
from tropilla.compose.client.books import Books, opened
from tropilla.compose.client.wire import JSON

#: How often somebody who watches is told how far it is.
TELL_SECONDS = 0.5


def run_usage(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        rows = Ledger(books.bus).rows(since=asked.since, until=asked.until, key=asked.key, model=asked.model)
        if books.json:
            for row in rows:
                books.screen.json(row_json(row))
            return 0
        found = sums(_told(rows, books), asked.by)
        if not found:
            books.screen.say("nothing was asked of this cluster in that time, or it is not in the ledger any more")
            return 0
        books.screen.table((asked.by.upper(), *tables.SUM_HEADER), tables.sum_rows(found))
    return 0


def row_json(row: Row) -> JSON:
    return {**asdict(row), "time": row.time.astimezone(UTC).isoformat(timespec="milliseconds")}


def _told(rows: Iterable[Row], books: Books) -> Iterator[Row]:
    """The same, with a line that counts them for whoever has to wait and watches."""
    if not books.screen.watched:
        yield from rows
        return
    told, count = time.monotonic(), 0
    with books.screen.console().status("") as status:
        for row in rows:
            count += 1
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                status.update(f"{count:,} rows, up to {row.time:%Y-%m-%d %H:%M}")
            yield row

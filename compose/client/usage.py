"""`tropilla usage`: what requests took, row by row or added up."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC

from tropilla.common.keys import Key
from tropilla.common.keystore import Keystore
from tropilla.common.ledger import Ledger, Row, Sum, sums
from tropilla.compose.client import tables
from tropilla.compose.client.books import Books, opened
from tropilla.compose.client.wire import JSON

#: How often somebody who watches is told how far it is.
TELL_SECONDS = 0.5


def run_usage(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        keys = Keystore(books.bus).all()
        wanted = None if asked.key is None else key_id(keys, asked.key)
        rows = Ledger(books.bus).rows(since=asked.since, until=asked.until, key=wanted, model=asked.model)
        if books.json:
            for row in rows:
                books.screen.json(row_json(row))
            return 0
        found = sums(_told(rows, books), asked.by)
        if asked.by == "key":
            found = called(found, keys)
        if not found:
            books.screen.say("nothing was asked of this cluster in that time, or it is not in the ledger any more")
            return 0
        books.screen.table((asked.by.upper(), *tables.SUM_HEADER), tables.sum_rows(found))
    return 0


def key_id(keys: Iterable[Key], word: str) -> str:
    """As the ledger's rows have it: what is no key's name stands for itself."""
    named = [key for key in keys if key.name and key.name == word]
    # The one that counts, where others had the name before it.
    return max(named, key=lambda key: (key.revoked is None, key.created)).id if named else word


def called(sums: Mapping[str, Sum], keys: Iterable[Key]) -> dict[str, Sum]:
    """By what people call the keys, and by their ids where two had one name."""
    names = {key.id: key.name for key in keys if key.name}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}

    def word(key: str) -> str:
        name = names.get(key, key)
        return f"{name} ({key})" if name in shared else name

    return {word(key): each for key, each in sums.items()}


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

"""`tropilla keys create | list | revoke`: who may call the API, and for what."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from tropilla.api.batches.book import Book
from tropilla.common.keys import Key, Limits, new_key
from tropilla.common.keystore import Keystore
from tropilla.compose.client import tables
from tropilla.compose.client.books import Books, opened
from tropilla.compose.client.errors import Refusal
from tropilla.compose.client.wire import JSON


def run_create(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        now = time.time()
        key, secret = new_key(
            name=asked.name or "",
            scopes=tuple(dict.fromkeys(asked.scopes or ("inference",))),
            limits=Limits(asked.most_waiting, asked.requests_per_minute, asked.tokens_per_day),
            created=int(now),
            expires=int(now + asked.expires.total_seconds()) if asked.expires else None,
        )
        if Keystore(books.bus).keep(key) == "taken":
            raise Refusal(f"there is a key called {key.name} already: revoke it, or choose another --name")
        if books.json:
            books.screen.json({**facts(key), "key": secret})
            return 0
        books.screen.write(f"{secret}\n")
        books.screen.say(f"This is {key.id}. It is shown this once and kept nowhere.")
    return 0


def run_list(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        keystore = Keystore(books.bus)
        keys, used, spent = keystore.all(), keystore.last_used(), keystore.spent_today()
        if books.json:
            for key in keys:
                took = {"last_used": _time(used.get(key.id)), "tokens_today": spent.get(key.id, 0)}
                books.screen.json({**facts(key), **took})
        elif not keys:
            books.screen.say("There are no keys. `tropilla keys create` makes one.")
        else:
            books.screen.table(tables.KEY_HEADER, tables.key_rows(keys, used, spent, datetime.now(UTC)))
    return 0


def run_revoke(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        keystore = Keystore(books.bus)
        known = keystore.all()
        # All of them or none, where one is mistyped.
        for key in [_named(known, word) for word in dict.fromkeys(asked.words)]:
            if key.revoked is None:
                key = keystore.revoke(key, now=int(time.time()))
            stopped = _stop_batches(books, key)
            if books.json:
                books.screen.json({**facts(key), "batches_cancelled": stopped})
            else:
                also = f", and {stopped} of its batches {'is' if stopped == 1 else 'are'} cancelled" if stopped else ""
                books.screen.say(f"{key.name or key.id} (...{key.last_four}) is revoked{also}.")
    return 0


def facts(key: Key) -> JSON:
    """What may be known of a key: neither its secret nor the digest of that."""
    found = {name: value for name, value in asdict(key).items() if name != "digest"}
    return {**found, **{name: _time(found[name]) for name in ("created", "expires", "revoked")}}


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _named(keys: Iterable[Key], word: str) -> Key:
    """By its id, or by its name: the one that counts, where others had the name before it."""
    found = [key for key in keys if word in (key.id, key.name)]
    if not found:
        raise Refusal(f"there is no key {word}: `tropilla keys list` shows which there are")
    return next((key for key in found if key.revoked is None), found[-1])


def _stop_batches(books: Books, key: Key) -> int:
    """What a key has begun does not go on without it."""
    book, stopped = Book(books.bus), 0
    for batch_id in sorted(book.open()):
        batch = book.find(batch_id)
        if batch is not None and batch.asked.key == key.id and batch.status != "cancelling":
            stopped += book.cancel(batch_id, now=int(time.time())) in ("validating", "in_progress")
    return stopped

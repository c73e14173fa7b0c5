"""API keys in Redis, where every API process finds them: made, revoked, used; and the secret of our own processes.

A key is never taken away: a revoked one stays, so that the ledger's rows keep their name.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, cast

from tropilla.common import names
from tropilla.common.bus import Bus, Listener, redis_errors_translated
from tropilla.common.keys import Key
from tropilla.common.records import record

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400


class Keystore:
    """Over a process's bus. Every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._redis = bus, bus.connection
        self._keep = bus.script("keep_key", grows=True)
        # Also of a Redis that is full.
        self._revoke = bus.script("revoke_key")

    @redis_errors_translated
    def keep(self, key: Key, *, first: bool = False) -> Literal["kept", "taken", "later"]:
        """taken: another one that counts has its name. first: only where there has never been one, else later."""
        args = [key.id, _encoded(key), key.name, names.KEYS_CHANNEL, int(first)]
        outcome = self._keep(keys=[names.KEYS_KEY, names.KEY_NAMES_KEY], args=args).decode()
        return cast("Literal['kept', 'taken', 'later']", outcome)

    @redis_errors_translated
    def all(self) -> tuple[Key, ...]:
        """The oldest first."""
        found = cast("dict[bytes, bytes]", self._redis.hgetall(names.KEYS_KEY))
        keys = [key for data in found.values() if (key := _decoded(data)) is not None]
        return tuple(sorted(keys, key=lambda key: (key.created, key.id)))

    @redis_errors_translated
    def revoke(self, key: Key, *, now: int) -> Key:
        """It opens nothing from now on; its name is free for another one."""
        revoked = replace(key, revoked=now)
        args = [key.id, _encoded(revoked), key.name, names.KEYS_CHANNEL]
        self._revoke(keys=[names.KEYS_KEY, names.KEY_NAMES_KEY], args=args)
        return revoked

    @redis_errors_translated
    def used(self, moments: Mapping[str, int]) -> None:
        """Ids -> when those keys were used, Unix seconds."""
        self._redis.hset(names.KEYS_USED_KEY, mapping=cast(Any, dict(moments)))

    @redis_errors_translated
    def last_used(self) -> dict[str, int]:
        found = cast("dict[bytes, bytes]", self._redis.hgetall(names.KEYS_USED_KEY))
        return {key_id.decode(): int(moment) for key_id, moment in found.items()}

    @redis_errors_translated
    def spent_today(self) -> dict[str, int]:
        """Ids -> tokens, by Redis's own day."""
        seconds, _ = self._redis.time()
        found = cast("dict[bytes, bytes]", self._redis.hgetall(names.spent_key(seconds // DAY_SECONDS)))
        return {key_id.decode(): int(tokens) for key_id, tokens in found.items()}

    def listen(self) -> Listener:
        """A subscription to the ids of keys that were made or revoked."""
        return Listener(self._bus.url, names.KEYS_CHANNEL)

    @redis_errors_translated
    def internal_secret(self) -> str:
        """What our own processes show each other, the same for all of one Redis; made by whoever asks first."""
        found = cast("bytes | None", self._redis.get(names.INTERNAL_SECRET_KEY))
        if found is None:
            self._redis.set(names.INTERNAL_SECRET_KEY, secrets.token_urlsafe(32), nx=True)
            found = cast(bytes, self._redis.get(names.INTERNAL_SECRET_KEY))
        return found.decode()


def _encoded(key: Key) -> bytes:
    return json.dumps(asdict(key), separators=(",", ":")).encode()


def _decoded(data: bytes) -> Key | None:
    """None for one that this release cannot read: it opens nothing here."""
    try:
        return record(Key, json.loads(data))
    except (TypeError, ValueError):
        log.warning("a newer release has made an API key that this one cannot read")
        return None

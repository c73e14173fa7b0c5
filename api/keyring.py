"""The API keys of the cluster as this process knows them: all of them, in memory.

So no request waits for Redis on account of its key, and a Redis that is away locks nobody out: those who are known stay
known, those who are not stay strangers. What is made or revoked is heard of at once, and looked after every few seconds
where a message was lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from tropilla.common.bus import Listener
from tropilla.common.errors import StoreUnavailable
from tropilla.common.keys import NO_LIMITS, REFUSALS, Key, Limits, digest_of

log = logging.getLogger(__name__)

#: Between two looks at all keys, where nothing was heard.
REFRESH_SECONDS = 3.0
RECONNECT_SECONDS = 0.5


class Keys(Protocol):
    """What is needed of `keystore.Keystore`."""

    def all(self) -> tuple[Key, ...]: ...
    def used(self, moments: Mapping[str, int]) -> None: ...
    def listen(self) -> Listener: ...


class Keyring:
    """`start` it once, or `refresh` it by hand."""

    def __init__(self, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._clock = keys, clock
        self._by_digest: Mapping[str, Key] = {}
        self._by_id: Mapping[str, Key] = {}
        #: Not told to Redis yet: which keys were used, and when, in Unix seconds.
        self._used: dict[str, int] = {}
        self._refreshed_at = float("-inf")
        #: When its thread was last seen to turn.
        self.turned_at = clock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keyring", daemon=True)

    def start(self) -> None:
        """Raises `StoreUnavailable` where the keys cannot be read: nobody could call."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def find(self, secret: str) -> Key | None:
        """Revoked and expired ones, too."""
        return self._by_digest.get(digest_of(secret))

    def limits(self, key_id: str) -> Limits:
        key = self._by_id.get(key_id)
        return key.limits if key else NO_LIMITS

    def refusal(self, key_id: str, now: float) -> str:
        """Why a key opens nothing any more; "" where it does, or is none that was ever made here."""
        key = self._by_id.get(key_id)
        standing = key.standing(now) if key else "good"
        return "" if standing == "good" else REFUSALS[standing]

    def note(self, key: Key, now: float) -> None:
        """It is used."""
        self._used[key.id] = int(now)

    def refresh(self) -> None:
        """Raises `StoreUnavailable`; then what was known before counts."""
        found = self._keys.all()
        self._by_digest = {key.digest: key for key in found}
        self._by_id = {key.id: key for key in found}
        self._refreshed_at = self._clock()
        self._tell_of_use()

    def _tell_of_use(self) -> None:
        """What cannot be told now is told the next time: a Redis without room keeps nobody from hearing of keys."""
        used, self._used = self._used, {}
        try:
            if used:
                self._keys.used(used)
        except StoreUnavailable:
            self._used = used | self._used

    def _run(self) -> None:
        """Supervised: a revoked key would open everything for ever."""
        while not self._stopping.is_set():
            self.turned_at = self._clock()
            try:
                listener = self._keys.listen()
                try:
                    # What was said before that was not heard.
                    self.refresh()
                    self._follow(listener)
                finally:
                    listener.close()
            except StoreUnavailable as error:
                log.warning("changes of API keys are not heard of: %s", error.message)
                self._stopping.wait(RECONNECT_SECONDS)
            except Exception:
                log.exception("the keyring broke and starts again")
                self._stopping.wait(RECONNECT_SECONDS)

    def _follow(self, listener: Listener) -> None:
        while not self._stopping.is_set():
            self.turned_at = self._clock()
            heard = listener.read()
            if heard is not None or self._clock() - self._refreshed_at >= REFRESH_SECONDS:
                self.refresh()

"""The guard in front of every route: who asks, and whether his API key opens it. Before the body is read.

Where no key is needed, one that is given is not looked at; it still says whose turn it is.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from flask import g, request
from tropilla.common.errors import ScopeMissing, Unauthenticated
from tropilla.common.keys import REFUSALS, Key, Limits, Principal, Scopes, digest_of, given

#: What a server that is asked without a key wants to have; a dialect may want something else.
CHALLENGE = "WWW-Authenticate"
BEARER = 'Bearer realm="tropilla"'
#: Of a digest that only tells callers apart.
_KEY_DIGITS = 16


class Ring(Protocol):
    """What is needed of `keyring.Keyring`."""

    def find(self, secret: str) -> Key | None: ...
    def note(self, key: Key, now: float) -> None: ...
    def limits(self, key_id: str) -> Limits: ...


@dataclass(frozen=True, slots=True)
class Guard:
    """ring: None where no key is needed. `internal_secret` is what our own processes have to show, always; it may raise
    `StoreUnavailable`.
    """

    ring: Ring | None = None
    internal_secret: Callable[[], str] = lambda: ""
    clock: Callable[[], float] = time.time

    def admit(self, scopes: Scopes) -> None:
        """For the request at hand. Raises `Unauthenticated` and `ScopeMissing`."""
        secret = _given()
        if self.ring is None:
            g.principal = Principal(digest_of(secret)[:_KEY_DIGITS] if secret else "")
            return
        key = self.ring.find(secret) if secret else None
        now = self.clock()
        # What is open to everybody is so whatever key comes with it.
        standing = key.standing(now) if key else "unknown" if secret else "missing"
        if scopes and standing != "good":
            raise Unauthenticated(REFUSALS[standing])
        if key is None or standing != "good":
            g.principal = Principal(private=True, scopes=())
            return
        g.principal = Principal(key.id, private=True, limits=key.limits, scopes=key.scopes)
        demand(scopes)
        self.ring.note(key, now)

    def admit_internal(self) -> None:
        """For one of our own processes. Raises `Unauthenticated` and `StoreUnavailable`."""
        secret = self.internal_secret()
        if not secret or not hmac.compare_digest(digest_of(_given()), digest_of(secret)):
            raise Unauthenticated("this is for the processes of the cluster")


def principal() -> Principal:
    """Who asks, in the request at hand, once it was admitted."""
    return cast(Principal, g.principal)


def demand(scopes: Scopes) -> None:
    """Of the request at hand: one of these scopes, or none where there are none. Raises `ScopeMissing`."""
    if scopes and scopes.isdisjoint(principal().scopes):
        raise ScopeMissing(f"this API key may not do that: it needs the scope {' or '.join(sorted(scopes))}")


def _given() -> str:
    return given({name.lower(): value for name, value in request.headers.items()})

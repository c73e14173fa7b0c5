"""What an API key is: who it names, what it opens, and how much it may ask for. Pure.

A key's secret is shown once, when it is made, and kept nowhere: what is kept is its sha256. It holds 256 random bits, so
neither a salt nor a slow hash would make it any harder to guess; and looking a digest up in a table tells nobody who
measures the time anything of the secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: What a key may be used for: to ask models, to change which there are, to read what was counted.
Scope = Literal["inference", "admin", "metrics"]
SCOPES: tuple[Scope, ...] = ("inference", "admin", "metrics")
#: Scopes any of which will do. None at all: no key is needed.
Scopes = frozenset[Scope]

ANYBODY: Scopes = frozenset()
INFERENCE: Scopes = frozenset({"inference"})
ADMIN: Scopes = frozenset({"admin"})
METRICS: Scopes = frozenset({"metrics", "admin"})
#: To look at models, which whoever changes them has to do as well.
READING: Scopes = frozenset({"inference", "admin"})

SECRET_PREFIX, ID_PREFIX = "trp_", "key_"
SECRET = re.compile(r"trp_[A-Za-z0-9_-]{43}")
#: Why a key opens nothing, by its standing.
REFUSALS = {
    "missing": "no API key was given: send one as Authorization: Bearer KEY, or as x-api-key",
    "unknown": "this API key is not known here",
    "revoked": "this API key was revoked",
    "expired": "this API key has expired",
}
#: A name is never an id, so that either names a key.
NAME = re.compile(r"(?!key_)[A-Za-z0-9][A-Za-z0-9_.@ -]{0,63}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one key; 0: none of its own. Requests that may wait, that may begin within a minute, and tokens a day (UTC's)."""

    max_queue: int = 0
    requests_per_minute: int = 0
    tokens_per_day: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Key:
    """`digest`: the sha256 of its secret, 64 hex digits, and `last_four` the secret's last characters, by which people know
    it again. Times are Unix seconds; None: it does not expire, it was not revoked.
    """

    id: str
    digest: str
    last_four: str
    name: str = ""
    scopes: tuple[Scope, ...] = ("inference",)
    limits: Limits = field(default_factory=Limits)
    created: int = 0
    expires: int | None = None
    revoked: int | None = None

    def standing(self, now: float) -> Literal["good", "revoked", "expired"]:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "good"


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf an HTTP request comes. `key` is whose turn it is: a key's id, or where none is needed a digest of
    whatever the caller calls his key, "" without one. `private`: what others have left here is not there for him. `scopes`
    are what he may do: anything where no key is needed.
    """

    key: str = ""
    private: bool = False
    limits: Limits = NO_LIMITS
    scopes: tuple[Scope, ...] = SCOPES

    def sees(self, key: str) -> bool:
        """What was left here by that one."""
        return not self.private or key == self.key


NOBODY = Principal()


def new_key(
    *,
    name: str = "",
    scopes: tuple[Scope, ...] = ("inference",),
    limits: Limits = NO_LIMITS,
    created: int,
    expires: int | None = None,
) -> tuple[Key, str]:
    """The key, and its secret."""
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    key_id = ID_PREFIX + secrets.token_hex(6)
    return Key(key_id, digest_of(secret), secret[-4:], name, scopes, limits, created, expires), secret


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def given(headers: Mapping[str, str]) -> str:
    """What a caller calls his key, in whichever header; "" where there is none. headers: names in lower case.

    Bearer is OpenAI's, Ollama's and TGI's, x-api-key Anthropic's; Basic, with the key for a password, is for what knows
    nothing else: browsers, and addresses with a user in them.
    """
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    found = ""
    if scheme.lower() == "bearer":
        found = credentials.strip()
    elif scheme.lower() == "basic":
        found = _password(credentials.strip())
    return found or headers.get("x-api-key", "").strip()


def _password(credentials: str) -> str:
    try:
        _, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ""
    return password

"""Who asks, as far as a request says so: a digest of its API key, which is all that is ever kept of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def key_of(headers: Mapping[str, str]) -> str:
    """`Terms.key`: the first 16 hex digits of the key's sha256, "" without a key. Names of headers in lower case."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else ""
    key = key or headers.get("x-api-key", "").strip()
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""

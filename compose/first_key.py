"""The first API key: made where callers need one and there has never been any, and said this once."""

from __future__ import annotations

import time

from tropilla.common.bus import Bus
from tropilla.common.keys import new_key
from tropilla.common.keystore import Keystore
from tropilla.common.settings import Settings


def first_key(settings: Settings, bus: Bus) -> str | None:
    """The sentence for the operator; None where there is nothing to say. Several that start at once make one key.

    Raises `StoreUnavailable`.
    """
    if not settings.keys_on:
        return None
    key, secret = new_key(name="first", scopes=("inference", "admin"), created=int(time.time()))
    if Keystore(bus).keep(key, first=True) != "kept":
        return None
    return f"tropilla: the first API key is {secret}"

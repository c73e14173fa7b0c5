"""`python -m tropilla.compose.scrape_key FILE`: the API key that Prometheus reads /metrics with, kept in a file of its own.

One that is there and good stays. To be run when the API has been up: the first key of a cluster is to be a person's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tropilla.common.bus import Bus
from tropilla.common.errors import TropillaError
from tropilla.common.keys import Key, digest_of, new_key
from tropilla.common.keystore import Keystore
from tropilla.common.settings import Settings
from tropilla.compose.vault import write

NAME = "prometheus"


class Taken(TropillaError):
    """Another process has made the key between our look and our making one: its secret is not ours to write down."""


def ensure(store: Keystore, file: Path, now: int) -> bool:
    """Whether a new key had to be made. Raises `StoreUnavailable`, `Taken`, `OSError`."""
    keys = store.all()
    if file.is_file() and _opens(keys, file.read_text().strip(), now):
        return False
    # One whose secret nobody has any more keeps the name from the next.
    for lost in keys:
        if lost.name == NAME and lost.revoked is None:
            store.revoke(lost, now=now)
    key, secret = new_key(name=NAME, scopes=("metrics",), created=now)
    if store.keep(key) == "taken":
        raise Taken(f"somebody else has just made a key called {NAME}: start this again")
    write(file, secret)
    return True


def _opens(keys: Sequence[Key], secret: str, now: int) -> bool:
    return any(
        key.digest == digest_of(secret) and key.standing(now) == "good" and "metrics" in key.scopes for key in keys
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tropilla.compose.scrape_key", description="The API key of Prometheus.")
    parser.add_argument("file", type=Path)
    asked = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
        with closing(Bus.connect(settings.redis_url, settings)) as bus:
            made = ensure(Keystore(bus), asked.file, int(time.time()))
    except TropillaError as error:
        print(f"tropilla: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tropilla: {asked.file} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"tropilla: {NAME} has {'a new' if made else 'its'} key")
    return 0


if __name__ == "__main__":
    sys.exit(main())

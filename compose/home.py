"""The home folder: everything a running cluster leaves on disk, and the lock that gives it one owner."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tropilla.common.blobs import Blobs
from tropilla.common.errors import ConfigurationError

#: The Redis of a killed owner holds the lock a moment longer than its owner.
LOCK_PATIENCE_SECONDS = 2.0
LOCK_PAUSE_SECONDS = 0.05
#: Where a running cluster is, for whoever looks for it.
ADDRESSES = "up.json"
#: Locked while one runs, and its number.
LOCK = "up.lock"


def published(folder: Path) -> Mapping[str, Any]:
    """What the cluster of this home folder has written into its up.json; nothing where none runs."""
    try:
        found = json.loads((folder.expanduser() / ADDRESSES).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def owner(folder: Path) -> int | None:
    """The `tropilla up` that runs with this home folder; None where none does."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        number = os.pread(lock, 32, 0).strip()
        return int(number) if number else None
    finally:
        os.close(lock)
    return None


class Home:
    """A folder that is ours while this is open.

    `lock` is an open file with flock on it. Our Redis inherits it, so that nobody else is given the folder while it
    still writes there, even when we were killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.redis_folder = self.folder / "redis"
        self._addresses = self.folder / ADDRESSES
        try:
            # Redis keeps prompts and answers for a while, and models may be licensed: for the owner's eyes only.
            self.redis_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            Blobs.below(self.folder).folder.mkdir(mode=0o700, exist_ok=True)
            self.lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the home folder {self.folder} cannot be used ({error.strerror}): choose another with --home"
            ) from error
        try:
            self._take()
        except BaseException:
            os.close(self.lock)
            raise

    def __enter__(self) -> Home:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._addresses.unlink(missing_ok=True)
        os.close(self.lock)

    @property
    def suffix(self) -> str:
        """Tells this home's workers from all others where several share one Redis."""
        place = f"{os.uname().nodename}:{self.folder}"
        return f"-{hashlib.sha256(place.encode()).hexdigest()[:6]}"

    def publish(self, addresses: Mapping[str, object]) -> None:
        """Writes up.json, for people and scripts that look for a running cluster. It may hold a password."""
        whole = self._addresses.with_suffix(".new")
        # A full disk is no reason to stop.
        with suppress(OSError):
            whole.touch(mode=0o600)
            whole.write_text(json.dumps(addresses, indent=2) + "\n")
            whole.replace(self._addresses)

    def _take(self) -> None:
        patience_ends = time.monotonic() + LOCK_PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= patience_ends:
                    raise ConfigurationError(self._owner_sentence()) from error
                time.sleep(LOCK_PAUSE_SECONDS)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, f"{os.getpid()}\n".encode(), 0)

    def _owner_sentence(self) -> str:
        owner = os.pread(self.lock, 32, 0).decode(errors="replace").strip()
        return (
            f"another `tropilla up` (process {owner or 'unknown'}) runs with the home folder {self.folder}: "
            "stop it, or choose another with --home and other ports"
        )

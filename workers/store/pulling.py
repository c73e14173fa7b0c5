"""What fetching needs to know, what it gives, and how it fails: the words of everything in this folder."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import TroubleCode
from tropilla.common.errands import Progress, RefusalCode
from tropilla.common.errors import TropillaError
from tropilla.common.recipes import BARE, File, Overlay
from tropilla.common.sources import BareRepo

Report = Callable[[Progress], None]
#: Whether the caller wants it to stop. Asked about once a second while something moves.
Asked = Callable[[], bool]


class FetchFailed(TropillaError):
    """One sentence that says why there is no file. `code` is for the model's listing, `refusal` for who asked."""

    def __init__(self, code: TroubleCode, message: str, *, refusal: RefusalCode = "failed") -> None:
        super().__init__(message)
        self.code = code
        self.refusal = refusal


class Stopped(TropillaError):
    """The caller wanted it to stop. What there is of its files stays, for whoever goes on, unless `discard` is called."""

    def __init__(self) -> None:
        super().__init__("the download was stopped")
        self.leftovers: list[Callable[[], None]] = []

    def discard(self) -> None:
        for remove in self.leftovers:
            remove()


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder that exists. Raises `OSError`."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Pulling:
    """Everything that decides how files are fetched.

    `home` is the cluster's folder. `hosts` is the setting `pull_hosts` (hosts.py). `environment` is read for HF_ENDPOINT,
    HF_TOKEN and their like (hub.py). `insecure` allows registries over plain http. Files of this machine are taken from
    below `roots` only; a relative path is below the first of them. Times are in seconds.
    """

    home: Path
    hosts: str = "*"
    bare_repo: BareRepo = "hf"
    environment: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    roots: tuple[Path, ...] = ()
    connect_seconds: float = 10.0
    #: Silence of the other side after which a connection is given up.
    stall_seconds: float = 30.0
    free_bytes: Callable[[Path], int] = free_bytes
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    #: A number from 0 to 1, for the jitter of retries.
    chance: Callable[[], float] = random.random

    @property
    def blobs(self) -> Blobs:
        return Blobs.below(self.home)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model's files, all verified and in the store, shard 1 first, and what their source lays over them.

    `source` is where they came from, without secrets; `name` what the model may be called. `projector` reads images for
    it; nobody has looked into it yet. `warnings` say what the source has and was not taken.
    """

    files: tuple[File, ...]
    source: str
    name: str
    overlay: Overlay = BARE
    projector: File | None = None
    warnings: tuple[str, ...] = ()

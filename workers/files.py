"""A recipe's files, ready to be opened: in the store's folder, at the path that a worker was started with, or fetched.

The store and its workers mostly share a folder. A worker of another machine has one of its own, and gets what is missing
there from the cluster's API, by its digest: so nothing that comes in can be anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tropilla.common.addresses import web_address
from tropilla.common.blobs import Blobs
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Trouble
from tropilla.common.errors import StoreUnavailable
from tropilla.common.keystore import Keystore
from tropilla.common.recipes import File
from tropilla.common.settings import Settings
from tropilla.workers.store.fetch import FetchFailed, fetch_blob
from tropilla.workers.store.layout import path_of, place_of
from tropilla.workers.store.pulling import Pulling
from tropilla.workers.trouble import CannotLoad

log = logging.getLogger(__name__)


class Files:
    """`path` and `first` may take as long as a download does, and raise `CannotLoad` for what is not to be had."""

    def __init__(self, settings: Settings, secret: Callable[[], str]) -> None:
        """secret: what the processes of the cluster show each other; it may raise `StoreUnavailable`."""
        self._secret = secret
        self._home = settings.home
        self._blobs = Blobs.below(settings.home)
        self._url = settings.blobs_url or web_address(settings.host, settings.port)
        #: Where a file is -> what it is called.
        self._names: dict[str, str] = {}

    @classmethod
    def over(cls, settings: Settings, bus: Bus) -> Files:
        """For a worker of the cluster on that bus."""
        return cls(settings, Keystore(bus).internal_secret)

    def first(self, files: tuple[File, ...]) -> Path:
        """What llama.cpp is given: a model's first file, with its further shards beside it."""
        for file in files:
            self.path(file)
        try:
            path = path_of(files, self._blobs)
        except OSError as error:
            message = f"{files[0].name} cannot be laid out: {error.strerror or error}"
            raise CannotLoad(Trouble("load_failed", message)) from error
        self._names[str(path)] = files[0].name
        return path

    def path(self, file: File) -> Path:
        """Where one file is."""
        place = place_of(file, self._blobs)
        self._names[str(place)] = file.name
        if not place.is_file():
            if file.path:
                raise CannotLoad(Trouble("file_missing", f"{file.path} is not there"))
            self._fetch(file)
        return place

    def without_places(self, trouble: Trouble) -> Trouble:
        """With the names of files instead of where this machine keeps them: callers of the API read it, too."""
        message = trouble.message
        for place in sorted(self._names, key=len, reverse=True):
            message = message.replace(place, self._names[place])
        return Trouble(trouble.code, message)

    def _fetch(self, file: File) -> None:
        url = f"{self._url}/internal/blobs/{file.digest}"
        log.info("fetching %s (%.1f MB) from %s", file.name, file.size_bytes / 1e6, url)
        try:
            fetch_blob(
                file.digest,
                file.size_bytes,
                (url,),
                Pulling(self._home),
                authorization=f"Bearer {self._secret()}",
                report=lambda progress: None,
                # A signal ends the whole process.
                stopped=lambda: False,
            )
        except FetchFailed as error:
            # Nobody has it, or nobody can be asked.
            code = "file_missing" if error.refusal == "unknown" else error.code
            raise CannotLoad(Trouble(code, f"{file.name} is not here: {error.message}")) from error
        except StoreUnavailable as error:
            raise CannotLoad(Trouble("download_failed", f"{file.name} is not here: {error.message}")) from error

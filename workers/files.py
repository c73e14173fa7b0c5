"""Where a recipe's files are on this machine: in the store's folder, or at the path that a worker was started with."""

from __future__ import annotations

from pathlib import Path

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Trouble
from tropilla.common.recipes import File
from tropilla.common.settings import Settings
from tropilla.workers.trouble import CannotLoad


class Files:
    """Every method raises `CannotLoad` for a file that is not to be had."""

    def __init__(self, settings: Settings) -> None:
        self._blobs = Blobs.below(settings.home)

    def first(self, files: tuple[File, ...]) -> Path:
        """What llama.cpp is given; the others are where it looks for them."""
        paths = [self.path(file) for file in files]
        return paths[0]

    def path(self, file: File) -> Path:
        path = Path(file.path) if file.path else self._blobs.path(file.digest)
        if not path.is_file():
            raise CannotLoad(Trouble("file_missing", f"{path} ({file.name}) is not there"))
        return path

"""What llama.cpp is given: the path of a model's first file, with its further shards beside it under their own names.

llama.cpp makes the names of shards out of the path it is given, and refuses others; in the store they are called by their
digests. So a sharded model gets a folder of links.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tropilla.common.blobs import Blobs
from tropilla.common.recipes import File
from tropilla.common.shards import siblings


def place_of(file: File, blobs: Blobs) -> Path:
    """Where one file's bytes are, if they are."""
    return Path(file.path) if file.path else blobs.path(file.digest).absolute()


def path_of(files: Sequence[File], blobs: Blobs) -> Path:
    """What llama.cpp is to open; for a sharded model, all links are there. Raises `OSError`.

    Several workers may do so at once: links only come into being, whole, and all of them say the same.
    """
    first = files[0]
    if len(files) == 1:
        return place_of(first, blobs)
    assert tuple(file.name for file in files) == siblings(first.name), files
    key = hashlib.sha256("\n".join(f"{place_of(file, blobs)} {file.name}" for file in files).encode()).hexdigest()
    folder = blobs.folder / "shards" / key
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in files:
        # A link that is there points where it should: the folder is named for that.
        with suppress(FileExistsError):
            os.symlink(place_of(file, blobs), folder / file.name)
    return folder / first.name


def sweep_links(blobs: Blobs) -> None:
    """Forgets the folders of sharded models whose files are no longer there. Raises `OSError`."""
    for folder in (blobs.folder / "shards").glob("*"):
        if not all(link.exists() for link in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)

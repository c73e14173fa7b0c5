"""`import`: a file on this machine becomes a model. It is copied, or linked to and left where it is.

Whoever may import may have any file here read, so only those below the folders that the operator names are; a link that
leads out of them leads nowhere. What is no GGUF file is never taken in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition
from tropilla.common.errands import Done, Import, Progress, Word
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_header
from tropilla.common.recipes import BARE, File, Recipe
from tropilla.workers.store import facts
from tropilla.workers.store.pulling import Stopped
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]
Asked = Callable[[], bool]
PIECE_BYTES = 1 << 24


def take_in(asked: Import, stock: Stock, roots: Sequence[Path], say: Say, stopped: Asked) -> Done:
    """Raises `Refusal` and `Stopped`."""
    name = stock.name_for(asked.name, "model")
    first = _allowed(asked.path, roots)
    files = []
    for path in (first,):
        _check(path)
        say(Progress(f"reading {path.name}"))
        files.append(_taken(path, stock.blobs, link=asked.link, stopped=stopped))
    with stock.changing:
        present = stock.stored().get(name)
        if present is not None:
            if {file.digest for file in present.recipe.files} == {file.digest for file in files}:
                return Done(name)
            raise Refusal("conflict", f"a model called {name} is there already: delete it first", "model")
        try:
            weights = facts.read_weights(files, stock.blobs)
        except Unfit as error:
            raise Refusal("invalid", error.message, "path") from error
        say(Progress("writing manifest"))
        recipe = stock.pinned(Recipe("", weights.files), name)
        told = stock.tell(name, recipe, BARE, weights.header, None)
        stock.book.inform(recipe.files[0].digest, facts.information(weights.header))
        stock.put(Definition(told, recipe, source=f"file:{first.name}"))
    return Done(name)


def _allowed(text: str, roots: Sequence[Path]) -> Path:
    """Where the file really is. Nothing is said of files elsewhere, not even whether there are any."""
    if not text or "\0" in text or not roots:
        raise Refusal("invalid", "path must name a GGUF file on the server's machine", "path")
    path = (roots[0] / Path(text).expanduser()).resolve()
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        folders = ", ".join(map(str, roots))
        raise Refusal("forbidden", f"{text} is not below {folders} (TROPILLA_IMPORT_FOLDERS)", "path")
    return path


def _check(path: Path) -> None:
    """Before anything is copied."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refusal("invalid", f"{path.name} is no file", "path")
        read_header(path, called=path.name)
    except OSError as error:
        raise Refusal("unknown", f"{path.name} cannot be read: {error.strerror}", "path") from error
    except ConfigurationError as error:
        raise Refusal("invalid", error.message, "path") from error


def _taken(path: Path, blobs: Blobs, *, link: bool, stopped: Asked) -> File:
    """The file in the store, by one reading of it."""
    key = hashlib.sha256(f"import {path}".encode()).hexdigest()
    half = blobs.partial(key)
    digest, size = hashlib.sha256(), 0
    half.unlink(missing_ok=True)
    try:
        with path.open("rb") as source, _copy(half, path, blobs, link=link) as copy:
            while piece := source.read(PIECE_BYTES):
                if stopped():
                    raise Stopped
                digest.update(piece)
                size += len(piece)
                if copy is not None:
                    copy.write(piece)
        found = digest.hexdigest()
        if link:
            half.symlink_to(path)
        if blobs.has(found):
            half.unlink()
        else:
            half.replace(blobs.path(found))
    except OSError as error:
        half.unlink(missing_ok=True)
        raise Refusal("failed", f"{path.name} cannot be taken in: {error.strerror}", "path") from error
    except Stopped:
        half.unlink(missing_ok=True)
        raise
    return File(found, size, path.name)


@contextmanager
def _copy(half: Path, path: Path, blobs: Blobs, *, link: bool) -> Iterator[BinaryIO | None]:
    """What is written to beside; None for a link. On the disk before it gets its name."""
    if link:
        yield None
        return
    wanted, free = path.stat().st_size, shutil.disk_usage(blobs.folder).free
    if wanted > free:
        raise Refusal("failed", f"{path.name} has {wanted} bytes, and {free} are free on the disk of the store", "path")
    with half.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())

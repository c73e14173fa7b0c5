"""`import`: a file on this machine becomes a model. It is copied, or linked to and left where it is.

Whoever may import may have any file here read, so only those below the folders that the operator names are; a link that
leads out of them leads nowhere. What is no GGUF file is never taken in.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition
from tropilla.common.errands import Done, Import, Progress, Word
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_header
from tropilla.common.recipes import BARE, File, Recipe
from tropilla.common.shards import siblings
from tropilla.workers.store import facts
from tropilla.workers.store.local import Found, take
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Stopped
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]
PIECE_BYTES = 1 << 24


def take_in(asked: Import, stock: Stock, pulling: Pulling, say: Say, stopped: Asked) -> Done:
    """Raises `Refusal` and `Stopped`."""
    name = stock.name_for(asked.name, "model")
    first = _allowed(asked.path, pulling.roots)
    files = []
    paths = [first.with_name(each) for each in siblings(first.name)]
    for path in paths:
        _check(path)
    for path in paths:
        say(Progress(f"reading {path.name}"))
        files.append(_linked(path, stock.blobs, stopped) if asked.link else _copied(path, pulling, say, stopped))
    with stock.changing:
        present = stock.stored().get(name)
        if present is not None:
            if {file.digest for file in present.recipe.files} == {file.digest for file in files}:
                # They may have been gone.
                stock.book.trouble(name, None)
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
    try:
        path = (roots[0] / text).resolve()
    except (OSError, RuntimeError) as error:
        raise Refusal("invalid", "path must name a GGUF file on the server's machine", "path") from error
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        why = "is outside of the folders that models may be imported from (TROPILLA_IMPORT_FOLDERS)"
        raise Refusal("forbidden", f"{text} {why}", "path")
    return path


def _check(path: Path) -> None:
    """Before anything is copied."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refusal("invalid", f"{path.name} is no file", "path")
        read_header(path, called=path.name)
    except OSError as error:
        raise Refusal("invalid", f"{path.name} cannot be read: {error.strerror}", "path") from error
    except ConfigurationError as error:
        raise Refusal("invalid", error.message, "path") from error


def _copied(path: Path, pulling: Pulling, say: Say, stopped: Asked) -> File:
    try:
        return take(Found(path, path.name), pulling, report=say, stopped=stopped)
    except FetchFailed as error:
        raise Refusal(error.refusal, error.message, "path") from error


def _linked(path: Path, blobs: Blobs, stopped: Asked) -> File:
    """A link in the store, under the digest that the file has now. Raises `Refusal` and `Stopped`."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                if stopped():
                    raise Stopped
                digest.update(piece)
                size += len(piece)
        found = digest.hexdigest()
        with suppress(FileExistsError):
            blobs.path(found).symlink_to(path)
    except OSError as error:
        raise Refusal("failed", f"{path.name} cannot be taken in: {error.strerror}", "path") from error
    return File(found, size, path.name)

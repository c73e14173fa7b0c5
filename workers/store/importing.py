"""`import`: a file on this machine becomes a model. It is copied, or linked to and left where it is.

Whoever may import may have any file here read, so only those below the folders that the operator names are; a link that
leads out of them leads nowhere. What is no GGUF file is never taken in.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition
from tropilla.common.errands import Done, Import, Progress, Word
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_header
from tropilla.common.header import Header
from tropilla.common.recipes import BARE, File, Recipe
from tropilla.common.shards import siblings
from tropilla.workers.store import facts
from tropilla.workers.store.local import Found, take
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Stopped
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock, files_of

Say = Callable[[Word], None]
PIECE_BYTES = 1 << 24


def take_in(asked: Import, stock: Stock, pulling: Pulling, say: Say, stopped: Asked) -> Done:
    """Raises `Refusal` and `Stopped`."""
    name = stock.name_for(asked.name, "model")
    first = _allowed(asked.path, pulling.roots, "path")
    bring = Bring(stock, pulling, say, stopped, link=asked.link)
    paths = [first.with_name(each) for each in siblings(first.name)]
    for path in paths:
        _check(path, "path")
    eye = bring.place(asked.projector) if asked.projector else None
    files = [bring.file(path, "path") for path in paths]
    projector = bring.file(eye, "projector") if eye else None
    with stock.changing:
        present = stock.stored().get(name)
        if present is not None:
            brought = (*files, projector) if projector else files
            if {file.digest for file in files_of(present.recipe)} == {file.digest for file in brought}:
                # They may have been gone.
                stock.book.trouble(name, None)
                return Done(name)
            raise Refusal("conflict", f"a model called {name} is there already: delete it first", "model")
        try:
            weights = facts.read_weights(files, stock.blobs)
        except Unfit as error:
            raise Refusal("invalid", error.message, "path") from error
        check_seeing(projector, weights.header, stock, beside=files)
        say(Progress("writing manifest"))
        recipe = stock.pinned(Recipe("", weights.files, projector=projector), name)
        told = stock.tell(name, recipe, BARE, weights.header, None)
        stock.inform(recipe, weights.header)
        stock.put(Definition(told, recipe, source=f"file:{first.name}"))
    return Done(name)


@dataclass(frozen=True, slots=True)
class Bring:
    """How files of this machine get into the store. Methods raise `Refusal`, naming the field that says where they are, and
    `Stopped`.
    """

    stock: Stock
    pulling: Pulling
    say: Say
    stopped: Asked
    link: bool

    def file(self, path: Path, field: str) -> File:
        """One that was looked at."""
        self.say(Progress(f"reading {path.name}"))
        if self.link:
            return _linked(path, self.stock.blobs, self.stopped, field)
        return _copied(path, self.pulling, self.say, self.stopped, field)

    def place(self, projector: str) -> Path:
        """Of a file that is meant to read images; it is looked at."""
        path = _allowed(projector, self.pulling.roots, "projector")
        _check(path, "projector")
        return path


def check_seeing(projector: File | None, model: Header, stock: Stock, *, beside: Sequence[File] = ()) -> None:
    """Raises `Refusal` for what reads no images for the model; then it goes again, and what came beside it."""
    if projector is None:
        return
    try:
        facts.read_projector(projector, model, stock.blobs)
    except Unfit as error:
        stock.discard((projector, *beside))
        raise Refusal("invalid", error.message, "projector") from error


def _allowed(text: str, roots: Sequence[Path], field: str) -> Path:
    """Where the file really is. Nothing is said of files elsewhere, not even whether there are any."""
    if not text or "\0" in text or not roots:
        raise Refusal("invalid", f"{field} must name a GGUF file on the server's machine", field)
    try:
        path = (roots[0] / text).resolve()
    except (OSError, RuntimeError) as error:
        raise Refusal("invalid", f"{field} must name a GGUF file on the server's machine", field) from error
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        why = "is outside of the folders that models may be imported from (TROPILLA_IMPORT_FOLDERS)"
        raise Refusal("forbidden", f"{text} {why}", field)
    return path


def _check(path: Path, field: str) -> None:
    """Before anything is copied."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refusal("invalid", f"{path.name} is no file", field)
        read_header(path, called=path.name)
    except OSError as error:
        raise Refusal("invalid", f"{path.name} cannot be read: {error.strerror}", field) from error
    except ConfigurationError as error:
        raise Refusal("invalid", error.message, field) from error


def _copied(path: Path, pulling: Pulling, say: Say, stopped: Asked, field: str) -> File:
    try:
        return take(Found(path, path.name), pulling, report=say, stopped=stopped)
    except FetchFailed as error:
        raise Refusal(error.refusal, error.message, field) from error


def _linked(path: Path, blobs: Blobs, stopped: Asked, field: str) -> File:
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
        raise Refusal("failed", f"{path.name} cannot be taken in: {error.strerror}", field) from error
    return File(found, size, path.name)

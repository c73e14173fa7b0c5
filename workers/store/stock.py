"""What the store has: definitions in the registry and files on disk, and how both change together.

A change is made under one lock, since errands run side by side: a file may only go when no definition needs it, and a
definition may only come when its files are there. Files go before the definition that named them, so that a store that is
killed in between finds what is left to be done under that name.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Catalogue, Definition, Model, Trouble
from tropilla.common.header import Header
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Overlay, Recipe
from tropilla.common.registry import Shelf
from tropilla.workers.store import facts, naming
from tropilla.workers.store.layout import sweep_links
from tropilla.workers.store.partial import Partial
from tropilla.workers.store.refusals import Refusal

log = logging.getLogger(__name__)


class Book(Protocol):
    """What is needed of `registry.Registry`."""

    def catalogue(self) -> Catalogue: ...
    def shelf(self) -> Shelf: ...
    def define(self, *definitions: Definition) -> None: ...
    def forget(self, *models: str) -> None: ...
    def trouble(self, model: str, trouble: Trouble | None) -> None: ...
    def inform(self, digest: str, information: bytes) -> None: ...
    def uninform(self, *digests: str) -> None: ...
    def order(self, worker: str, order: Order) -> bool: ...


class Stock:
    """`context` is the setting of workers; `clock` gives Unix seconds. Methods may raise `StoreUnavailable`."""

    def __init__(self, book: Book, blobs: Blobs, *, context: int, clock: Callable[[], float]) -> None:
        self.book = book
        self.blobs = blobs
        self.context = context
        self.clock = clock
        #: Held while definitions and files change together.
        self.changing = threading.RLock()
        #: Set for a name that is deleted while it arrives.
        self._unwanted: dict[str, threading.Event] = {}

    def stored(self) -> Mapping[str, Definition]:
        return {definition.model.name: definition for definition in self.book.shelf().definitions}

    def find(self, wanted: str) -> Definition | None:
        """What a name stands for: in the store, or on a worker that was started with it."""
        found = {each.model.name: each for each in self.book.catalogue().definitions}
        name = naming.known(wanted, found)
        return found[name] if name is not None else None

    def name_for(self, wanted: str, field: str) -> str:
        """What a model is stored as: an existing name keeps its case. Raises `Refusal`."""
        naming.check(wanted, field)
        shelf = self.book.shelf()
        return naming.known(wanted, [*(each.model.name for each in shelf.definitions), *shelf.troubles]) or wanted

    def pinned(self, recipe: Recipe, name: str) -> Recipe:
        return naming.pinned(recipe, name, [each.recipe for each in self.book.catalogue().definitions])

    def here(self, recipe: Recipe) -> bool:
        """Whether every file that the store should have is there, whole."""
        return all(self.missing(file) is None for file in files_of(recipe))

    def missing(self, file: File) -> str | None:
        """Why a file cannot be used, in half a sentence. Files of a worker's own are its own business."""
        if file.path:
            return None
        try:
            size = self.blobs.path(file.digest).stat().st_size
        except OSError:
            return "is gone"
        return None if size == file.size_bytes else f"has {size} bytes now instead of {file.size_bytes}"

    def header(self, recipe: Recipe) -> Header | None:
        """What its files say; None where they are on a worker's own machine. Raises `Unfit`."""
        return None if any(file.path for file in recipe.files) else facts.read_weights(recipe.files, self.blobs).header

    def inform(self, recipe: Recipe, header: Header) -> None:
        """Writes down what the headers of a model's files say, for whoever asks for that. Raises `Unfit`."""
        self.book.inform(recipe.files[0].digest, facts.information(header))
        if recipe.projector is not None:
            told = facts.information(facts.read_projector(recipe.projector, header, self.blobs))
            self.book.inform(recipe.projector.digest, told)

    def tell(self, name: str, recipe: Recipe, overlay: Overlay, header: Header | None, model: Model | None) -> Model:
        """The facts of a model: by its header, or without one by those of a model of the same files."""
        if header is not None:
            told = facts.describe(name, header, recipe, context=self.context, modified_at=self.clock(), overlay=overlay)
            return replace(told, parent=model.parent if model else "")
        assert model is not None, "neither a header nor another model's facts"
        able = (
            model.capabilities
            if overlay.template == model.overlay.template
            else facts.templated(model.capabilities, overlay)
        )
        told = replace(model, name=name, modified_at=self.clock(), capabilities=able, overlay=overlay)
        return replace(told, pinned_as=recipe.pin)

    @contextmanager
    def arriving(self, name: str, stopped: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """While files for a name are on their way: gives what tells that nobody wants them any more."""
        unwanted = threading.Event()
        self._unwanted[name] = unwanted
        try:
            yield lambda: unwanted.is_set() or stopped()
        finally:
            if self._unwanted.get(name) is unwanted:
                del self._unwanted[name]

    def put(self, definition: Definition) -> None:
        """Defines a name anew. What only its old definition needed goes. Raises `Refusal`."""
        with self.changing:
            before = self.stored().get(definition.model.name)
            for file in files_of(definition.recipe):
                if wrong := self.missing(file):
                    raise Refusal("conflict", f"{file.name} {wrong}: it was deleted meanwhile; try again")
            self.book.define(definition)
            if before is not None:
                self._sweep(files_of(before.recipe), but=None)
        self.dismiss()

    def drop(self, name: str) -> None:
        """Forgets a name, and the files that no other one needs."""
        with self.changing:
            if name in self._unwanted:
                self._unwanted[name].set()
            gone = self.stored().get(name)
            if gone is not None:
                self._sweep(files_of(gone.recipe), but=name)
            self.book.forget(name)
        self.dismiss()

    def dismiss(self) -> None:
        """Tells workers to let go of what was ordered and no name stands for any more. To be repeated: a worker has one
        order at a time, and one that is told to stop twice has been told once.
        """
        catalogue = self.book.catalogue()
        pins = {each.recipe.pin for each in catalogue.definitions}
        for worker in catalogue.workers:
            if worker.ordered and worker.state in ("loading", "ready") and worker.pin and worker.pin not in pins:
                log.info("%s lets go of %s, which no name stands for any more", worker.name, worker.pin)
                self.book.order(worker.name, Order(None))

    def discard(self, files: Iterable[File]) -> None:
        """Deletes files that turned out to be useless, unless some model has them."""
        with self.changing:
            self._sweep(files, but=None)

    def _sweep(self, files: Iterable[File], *, but: str | None) -> None:
        """Deletes those that no name needs; `but`: the name that does not count any more."""
        needed = {file.digest for name, each in self.stored().items() if name != but for file in files_of(each.recipe)}
        gone = {file.digest for file in files if not file.path} - needed
        for digest in gone:
            self.blobs.path(digest).unlink(missing_ok=True)
            Partial(self.blobs, digest).discard()
        if gone:
            sweep_links(self.blobs)
            self.book.uninform(*gone)


def files_of(recipe: Recipe) -> tuple[File, ...]:
    """Everything that it needs."""
    projector = () if recipe.projector is None else (recipe.projector,)
    return (*recipe.files, *(file for _, file in recipe.adapters), *projector)

"""A store without Redis, Celery or network: a registry in memory, a folder, and a stand-in that fetches local files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import fakes
import tiny
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Catalogue, Definition, Trouble, Worker, catalogue
from tropilla.common.errands import Done, Errand, Look, Progress, Refused, Word
from tropilla.common.orders import Order
from tropilla.common.origins import Source, public, stored_name
from tropilla.common.recipes import BARE, File, Overlay
from tropilla.common.registry import Shelf
from tropilla.workers.store.pulling import Asked, Fetched, FetchFailed, Pulling, Report, Stopped
from tropilla.workers.store.refusals import Refusal
from tropilla.workers.store.shelves import Shelves
from tropilla.workers.store.stock import Stock


class FakeRegistry:
    """What the store needs of the registry, with its rules: to define a name is to say that nothing is the matter."""

    def __init__(self) -> None:
        self.definitions: dict[str, Definition] = {}
        self.troubles: dict[str, Trouble] = {}
        self.informed: dict[str, bytes] = {}
        self.workers: list[Worker] = []
        self.orders: dict[str, Order] = {}
        #: Every trouble that was ever told, in order.
        self.told: list[tuple[str, Trouble | None]] = []

    def catalogue(self) -> Catalogue:
        return catalogue(self.workers, self.definitions.values(), self.troubles)

    def shelf(self) -> Shelf:
        return Shelf(0, tuple(self.definitions.values()), dict(self.troubles))

    def define(self, *definitions: Definition) -> None:
        for definition in definitions:
            self.definitions[definition.model.name] = definition
            self.troubles.pop(definition.model.name, None)

    def forget(self, *models: str) -> None:
        for name in models:
            self.definitions.pop(name, None)
            self.troubles.pop(name, None)

    def trouble(self, model: str, trouble: Trouble | None) -> None:
        self.told.append((model, trouble))
        if trouble is None:
            self.troubles.pop(model, None)
        else:
            self.troubles[model] = trouble

    def inform(self, digest: str, information: bytes) -> None:
        self.informed[digest] = information

    def uninform(self, *digests: str) -> None:
        for digest in digests:
            self.informed.pop(digest, None)

    def order(self, worker: str, order: Order) -> bool:
        return self.orders.setdefault(worker, order) is order


Meanwhile = Callable[[], None]


@dataclass
class FakeFetch:
    """Puts files of this machine into the store, whatever the source is called; or fails as it is told to."""

    blobs: Blobs
    paths: tuple[Path, ...] = ()
    #: What a source of this file name has, in place of `paths`.
    named: dict[str, Path | FetchFailed] = field(default_factory=dict)
    overlay: Overlay = BARE
    #: What the source has to read images, or somebody has named for that.
    projector: Path | None = None
    failure: FetchFailed | None = None
    warnings: tuple[str, ...] = ()
    #: Happens in the middle of it.
    meanwhile: Meanwhile = lambda: None
    asked: list[Source] = field(default_factory=list)

    def __call__(
        self,
        source: Source,
        pulling: Pulling,
        *,
        projector: Source | None = None,
        sha256: str = "",
        again: bool = False,
        report: Report,
        stopped: Asked,
    ) -> Fetched:
        self.asked += [source] if projector is None else [source, projector]
        report(Progress("pulling manifest"))
        self.meanwhile()
        if stopped():
            raise Stopped
        found = self.named.get(stored_name(source) if self.named else "", self.failure)
        if isinstance(found, FetchFailed):
            raise found
        files = tuple(put(self.blobs, path) for path in (self.paths if found is None else (found,)))
        report(Progress("writing manifest"))
        seeing = put(self.blobs, self.projector) if self.projector else None
        return Fetched(files, public(source), "unused", self.overlay, seeing, self.warnings)


def put(blobs: Blobs, path: Path) -> File:
    """A copy in the store, as an upload leaves one."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    shutil.copyfile(path, blobs.path(digest))
    return File(digest, len(data), path.name)


class Scene:
    """One store in a folder. `do` does an errand to its last word."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = Blobs.below(folder / "home")
        self.blobs.prepare()
        self.registry = FakeRegistry()
        self.clock = fakes.Clock()
        self.fetch = FakeFetch(self.blobs)
        self.stock = Stock(self.registry, self.blobs, context=0, clock=self.clock)
        self.shelves = Shelves(self.stock, Pulling(folder / "home", roots=(folder,)), self.fetch, self._look)
        self.said: list[str] = []
        self.stops = False

    def do(self, errand: Errand, *, again: bool = False) -> Done | Refused | None:
        """None: it was stopped."""
        self.said = []
        try:
            return self.shelves.do(errand, self._hear, lambda: self.stops, again=again)
        except Refusal as error:
            return error.word
        except Stopped:
            return None

    def _hear(self, word: Word) -> None:
        assert isinstance(word, Progress), "the last word is not the shelves' to say"
        self.said.append(word.status)

    def _look(self, asked: Look, stopped: Asked) -> Done:
        raise AssertionError("no image is asked for here")

    def decoder(self, name: str = "tiny.gguf", *, layers: int = 2) -> Path:
        """A real model's file, another one for each number of layers."""
        return tiny.write_decoder(self.folder / name, layers=layers)

    def upload(self, path: Path) -> File:
        return put(self.blobs, path)

    @property
    def names(self) -> set[str]:
        return set(self.registry.definitions)

    def __getitem__(self, name: str) -> Definition:
        return self.registry.definitions[name]

    def stored(self) -> set[str]:
        """Digests of the files that are there."""
        return {path.name.removeprefix("sha256-") for path in (self.blobs.folder / "blobs").iterdir()}

    def hold(self, pin: str, *, state: str = "ready", ordered: bool = True, name: str = "w@host") -> None:
        """A worker that has the pin."""
        model = replace(fakes.MODEL, name=pin)
        self.registry.workers.append(
            replace(fakes.WORKER, name=name, state=state, model=model, ordered=ordered)  # type: ignore[arg-type]
        )


def digests(files: Iterable[File]) -> set[str]:
    return {file.digest for file in files}

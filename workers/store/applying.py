"""`apply`: the cluster is brought to what a manifest says, file by file; what is there already is used at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Apply, Done, Progress, Word
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Manifest, ManifestFile
from tropilla.common.manifest.parse import parse
from tropilla.common.manifest.plan import Plan, Shelved, plan
from tropilla.common.origins import InvalidSource
from tropilla.common.recipes import File, Recipe
from tropilla.common.sources import parse_source
from tropilla.workers.store import facts, naming
from tropilla.workers.store.pulling import Asked, Fetched, FetchFailed, Pulling, Stopped
from tropilla.workers.store.pulls import Fetch, readable, seeing, weights_of
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]


def apply(asked: Apply, stock: Stock, pulling: Pulling, fetch: Fetch, say: Say, stopped: Asked) -> Done:
    """What goes wrong with one model is that model's trouble, and a warning. Raises `Refusal` and `Stopped`."""
    try:
        manifest = parse(asked.manifest, model=asked.model, runtime=asked.runtime)
    except ManifestError as error:
        raise Refusal("invalid", error.message, error.param or "manifest") from error
    pulling = replace(pulling, roots=(Path(asked.folder),))
    applying = _Applying(manifest, stock, list(manifest.warnings))
    applying.expect()
    applying.shelve()
    for file in manifest.wanted:
        try:
            applying.take(file, partial(_fetched, file, pulling, fetch, say, stopped))
        except Stopped:
            applying.give_up()
            raise
        applying.shelve()
    # A projector that fits none of its models is of no use.
    stock.discard(file for file in applying.eyes.values() if isinstance(file, File))
    warnings = [*applying.warnings, *(f"{name}: {wrong.message}" for name, wrong in applying.plan().troubles.items())]
    say(Progress("writing manifest"))
    return Done(warnings=tuple(dict.fromkeys(warnings)))


def _fetched(file: ManifestFile, pulling: Pulling, fetch: Fetch, say: Say, stopped: Asked) -> Fetched:
    """Raises `InvalidSource`, `FetchFailed` and `Stopped`."""
    # aikit means a repository of the hub by owner/name.
    source = parse_source(file.source, bare_repo="hf")
    return fetch(source, pulling, sha256=file.sha256, report=say, stopped=stopped)


@dataclass
class _Applying:
    """One manifest on its way. `found`: its models' files by stored name, or why they are not here; `eyes`: the same of
    files that read images for models.
    """

    manifest: Manifest
    stock: Stock
    warnings: list[str]
    found: dict[str, Shelved | Trouble] = field(default_factory=dict)
    eyes: dict[str, File | Trouble] = field(default_factory=dict)
    #: (projector, model), by their digests -> why one reads no images for the other; "" where it does.
    _misfits: dict[tuple[str, str], str] = field(default_factory=dict)

    def expect(self) -> None:
        """Everything is on its way."""
        for file in self.manifest.wanted:
            coming = Trouble("downloading", f"{file.stored_name} is being downloaded")
            if file.stored_name in self.manifest.projectors:
                self.eyes[file.stored_name] = coming
            if file.stored_name in self.manifest.models:
                self.found[file.stored_name] = coming

    def take(self, file: ManifestFile, fetch: Callable[[], Fetched]) -> None:
        """What has become of one file. Raises `Stopped`."""
        name = file.stored_name
        try:
            fetched = fetch()
            if name in self.manifest.projectors:
                self.eyes[name] = fetched.files[0]
            if name in self.manifest.models:
                self.found[name] = self._shelved(name, fetched)
        except InvalidSource as error:
            self._lost(name, Trouble("download_failed", error.message))
        except FetchFailed as error:
            self._lost(name, Trouble(error.code, error.message))
        except Unfit as error:
            self._lost(name, error.trouble)

    def _lost(self, name: str, trouble: Trouble) -> None:
        if name in self.eyes:
            self.eyes[name] = trouble
        if name in self.found:
            self.found[name] = trouble

    def _shelved(self, name: str, fetched: Fetched) -> Shelved:
        """Raises `Unfit`."""
        weights = weights_of(fetched, self.stock)
        fetched, blind = seeing(fetched, weights, self.stock, insists=False)
        overlay, more = readable(fetched.overlay)
        self.warnings += (*fetched.warnings, *blind, *more)
        self.stock.inform(Recipe("", weights.files, projector=fetched.projector), weights.header)
        told = self.stock.tell(name, Recipe("", weights.files), overlay, weights.header, None)
        return Shelved(told, weights.files, fetched.source, overlay, fetched.projector)

    def _seeing(self, name: str, model: Shelved) -> File | Trouble:
        """The projector of a stored name, if it is one for the model."""
        file = self.eyes.get(name) or Trouble("file_missing", f"the file {name} is not there")
        if isinstance(file, Trouble):
            return file
        pair = file.digest, model.files[0].digest
        if pair not in self._misfits:
            try:
                header = facts.read_weights(model.files, self.stock.blobs).header
                self.stock.inform(Recipe("", model.files, projector=file), header)
                self._misfits[pair] = ""
            except Unfit as error:
                self._misfits[pair] = error.message
        wrong = self._misfits[pair]
        return Trouble("not_gguf", wrong) if wrong else file

    def plan(self) -> Plan:
        return plan(self.manifest, self.found, _pins(self.stock), self._seeing)

    def shelve(self) -> None:
        """Writes down what is known by now. What has not changed is left alone, and so are the workers that have it."""
        with self.stock.changing:
            planned = self.plan()
            stored = self.stock.stored()
            for definition in planned.definitions:
                model = definition.model
                able = facts.templated(model.capabilities, model.overlay)
                wanted = replace(definition, model=replace(model, capabilities=able))
                if not _same(stored.get(model.name), wanted):
                    self.stock.put(wanted)
            for name, trouble in planned.troubles.items():
                if name not in stored:
                    self.stock.book.trouble(name, trouble)

    def give_up(self) -> None:
        """Nothing is on its way any more."""
        for name, trouble in self.plan().troubles.items():
            if trouble.code == "downloading":
                self.stock.book.trouble(name, None)


def _pins(stock: Stock) -> Callable[[Recipe, str], Recipe]:
    """Pins for one plan: equal recipes get one, also where neither is written down yet."""
    made: list[Recipe] = [each.recipe for each in stock.book.catalogue().definitions]

    def pinned(recipe: Recipe, name: str) -> Recipe:
        found = naming.pinned(recipe, name, made)
        made.append(found)
        return found

    return pinned


def _same(one: Definition | None, other: Definition) -> bool:
    """But for the time."""
    return one is not None and other == replace(one, model=replace(one.model, modified_at=other.model.modified_at))

"""`apply`: the cluster is brought to what a manifest says, file by file; what is there already is used at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Apply, Done, Progress, Word
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Manifest, ManifestFile
from tropilla.common.manifest.parse import parse
from tropilla.common.manifest.plan import Shelved, plan
from tropilla.common.origins import InvalidSource
from tropilla.common.recipes import Recipe
from tropilla.common.sources import parse_source
from tropilla.workers.store import facts, naming
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Stopped
from tropilla.workers.store.pulls import Fetch, readable, weights_of
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]
Found = dict[str, Shelved | Trouble]


def apply(asked: Apply, stock: Stock, pulling: Pulling, fetch: Fetch, say: Say, stopped: Asked) -> Done:
    """What goes wrong with one model is that model's trouble, and a warning. Raises `Refusal` and `Stopped`."""
    try:
        manifest = parse(asked.manifest, model=asked.model, runtime=asked.runtime)
    except ManifestError as error:
        raise Refusal("invalid", error.message, error.param or "manifest") from error
    pulling = replace(pulling, roots=(Path(asked.folder),))
    warnings = list(manifest.warnings)
    found: Found = {
        file.stored_name: Trouble("downloading", f"{file.stored_name} is being downloaded") for file in manifest.wanted
    }
    _shelve(manifest, found, stock)
    for file in manifest.wanted:
        try:
            found[file.stored_name] = _fetched(file, stock, pulling, fetch, say, stopped, warnings)
        except Stopped:
            _give_up(manifest, found, stock)
            raise
        _shelve(manifest, found, stock)
    troubles = plan(manifest, found, _pins(stock)).troubles
    warnings += [f"{name}: {trouble.message}" for name, trouble in troubles.items()]
    say(Progress("writing manifest"))
    return Done(warnings=tuple(dict.fromkeys(warnings)))


def _fetched(
    file: ManifestFile, stock: Stock, pulling: Pulling, fetch: Fetch, say: Say, stopped: Asked, warnings: list[str]
) -> Shelved | Trouble:
    try:
        # aikit means a repository of the hub by owner/name.
        source = parse_source(file.source, bare_repo="hf")
        fetched = fetch(source, pulling, sha256=file.sha256, report=say, stopped=stopped)
        weights = weights_of(fetched, stock)
    except InvalidSource as error:
        return Trouble("download_failed", error.message)
    except FetchFailed as error:
        return Trouble(error.code, error.message)
    except Unfit as error:
        return error.trouble
    overlay, more = readable(fetched.overlay)
    warnings += (*fetched.warnings, *more)
    stock.book.inform(weights.files[0].digest, facts.information(weights.header))
    told = stock.tell(file.stored_name, Recipe("", weights.files), overlay, weights.header, None)
    return Shelved(told, weights.files, fetched.source, overlay)


def _shelve(manifest: Manifest, found: Found, stock: Stock) -> None:
    """Writes down what is known by now. What has not changed is left alone, and so are the workers that have it."""
    with stock.changing:
        planned = plan(manifest, found, _pins(stock))
        stored = stock.stored()
        for definition in planned.definitions:
            model = definition.model
            able = facts.templated(model.capabilities, model.overlay)
            wanted = replace(definition, model=replace(model, capabilities=able))
            if not _same(stored.get(model.name), wanted):
                stock.put(wanted)
        for name, trouble in planned.troubles.items():
            if name not in stored:
                stock.book.trouble(name, trouble)


def _give_up(manifest: Manifest, found: Found, stock: Stock) -> None:
    """Nothing is on its way any more."""
    for name, trouble in plan(manifest, found, _pins(stock)).troubles.items():
        if trouble.code == "downloading":
            stock.book.trouble(name, None)


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

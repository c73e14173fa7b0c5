"""What a source comes down to, before anything large moves: which files, from where, and what is laid over them.

All questions are asked here, so that a missing shard, a wrong sum or a closed door is known before the first gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from tropilla.common.origins import (
    HubFile,
    HubRepo,
    LocalFile,
    RegistryModel,
    Source,
    WebFile,
    public,
    stored_name,
    suggested_name,
)
from tropilla.common.recipes import BARE, Overlay
from tropilla.common.shards import MAX_SHARDS, shard_of, siblings
from tropilla.workers.store.download import look
from tropilla.workers.store.hub import Hub, describe, paths_of
from tropilla.workers.store.local import Found, locate
from tropilla.workers.store.patience import patiently
from tropilla.workers.store.picks import groups_of, missing_shards, pick, projector_beside
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Report
from tropilla.workers.store.registry_protocol import Registry, overlay_of
from tropilla.workers.store.wanted import Address, Wanted
from tropilla.workers.store.wire import Wire

_T = TypeVar("_T")
_W = TypeVar("_W", Wanted, HubFile)


@dataclass(frozen=True, slots=True)
class Part:
    """One file: on this machine (`found`), or to be downloaded; where both are known, the second if the first is spoilt."""

    found: Found | None = None
    wanted: Wanted | None = None

    @property
    def sha256(self) -> str:
        return (self.wanted and self.wanted.sha256) or (self.found and self.found.sha256) or ""

    def must_have(self, sha256: str) -> Part:
        """The same, with a sum. Raises `FetchFailed` where it is known to have another."""
        if self.sha256 not in ("", sha256):
            raise FetchFailed("checksum_mismatch", f"sha256 mismatch: want {sha256} got {self.sha256}")
        return Part(
            found=self.found and replace(self.found, sha256=sha256),
            wanted=self.wanted and replace(self.wanted, sha256=sha256),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts, shard 1 first; `named` is the place of the one that the source names. `projector` is what the source has
    beside them to read images for the model.
    """

    parts: tuple[Part, ...]
    source: str
    name: str
    named: int = 0
    overlay: Overlay = BARE
    warnings: tuple[str, ...] = ()
    projector: Part | None = None


@dataclass(frozen=True)
class Planner:
    """Asks about a source. Every method raises `FetchFailed` and `Stopped`."""

    pulling: Pulling
    wire: Wire
    hub: Hub
    report: Report
    stopped: Asked

    def plan(self, source: Source) -> Plan:
        match source:
            case WebFile():
                return self._web(source)
            case HubFile():
                return self._hub_file(source)
            case HubRepo():
                return self._hub_repo(source)
            case RegistryModel():
                return self._registry(source)
            case LocalFile():
                return self._local(source)

    def projector(self, source: Source) -> Part:
        """A file that somebody names to read images for a model."""
        if isinstance(source, HubRepo | RegistryModel):
            message = f"{public(source)} is no file: a projector is named by its own"
            raise FetchFailed("download_failed", message, refusal="invalid")
        parts = self.plan(source).parts
        if len(parts) > 1:
            message = f"{stored_name(source)} is one of several files, and a projector comes in one"
            raise FetchFailed("download_failed", message, refusal="invalid")
        return parts[0]

    def _web(self, source: WebFile) -> Plan:
        name = stored_name(source)
        names = _names(name)
        parts = urlsplit(source.url)
        wanted = []
        for sibling in names:
            # The others lie beside it, and are asked for with the same query.
            path = parts.path if sibling == name else f"{parts.path.rpartition('/')[0]}/{quote(sibling)}"
            url = parts._replace(path=path).geturl()
            wanted.append(Wanted(sibling, (Address(url, public(WebFile(url))),)))
        named = names.index(name)
        if len(names) > 1:
            self._all_there(wanted, named, lambda one: look(one.addresses[0], self.wire), f"{parts.hostname}")
        return Plan(tuple(Part(wanted=one) for one in wanted), public(source), suggested_name(source), named)

    def _hub_file(self, source: HubFile) -> Plan:
        folder, slash, name = source.path.rpartition("/")
        names = _names(name)
        files = [replace(source, path=f"{folder}{slash}{sibling}") for sibling in names]
        named = names.index(name)
        if self.hub.offline:
            parts = self._offline(files)
        else:
            said = self._all_there(files, named, lambda file: describe(file, self.hub, self.wire), source.repo)
            parts = [self._cached(file, wanted) for file, wanted in zip(files, said, strict=True)]
        return Plan(tuple(parts), public(source), suggested_name(source), named)

    def _offline(self, files: list[HubFile]) -> list[Part]:
        there = [(file, self.hub.cached(file)) for file in files]
        if missing := [file.path for file, path in there if path is None]:
            message = f"HF_HUB_OFFLINE is set, and {', '.join(missing)} of {files[0].repo} is not in the hub's cache"
            raise FetchFailed("file_missing", message, refusal="unknown")
        return [Part(Found(path, stored_name(file), kept=True)) for file, path in there if path is not None]

    def _cached(self, file: HubFile, wanted: Wanted) -> Part:
        """Only what the hub tells the sum of can be told from what the cache has."""
        path = self.hub.cached(replace(file, revision=wanted.commit or file.revision)) if wanted.sha256 else None
        if path is None or path.stat().st_size != wanted.size:
            return Part(wanted=wanted)
        return Part(Found(path, wanted.name, wanted.sha256, kept=True), wanted)

    def _hub_repo(self, source: HubRepo) -> Plan:
        if self.hub.offline:
            paths = tuple(self.hub.cached_paths(source.repo, source.revision))
        else:
            paths = self._ask(lambda: paths_of(source.repo, source.revision, self.hub, self.wire))
        group = pick(source.repo, groups_of(paths), source.quant)
        plan = self._hub_file(HubFile(source.repo, source.revision, group.paths[0]))
        beside = projector_beside(group.paths[0], paths)
        projector = self._hub_file(HubFile(source.repo, source.revision, beside)).parts[0] if beside else None
        return replace(plan, name=suggested_name(source), projector=projector)

    def _registry(self, source: RegistryModel) -> Plan:
        if source.insecure and not self.pulling.insecure:
            raise FetchFailed("download_failed", "insecure protocol http", refusal="invalid")
        registry = Registry(source, self.wire)
        manifest = self._ask(registry.manifest)
        overlay, warnings = overlay_of(manifest, lambda layer: self._ask(lambda: registry.text(layer)), self.report)
        part = Part(wanted=registry.wanted(manifest.of_kind("model")[0]))
        eyes = manifest.of_kind("projector")
        return Plan(
            (part,),
            public(source),
            suggested_name(source),
            overlay=overlay,
            warnings=warnings,
            projector=Part(wanted=registry.wanted(eyes[0])) if eyes else None,
        )

    def _local(self, source: LocalFile) -> Plan:
        name = stored_name(source)
        names = _names(name)
        path = locate(source.path, self.pulling.roots)
        # Of a link the file it names; its siblings lie where that one lies by the name that was given.
        beside = source.path.rpartition("/")[0]
        paths = [path if sibling == name else self._beside(beside, sibling) for sibling in names]
        if missing := [sibling for sibling, place in zip(names, paths, strict=True) if place is None]:
            raise missing_shards("the folder", missing)
        parts = tuple(Part(Found(place, sibling)) for sibling, place in zip(names, paths, strict=True) if place)
        return Plan(parts, public(source), suggested_name(source), names.index(name))

    def _beside(self, folder: str, name: str) -> Path | None:
        try:
            return locate(f"{folder}/{name}" if folder else name, self.pulling.roots)
        except FetchFailed as error:
            if error.refusal == "unknown":
                return None
            raise

    def _all_there(self, wanted: Sequence[_W], named: int, look: Callable[[_W], _T], where: str) -> list[_T]:
        """What is said of each; the one that was named comes first, so that its own trouble is what is told."""
        said = {named: self._ask(lambda: look(wanted[named]))}
        missing = []
        for place, one in enumerate(wanted):
            if place == named:
                continue
            try:
                said[place] = self._ask(partial(look, one))
            except FetchFailed as error:
                if error.refusal != "unknown":
                    raise
                missing.append(one.name if isinstance(one, Wanted) else one.path)
        if missing:
            raise missing_shards(where, missing)
        return [said[place] for place in range(len(wanted))]

    def _ask(self, question: Callable[[], _T]) -> _T:
        return patiently(question, self.pulling, self.stopped)


def _names(name: str) -> tuple[str, ...]:
    """Of all files of the model that a file belongs to. Raises `FetchFailed`."""
    shard = shard_of(name)
    if shard and shard.total > MAX_SHARDS:
        message = f"{name} is one of {shard.total} shards, and more than {MAX_SHARDS} are not taken"
        raise FetchFailed("download_failed", message, refusal="invalid")
    return siblings(name)

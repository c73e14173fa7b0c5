"""`tropilla up --manifest`: what an aikit manifest asks for, read before anything runs, and brought about by the store."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tropilla.common.catalogue import Catalogue, Flavour
from tropilla.common.errands import Apply, Done, Errand, Progress, Refused, Word
from tropilla.common.errors import ConfigurationError, StoreUnavailable, TropillaError
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Entry, Manifest
from tropilla.common.manifest.parse import fenced, parse
from tropilla.compose.client.answers import PullLine
from tropilla.compose.client.pulling import Minutes, Pull

#: Only one manifest at a time is being applied to a cluster.
FLIGHT = "apply"
#: Of an errand's id: which manifest it is about, in hex digits.
CONTENT_DIGITS = 16


class NotApplied(TropillaError):
    """The store says why the manifest came to nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A manifest that makes sense. `folder` is where its relative sources are; `model` and `runtime` take the place of its
    own, as aikit's build arguments do.
    """

    path: Path
    text: str
    manifest: Manifest
    model: str = ""
    runtime: str | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def models(self) -> tuple[str, ...]:
        """The names that people will ask for."""
        return tuple(entry.name for entry in self.manifest.entries if not entry.hidden)

    def errand(self) -> Apply:
        content = json.dumps([self.text, str(self.folder), self.model, self.runtime]).encode()
        digits = hashlib.sha256(content).hexdigest()[:CONTENT_DIGITS]
        return Apply(digits + secrets.token_hex(8), self.text, str(self.folder), self.model, self.runtime)


def read_manifest(path: Path, *, model: str = "", runtime: str | None = None) -> Wanted:
    """Raises `ConfigurationError`, naming the file and what in it is at fault."""
    path = path.expanduser().absolute()
    try:
        document = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"the manifest {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the manifest {path} is not UTF-8") from error
    # A page of documentation holds its manifest between fences, perhaps beside a sketch of one.
    texts = fenced(document) or (document,)
    found: list[Wanted] = []
    wrong: ManifestError | None = None
    for text in texts:
        try:
            found.append(Wanted(path, text, parse(text, model=model, runtime=runtime), model, runtime))
        except ManifestError as error:
            wrong = error
    if len(found) > 1:
        raise ConfigurationError(
            f"{path} has {len(found)} manifests in it: put the one that is meant into its own file"
        )
    if not found:
        assert wrong is not None
        raise ConfigurationError(f"{path}: {wrong.message}") from wrong
    return found[0]


def check(wanted: Wanted, flavours: Iterable[Flavour]) -> None:
    """Whether workers of these flavours, all that there will be, can serve any of it. Raises `ConfigurationError`."""
    entries = wanted.manifest.entries
    crew = set(flavours)
    if not crew or not entries:
        return
    reasons = {entry.name: reason for entry in entries if (reason := _hindrance(entry, crew))}
    if len(reasons) == len(entries):
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ConfigurationError(f"{wanted.path}: none of its models could be served here: {why}")


def _hindrance(entry: Entry, crew: set[Flavour]) -> str:
    if entry.trouble:
        return entry.trouble.message
    asked = entry.loading.flavours
    if asked and crew.isdisjoint(asked):
        return f"it needs a {' or '.join(asked)} worker (--{asked[0]} 1), or another runtime (--manifest-runtime)"
    return ""


def waiting_for_models(catalogue: Catalogue, names: Sequence[str]) -> str | None:
    """What is still to be loaded before any of the models answers, in words. Raises `NotApplied` when none ever will."""
    if not names or any(serving(catalogue, name) for name in names):
        return None
    troubles = {name: trouble for name in names if (trouble := catalogue.trouble(name))}
    coming = [name for name in names if name not in troubles or troubles[name].code == "downloading"]
    if not coming:
        why = "; ".join(trouble.message for trouble in troubles.values())
        raise NotApplied(f"no model of the manifest can be used: {why}")
    return f"{', '.join(coming)}: loading"


def serving(catalogue: Catalogue, name: str) -> list[str]:
    """The workers that answer for a model, without their machines."""
    definition = catalogue.define(name)
    serving = [worker.name for worker in catalogue.workers if definition and worker.serves(definition.recipe.pin)]
    return [name.partition("@")[0] for name in serving]


def whereabouts(catalogue: Catalogue, names: Sequence[str]) -> dict[str, str]:
    """Name -> where each model is, in words: first those that answer, last those that cannot."""
    here: dict[str, str] = {}
    coming: dict[str, str] = {}
    gone: dict[str, str] = {}
    for name in names:
        if workers := serving(catalogue, name):
            here[name] = f"on {', '.join(workers)}"
        elif trouble := catalogue.trouble(name):
            gone[name] = f"cannot be used: {trouble.message}"
        else:
            coming[name] = "is loaded when somebody asks for it"
    return here | coming | gone


class Book(Protocol):
    """What is needed of `registry.Registry`."""

    def begin(self, errand: Errand, flight: str) -> str: ...
    def hear(self, errand_id: str, after: str = "0", *, wait_seconds: float = 0.0) -> list[tuple[str, Word]]: ...
    def stop_errand(self, errand_id: str, *, discard: bool) -> None: ...


class Application:
    """The errand: handed in, and followed to its last word. `submit` puts an errand and its flight into the queue."""

    def __init__(self, wanted: Wanted, book: Book, submit: Callable[[Errand, str], None]) -> None:
        self.over = False
        self._errand = wanted.errand()
        self._said = wanted.manifest.warnings
        self._book = book
        self._submit = submit
        self._following = ""
        self._after = "0"
        self._pull = Pull()
        self._minutes = Minutes()

    def news(self, now: float) -> list[str]:
        """What there is to be said since the last time. Raises `NotApplied`. A Redis that is away tells nothing."""
        try:
            if not self._following:
                self._begin()
            heard = self._book.hear(self._following, self._after) if self._following else []
        except StoreUnavailable:
            return []
        sentences: list[str] = []
        for self._after, word in heard:
            sentences += self._sentences(word, now)
        return sentences

    def _begin(self) -> None:
        holder = self._book.begin(self._errand, FLIGHT)
        if holder == self._errand.id:
            self._submit(self._errand, FLIGHT)
            self._following = holder
        elif holder[:CONTENT_DIGITS] == self._errand.id[:CONTENT_DIGITS]:
            # Somebody was stopped in the middle of the same: it goes on where it was.
            self._following = holder
        else:
            # What was wanted before is not wanted any more. With its last word the flight is free.
            self._book.stop_errand(holder, discard=False)

    def _sentences(self, word: Word, now: float) -> list[str]:
        match word:
            case Refused():
                raise NotApplied(f"the manifest could not be applied: {word.message}")
            case Done():
                self.over = True
                return [f"manifest: {warning}" for warning in word.warnings if warning not in self._said]
            case Progress():
                line = PullLine(word.status, word.digest, word.total, word.completed, word.name)
                said = self._minutes.take(self._pull, self._pull.feed(line, now), now)
                return [said] if said else []

"""A manifest that was read: files to fetch, and the models that are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tropilla.common.catalogue import Trouble
from tropilla.common.recipes import BARE, Flavour, Overlay


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file to fetch. `source` as it was written; `sha256` 64 lower-case hex digits or "".

    `stored_name` is what config entries call it, a relative path; `aliases` are further names that they may.
    """

    name: str
    source: str
    stored_name: str
    sha256: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loading:
    """What an entry decides of a `Recipe`; the defaults are a recipe's. `context` -1 is as many as it was trained for."""

    context: int = 0
    threads: int = 0
    gpu_layers: int = -1
    cache_type: str = ""
    flavours: tuple[Flavour, ...] = ()
    instruction_set: str = ""
    #: It gives vectors, and does not chat.
    embeddings: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A model: the stored name of its file, or the name of the entry that it is an `alias` of, or its `trouble`.
    `projector` is the stored name of the file that reads images for it.
    """

    name: str
    stored_name: str = ""
    projector: str = ""
    overlay: Overlay = BARE
    loading: Loading = field(default_factory=Loading)
    alias: str = ""
    hidden: bool = False
    #: No other model ever takes its worker.
    keeps: bool = False
    description: str = ""
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`warnings` are sentences for whoever wrote it."""

    debug: bool = False
    runtime: str = ""
    backends: tuple[str, ...] = ()
    files: tuple[ManifestFile, ...] = ()
    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[ManifestFile, ...]:
        """The files that some model is made of, projectors last: those are looked into beside their models. The others
        (adapters) are nobody's.
        """
        return (
            *(file for file in self.files if file.stored_name in self.models),
            *(file for file in self.files if file.stored_name in self.projectors - self.models),
        )

    @property
    def models(self) -> frozenset[str]:
        """Stored names of the files that models are made of."""
        return frozenset(entry.stored_name for entry in self.entries if entry.stored_name and not entry.trouble)

    @property
    def projectors(self) -> frozenset[str]:
        """Stored names of the files that read images for models."""
        return frozenset(entry.projector for entry in self.entries if entry.projector and not entry.trouble)

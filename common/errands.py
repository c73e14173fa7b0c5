"""What is asked of the store, and what it says meanwhile: the vocabulary of everything that changes which models exist.

    any errand --> Progress* Done | Refused

The store is one process beside the models' files; errands reach it through the queue, so that a kill in the middle of one
loses nothing: it begins again, and goes on where the files say. Several callers may listen to one errand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tropilla.common.recipes import BARE, Overlay, Recipe


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch a model's files and define it. `source` is any of contracts/models.md sheet 5.1, `name` "" is made from it.

    `sha256` is what the file must have ("": whatever the source says of it). `again` fetches what is there already.
    `projector`, a source, reads images for the model; "" is what the source itself has for that.
    """

    id: str
    source: str
    name: str = ""
    sha256: str = ""
    insecure: bool = False
    again: bool = False
    projector: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Define a model by an overlay over another model (`base`), or over files that were uploaded (name, digest pairs).

    `overlay` has what the caller gave; what it leaves empty is the base's. `template_given` and `system_given` say that an
    empty text is meant. `quantization` other than the file's own is refused.
    """

    id: str
    name: str
    base: str = ""
    files: tuple[tuple[str, str], ...] = ()
    adapters: tuple[tuple[str, str], ...] = ()
    overlay: Overlay = BARE
    template_given: bool = False
    system_given: bool = False
    quantization: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """The same under a second name."""

    id: str
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget a name, and the files that no other one needs."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Import:
    """Define a model by a file on the store's machine, and by one that reads images for it. `link`: they stay where they
    are, also when the model is deleted.
    """

    id: str
    name: str
    path: str
    link: bool = False
    projector: str = ""


@dataclass(frozen=True, slots=True)
class Configure:
    """Change how a model is loaded, or what is laid over it: the fields that are given, by their names there. `projector`
    is a file on the store's machine that reads images for it from now on; "" takes away what does so now.
    """

    id: str
    name: str
    recipe: Recipe | None = None
    overlay: Overlay | None = None
    projector: str | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring a cluster to what an aikit manifest says. `folder` is where its relative sources are.

    `model`, a source, takes the place of all its models, and `runtime` that of its own.
    """

    id: str
    manifest: str
    folder: str
    model: str = ""
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Fetch the image at an http(s) address for a request, and keep it as pictures.py does: the last word is `Done` of its
    digest. It passes: one that nobody waits for any more is not done, and what was said of it is soon forgotten.
    """

    id: str
    url: str
    most_bytes: int


Errand = Pull | Create | Copy | Delete | Import | Configure | Apply | Look


@dataclass(frozen=True, slots=True)
class Progress:
    """Something goes on: `status` in Ollama's words; of a file also how many of its bytes are there."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The errand is done; `name` is the model it was about, of a look the digest, `warnings` what a person should hear."""

    name: str = ""
    warnings: tuple[str, ...] = ()


#: invalid: what was asked makes no sense. unknown: there is no such model or file. forbidden: a source that is not allowed.
#: conflict: not now, or not again. failed: it went wrong. cancelled: somebody wanted it to stop.
RefusalCode = Literal["invalid", "unknown", "forbidden", "conflict", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Refused:
    """The errand came to nothing. `field` is the one at fault, if one is."""

    code: RefusalCode
    message: str
    field: str = ""


Word = Progress | Done | Refused

#: How an errand is stopped. pause: what there is of its files stays, for the next one like it. discard: it goes.
Stop = Literal["pause", "discard"]


@dataclass(frozen=True, slots=True)
class Task:
    """An errand that somebody has asked for, and what was said of it so far."""

    errand: Errand
    words: tuple[Word, ...] = ()

    @property
    def last(self) -> Word | None:
        return self.words[-1] if self.words else None

    @property
    def over(self) -> bool:
        return isinstance(self.last, Done | Refused)

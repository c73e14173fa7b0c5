"""Where a model came from, and by which download it is coming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tropilla.api.surface import Surroundings
from tropilla.common.catalogue import Definition
from tropilla.common.errands import Progress, Pull, Word

#: What a URI holds as it stands.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


@dataclass(frozen=True, slots=True)
class Download:
    """An errand that fetches a model, and what was said of it so far."""

    errand: Pull
    words: tuple[Word, ...] = ()

    @property
    def files(self) -> dict[str, Progress]:
        """The last that was said of each file, by its digest or name."""
        told = (word for word in self.words if isinstance(word, Progress) and (word.digest or word.name))
        return {word.digest or word.name: word for word in told}


def downloads(surroundings: Surroundings) -> Iterator[Download]:
    """Those that are under way."""
    for task in surroundings.tasks():
        if isinstance(task.errand, Pull):
            yield Download(task.errand, task.words)


def pulling(surroundings: Surroundings, name: str) -> Download | None:
    """The download that is under way for the name."""
    found = (each for each in downloads(surroundings) if name in (each.errand.name, f"{each.errand.name}:latest"))
    return next(found, None)


def source_url(surroundings: Surroundings, name: str) -> str:
    """Where it came from; of a file of a machine of ours, only what it is called."""
    definition = surroundings.catalogue.define(name)
    if definition and definition.source:
        return definition.source
    return f"file:{_quoted(_file_name(definition))}" if definition else f"urn:tropilla:model:{_quoted(name)}"


def _file_name(definition: Definition) -> str:
    first = definition.recipe.files[0] if definition.recipe.files else None
    return (first.name or first.path).rpartition("/")[2] if first else f"{definition.model.name}.gguf"


def _quoted(text: str) -> str:
    return "".join(each if each in _PLAIN else "".join(f"%{byte:02X}" for byte in each.encode()) for each in text)

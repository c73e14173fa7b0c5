"""Which models exist and who serves them, as a value: what workers announce and the API reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Flavour = Literal["cpu", "gpu"]
#: A pin is a state of a worker. Only `ready` workers can answer.
State = Literal["loading", "ready", "draining"]
Capability = Literal["completion", "insert", "tools", "thinking", "vision", "embedding"]


@dataclass(frozen=True, slots=True)
class Model:
    """Facts about one pinned GGUF, read from its header; what every dialect's listing is made of.

    `digest` is 64 hex digits over the file; `context_length` is what one request may use on this worker, in tokens,
    `trained_context` what the model was trained for. `modified_at` is the file's time in Unix seconds.
    """

    name: str
    digest: str
    size_bytes: int
    family: str
    parameter_count: int
    quantization: str
    context_length: int
    trained_context: int
    embedding_length: int
    vocabulary: int
    modified_at: float
    capabilities: tuple[Capability, ...] = ("completion",)
    #: LoRA adapters that a request may name, by name.
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process and the model it pins."""

    name: str
    flavour: Flavour
    state: State
    slots: int
    model: Model


@dataclass(frozen=True, slots=True)
class Lane:
    """Where requests for a model wait for a worker of a flavour. A gpu worker pulls from both lanes of its model, its own
    first; a cpu worker only from the cpu lane.
    """

    model: str
    flavour: Flavour

    @property
    def name(self) -> str:
        """The Celery queue."""
        return f"{self.model}.{self.flavour}"


#: Which flavours' lanes a worker of a flavour pulls from, first first.
PULLS: Mapping[Flavour, tuple[Flavour, ...]] = {"gpu": ("gpu", "cpu"), "cpu": ("cpu",)}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A snapshot of every live worker."""

    workers: tuple[Worker, ...] = ()

    @property
    def models(self) -> tuple[Model, ...]:
        """Each model that can answer now, once, by name. Any of its workers may get the request: where they disagree, the
        smaller context counts, and only adapters that all of them have.
        """
        found: dict[str, Model] = {}
        for worker in self.workers:
            if worker.state == "ready":
                known = found.get(worker.model.name)
                found[worker.model.name] = worker.model if known is None else _agreed(known, worker.model)
        return tuple(found[name] for name in sorted(found))

    def find(self, name: str) -> Model | None:
        """The model of exactly this name. Aliases and tags are a dialect's business."""
        return next((model for model in self.models if model.name == name), None)

    def flavours(self, name: str) -> frozenset[Flavour]:
        """Where the model can be answered now."""
        return frozenset(w.flavour for w in self.workers if w.state == "ready" and w.model.name == name)

    def pulled(self, lane: Lane) -> bool:
        """Whether any worker that lives pulls from the lane, or will once it has loaded its model."""
        return any(w.model.name == lane.model and lane.flavour in PULLS[w.flavour] for w in self.workers)


def _agreed(one: Model, other: Model) -> Model:
    shorter = other if other.context_length < one.context_length else one
    return replace(shorter, adapters=tuple(name for name in one.adapters if name in other.adapters))


def catalogue(workers: Iterable[Worker]) -> Catalogue:
    """A catalogue in a fixed order."""
    return Catalogue(tuple(sorted(workers, key=lambda worker: worker.name)))

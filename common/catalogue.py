"""Which models exist and who serves them, as a value: what workers announce, the store writes down and the API reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal, cast

from tropilla.common.recipes import BARE, Overlay, Recipe
from tropilla.common.recipes import Flavour as Flavour

#: What a worker does about its pin. Only `ready` workers can answer; `idle` ones have no model.
State = Literal["idle", "loading", "ready", "draining"]
Capability = Literal["completion", "insert", "tools", "thinking", "vision", "embedding"]


@dataclass(frozen=True, slots=True)
class Model:
    """Facts about one model under one name, read from its file's header; what every dialect's listing is made of.

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
    #: The recipe's `pin`; "" where it is called like the model.
    pinned_as: str = ""
    overlay: Overlay = BARE
    #: The model it was made from by an overlay; "" for none.
    parent: str = ""
    #: Digest of the file that reads images for it; "" for none.
    projector: str = ""

    @property
    def pin(self) -> str:
        """What a worker pins for it; several names may share it."""
        return self.pinned_as or self.name


@dataclass(frozen=True, slots=True)
class Definition:
    """A model that can be loaded: its facts, and what a worker needs to load it.

    `preload`: idle workers load it before anybody asks. `keeps`: no other model ever takes its worker. `source` is where
    it came from, without secrets.
    """

    model: Model
    recipe: Recipe
    source: str = ""
    preload: bool = False
    keeps: bool = False
    hidden: bool = False


#: Why a model that has a name cannot answer, for programs.
TroubleCode = Literal[
    "downloading",
    "download_failed",
    "file_missing",
    "checksum_mismatch",
    "not_gguf",
    "unsupported_arch",
    "out_of_memory",
    "template_error",
    "no_worker",
    "backend_unsupported",
    "load_failed",
]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a model cannot answer now, in one sentence that says what is the matter."""

    code: TroubleCode
    message: str


@dataclass(frozen=True, slots=True)
class Sign:
    """Of a model's life on one worker, by its own clock: a step was computed `age` seconds ago, and the last canary took
    `seconds` (workers/canary.py). `trouble`: why nothing comes of what it is asked; "" is nothing.
    """

    age: float
    seconds: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process and the model it pins, None for an idle one.

    Everything is as of its last announcement, and all times are durations by its own clock.
    """

    name: str
    flavour: Flavour
    state: State
    slots: int
    model: Model | None
    #: What it was started for, and loads without asking the store: nobody else may have that file.
    own: Definition | None = None
    #: Its model came by an order, so its name is the store's business.
    ordered: bool = False
    #: Of `INSTRUCTION_SETS`, those that it has.
    features: tuple[str, ...] = ()
    #: Requests that it holds.
    running: int = 0
    #: Since when none, in seconds.
    idle_seconds: float = 0.0
    #: Until it lets go of its model if nobody asks, in seconds; None is never.
    expires_in: float | None = None
    #: How much of a model that is `loading` is there, 0 to 1.
    progress: float = 0.0
    #: The pin that it loads as soon as its requests have ended.
    next_pin: str = ""
    #: While it drains: it stays, and loads what it is told to afterwards.
    returns: bool = False
    #: Memory that its model takes, and how much of that is a GPU's.
    resident_bytes: int = 0
    gpu_bytes: int = 0
    #: None where it has no model, and of an older release.
    sign: Sign | None = None

    @property
    def trouble(self) -> str:
        """Why its model computes nothing; "" where it does, as far as is known."""
        return self.sign.trouble if self.sign else ""

    @property
    def pin(self) -> str:
        """What it pins, loading and draining included; "" is nothing."""
        return self.model.pin if self.model else ""

    def serves(self, pin: str) -> bool:
        return self.state == "ready" and self.pin == pin

    def coming(self, pin: str) -> bool:
        """Whether it will serve the pin by itself."""
        return (self.state == "loading" and self.pin == pin) or self.next_pin == pin

    def may_load(self, definition: Definition) -> bool:
        """Whether nothing that is known beforehand speaks against it."""
        recipe = definition.recipe
        mine = self.own is not None and self.own.recipe.pin == recipe.pin
        return (
            (mine or not any(file.path for file in recipe.files))
            and (not recipe.flavours or self.flavour in recipe.flavours)
            and (not recipe.instruction_set or recipe.instruction_set in self.features)
            # Whoever was told to stop is as good as gone.
            and (self.state != "draining" or self.returns or bool(self.next_pin))
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """Where requests for a pin wait for a worker of a flavour. A gpu worker pulls from both lanes of its pin, its own
    first; a cpu worker only from the cpu lane.
    """

    pin: str
    flavour: Flavour

    @property
    def name(self) -> str:
        """The Celery queue."""
        return f"{self.pin}.{self.flavour}"

    @classmethod
    def named(cls, name: str) -> Lane:
        """The lane of that name."""
        pin, _, flavour = name.rpartition(".")
        return cls(pin, cast(Flavour, flavour))


#: Which flavours' lanes a worker of a flavour pulls from, first first.
PULLS: Mapping[Flavour, tuple[Flavour, ...]] = {"gpu": ("gpu", "cpu"), "cpu": ("cpu",)}

Failures = Mapping[str, Mapping[str, Trouble]]


@dataclass(frozen=True)
class Catalogue:
    """A snapshot: every live worker, what the store has, and what is the matter with the rest.

    `troubles`: models by name that have no files (yet, or any more). `failures`: pin -> worker -> why it could not load it
    a moment ago.
    """

    workers: tuple[Worker, ...] = ()
    stored: tuple[Definition, ...] = ()
    troubles: Mapping[str, Trouble] = field(default_factory=lambda: MappingProxyType({}))
    failures: Failures = field(default_factory=lambda: MappingProxyType({}))
    #: The only model that is shown, by name; "" shows all.
    only: str = ""

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Each model that can answer, now or once a worker has loaded it; once, by name."""
        found = {model.name: model for model in self._served() if self.only in ("", model.name)}
        return tuple(found[name] for name in sorted(found))

    @cached_property
    def definitions(self) -> tuple[Definition, ...]:
        """What can be loaded, once by name: the store's, then what workers were started with."""
        found = {w.own.model.name: w.own for w in reversed(self.workers) if w.own}
        found |= {definition.model.name: definition for definition in self.stored}
        return tuple(found[name] for name in sorted(found))

    def find(self, name: str) -> Model | None:
        """The model of exactly this name. Aliases and tags are a dialect's business."""
        return self._by_name.get(name)

    def define(self, name: str) -> Definition | None:
        """What a worker would load for the model of exactly this name."""
        return next((each for each in self.definitions if each.model.name == name), None)

    def alone(self, model: Model) -> Catalogue:
        """As if there were no other model."""
        holders = tuple(worker for worker in self.workers if worker.pin == model.pin)
        return replace(self, workers=holders or self.workers, only=model.name)

    def flavours(self, pin: str) -> frozenset[Flavour]:
        """Where a pin is ready."""
        return frozenset(w.flavour for w in self.workers if w.serves(pin))

    def candidates(self, definition: Definition) -> tuple[Worker, ...]:
        """The workers that could load it, as far as is known; none while the store says that its files are gone."""
        if definition.model.name in self.troubles:
            return ()
        failed = self.failures.get(definition.recipe.pin, {})
        return tuple(w for w in self.workers if w.name not in failed and w.may_load(definition))

    def trouble(self, name: str) -> Trouble | None:
        """Why the model of exactly this name cannot answer; None when it can, or nobody knows of it."""
        return self.troubled.get(name)

    @cached_property
    def troubled(self) -> Mapping[str, Trouble]:
        """Each model that is known and cannot answer, by name, and why: what the store says of it counts first."""
        found = dict(self.troubles)
        for definition in self.definitions:
            name = definition.model.name
            if definition.hidden:
                found.pop(name, None)
            elif name not in found:
                failed = self.failures.get(definition.recipe.pin, {})
                found[name] = next(iter(failed.values()), Trouble("no_worker", f"no worker can load {name}"))
        return {
            name: trouble for name, trouble in found.items() if name not in self._by_name and self.only in ("", name)
        }

    def pulled(self, lane: Lane) -> bool:
        """Whether any worker that lives pulls from the lane, or will once it has loaded its model."""
        return any(
            (worker.serves(lane.pin) or worker.coming(lane.pin)) and lane.flavour in PULLS[worker.flavour]
            for worker in self.workers
        )

    @cached_property
    def _by_name(self) -> Mapping[str, Model]:
        return {model.name: model for model in self.models}

    @cached_property
    def _ready(self) -> Mapping[str, Model]:
        """Pin -> what holds on all workers that have it ready: any of them may get a request."""
        found: dict[str, Model] = {}
        for worker in self.workers:
            if worker.model is not None and worker.state == "ready":
                known = found.get(worker.pin)
                found[worker.pin] = worker.model if known is None else _agreed(known, worker.model)
        return found

    def _served(self) -> Iterator[Model]:
        defined = {definition.model.name for definition in self.definitions}
        for worker in self.workers:
            if worker.state == "ready" and worker.model and not worker.ordered and worker.model.name not in defined:
                yield self._ready[worker.pin]
        for definition in self.definitions:
            if definition.hidden:
                continue
            if (ready := self._ready.get(definition.recipe.pin)) is not None:
                yield _agreed(definition.model, ready)
            elif self.candidates(definition):
                yield definition.model


def _agreed(one: Model, other: Model) -> Model:
    """One of them, with the smaller context, and only adapters that both have."""
    context = min(one.context_length, other.context_length)
    return replace(one, context_length=context, adapters=tuple(name for name in one.adapters if name in other.adapters))


def catalogue(
    workers: Iterable[Worker],
    stored: Iterable[Definition] = (),
    troubles: Mapping[str, Trouble] = MappingProxyType({}),
    failures: Failures = MappingProxyType({}),
) -> Catalogue:
    """A catalogue in a fixed order."""
    return Catalogue(tuple(sorted(workers, key=lambda worker: worker.name)), tuple(stored), troubles, failures)

"""What the processes of the cluster are, as values: their names, command lines and environments. Starts nothing."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tropilla.common import readiness
from tropilla.common.addresses import is_loopback
from tropilla.common.catalogue import Flavour
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import PREFIX, Settings
from tropilla.workers.adapters import setting_of

Role = Literal["redis", "api", "worker", "store", "flower"]

#: What a worker serves when it was given no model file.
BUILT_IN_MODEL = "pocket"
#: What its list of tasks shows: `args` is the model, `result` the outcome. By default it shows neither.
FLOWER_COLUMNS = ("name", "args", "state", "result", "received", "runtime", "worker", "uuid")


@dataclass(frozen=True, slots=True)
class Program:
    """One process to be started. `inherits` are open files it is to share with the one who starts it."""

    name: str
    role: Role
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    inherits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A `--model NAME=PATH`, its adapters, `--adapter NAME=PATH` each, and its `--projector PATH`. No path is the built-in
    model.
    """

    name: str = BUILT_IN_MODEL
    path: Path | None = None
    adapters: tuple[tuple[str, Path], ...] = ()
    projector: Path | None = None

    @property
    def setting(self) -> str:
        return f"{self.name}={self.path}" if self.path else ""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker: `name` for people, `identity` for Redis, where it must be the only one of its name. Without a model it
    starts idle.
    """

    name: str
    identity: str
    flavour: Flavour
    model: ModelFile | None

    def is_called(self, announced: str) -> bool:
        """Whether a worker that announces itself by this name is the one: workers add `@` and their machine."""
        return announced.partition("@")[0] == self.identity


def plan_workers(
    models: Sequence[ModelFile],
    counts: Mapping[Flavour, int],
    *,
    idle: Mapping[Flavour, int] = MappingProxyType({}),
    suffix: str = "",
) -> tuple[WorkerPlan, ...]:
    """Every flavour's count of workers for every model, then the idle ones: cpu-1, cpu-2, ... over all of them."""
    return tuple(_numbered(models, counts, idle, suffix))


def _numbered(
    models: Sequence[ModelFile], counts: Mapping[Flavour, int], idle: Mapping[Flavour, int], suffix: str
) -> Iterator[WorkerPlan]:
    for flavour in dict.fromkeys((*counts, *idle)):
        served = [model for model in models for _ in range(counts.get(flavour, 0))]
        for number, model in enumerate((*served, *[None] * idle.get(flavour, 0)), start=1):
            name = f"{flavour}-{number}"
            yield WorkerPlan(name, name + suffix, flavour, model)


def child_environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """What every process of ours finds: the person's environment, and exactly these settings. None of them calls the API
    as a caller.
    """
    settings = dataclasses.replace(settings, api_key="")
    inherited = {name: value for name, value in base.items() if not name.startswith(PREFIX)}
    # Unbuffered: a line that is logged is seen, also the last one before a crash.
    return {**inherited, **settings.to_environment(), "PYTHONUNBUFFERED": "1"}


def web(settings: Settings, base: Mapping[str, str], *, listener: int | None = None) -> Program:
    """listener: the open file of a bound socket, for it to listen on; else it binds one itself."""
    bound = () if listener is None else ("--bind", f"fd://{listener}")
    argv = (
        "-m",
        "gunicorn",
        "--config",
        "python:tropilla.api.server",
        *bound,
        "tropilla.api.wiring:from_environment()",
    )
    inherits = () if listener is None else (listener,)
    return Program("api", "api", (sys.executable, *argv), child_environment(settings, base), inherits)


def heard(program: Program, writer: int) -> Program:
    """One that says on this pipe when it can be used."""
    environment = {**program.environment, readiness.VARIABLE: str(writer)}
    return dataclasses.replace(program, environment=environment, inherits=(*program.inherits, writer))


def worker(settings: Settings, base: Mapping[str, str], *, idle: bool = False) -> Program:
    """The worker that the settings describe; an idle one takes no notice of their model."""
    argv = (sys.executable, "-m", "tropilla.workers", *(["--idle"] if idle else []))
    return Program(settings.worker_name or settings.flavour, "worker", argv, child_environment(settings, base))


def planned_worker(plan: WorkerPlan, settings: Settings, base: Mapping[str, str]) -> Program:
    own = dataclasses.replace(
        settings,
        model=plan.model.setting if plan.model else "",
        adapters=setting_of(plan.model.adapters) if plan.model else "",
        projector=str(plan.model.projector or "") if plan.model else "",
        flavour=plan.flavour,
        worker_name=plan.identity,
    )
    return dataclasses.replace(worker(own, base, idle=plan.model is None), name=plan.name)


def store(settings: Settings, base: Mapping[str, str]) -> Program:
    argv = (sys.executable, "-m", "tropilla.workers.store")
    return Program("store", "store", argv, child_environment(settings, base))


def flower(settings: Settings, base: Mapping[str, str]) -> Program:
    """The broker's URL and the password go by the environment: everybody on the machine can read a command line.

    Raises `ConfigurationError` where others than this machine could look at it without a password.
    """
    environment = {**child_environment(settings, base), "CELERY_BROKER_URL": settings.redis_url}
    if settings.flower_auth:
        environment["FLOWER_BASIC_AUTH"] = settings.flower_auth
    # Flower's own ways to ask who it is, where somebody has set them, are as good.
    elif not is_loopback(settings.flower_host) and not (base.get("FLOWER_BASIC_AUTH") or base.get("FLOWER_AUTH")):
        raise ConfigurationError(
            f"Flower on {settings.flower_host or 'every address'} would be open to everybody who reaches it, and can "
            f"shut workers down: set {PREFIX}FLOWER_AUTH=USER:PASSWORD, or {PREFIX}FLOWER_HOST=127.0.0.1"
        )
    columns = f"--tasks_columns={','.join(FLOWER_COLUMNS)}"
    argv = ("-m", "celery", "flower", f"--port={settings.flower_port}", f"--address={settings.flower_host}", columns)
    return Program("flower", "flower", (sys.executable, *argv), environment)

"""From what was asked for to what is to be started, refusing everything that can be refused before anything runs."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tropilla.common.bus import Bus
from tropilla.common.catalogue import Flavour
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_header
from tropilla.common.header import Header
from tropilla.common.names import MODEL_NAME
from tropilla.common.settings import Settings, threads_for
from tropilla.compose import manifest, program, redis_server
from tropilla.compose.home import Home
from tropilla.compose.lookout import Address
from tropilla.compose.manifest import Wanted
from tropilla.compose.ports import Reservations
from tropilla.compose.program import ModelFile, Program, WorkerPlan
from tropilla.compose.readiness import Readiness
from tropilla.workers import pocket
from tropilla.workers.adapters import named_adapters, read_adapters, setting_of
from tropilla.workers.store.refusals import Unfit
from tropilla.workers.store.soundness import check_projector


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asks `tropilla up` for. With `own_redis`, the URL in the settings means nothing.

    `counts` of workers are for each model, `idle` in all. With a manifest all are idle.
    """

    settings: Settings
    models: tuple[ModelFile, ...]
    counts: Mapping[Flavour, int]
    own_redis: bool
    flower: bool
    idle: Mapping[Flavour, int] = field(default_factory=lambda: MappingProxyType({}))
    wanted: Wanted | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything to be started, with the ports and the Redis URL it really has."""

    settings: Settings
    plans: tuple[WorkerPlan, ...]
    redis: Program | None
    api: Program
    store: Program
    workers: tuple[Program, ...]
    flower: Program | None
    redis_address: Address | None
    wanted: Wanted | None = None

    @property
    def names(self) -> list[str]:
        programs = (self.redis, self.api, self.store, *self.workers, self.flower)
        return [each.name for each in programs if each]

    @property
    def api_address(self) -> Address:
        return Address(self.settings.host, self.settings.port)

    @property
    def flower_address(self) -> Address | None:
        return Address(self.settings.flower_host, self.settings.flower_port) if self.flower else None


def parse_model(text: str) -> ModelFile:
    """`NAME=PATH`, as in --model and TROPILLA_MODEL; empty is the built-in model."""
    if not text:
        return ModelFile()
    name, separator, path = text.partition("=")
    if not separator or not path:
        raise ConfigurationError(f"{text!r} is not NAME=PATH, the model's name and its GGUF file")
    if not MODEL_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot be a model's name: letters, digits, and inside also . - / and one :")
    return ModelFile(name, Path(path).expanduser().absolute())


def with_adapters(
    models: Sequence[ModelFile], given: Sequence[tuple[int, tuple[str, Path]]], setting: str
) -> tuple[ModelFile, ...]:
    """The models with their adapters. given: how many `--model` stood before each adapter, since one belongs to the model
    before it, and needs none where there is only one. setting: what holds where nothing was given.
    """
    placed = given or [(0, adapter) for adapter in named_adapters(setting).items()]
    for before, (name, _) in placed:
        if before == 0 and len(models) > 1:
            raise ConfigurationError(f"which model is the adapter {name} for? Put its --adapter behind that --model")
    return tuple(
        dataclasses.replace(model, adapters=tuple(adapter for before, adapter in placed if max(before - 1, 0) == at))
        for at, model in enumerate(models)
    )


def with_projectors(
    models: Sequence[ModelFile], given: Sequence[tuple[int, Path]], setting: str
) -> tuple[ModelFile, ...]:
    """The models with what reads images for them; `given` and `setting` as for adapters."""
    own = Path(setting).expanduser().absolute()
    found: dict[int, Path] = {}
    for before, path in given or ([(0, own)] if setting else []):
        if before == 0 and len(models) > 1:
            raise ConfigurationError(
                f"which model is the projector {path.name} for? Put its --projector behind that --model"
            )
        if found.setdefault(max(before - 1, 0), path) != path:
            raise ConfigurationError(f"a model has one projector, and {path.name} would be a second one")
    return tuple(dataclasses.replace(model, projector=found.get(at)) for at, model in enumerate(models))


def with_parts(
    models: Sequence[ModelFile],
    adapters: Sequence[tuple[int, tuple[str, Path]]],
    projectors: Sequence[tuple[int, Path]],
    settings: Settings,
) -> tuple[ModelFile, ...]:
    """The models with all that was given beside them, or is set."""
    return with_projectors(with_adapters(models, adapters, settings.adapters), projectors, settings.projector)


def worker_settings(
    settings: Settings,
    model: ModelFile | None,
    adapters: Sequence[tuple[int, tuple[str, Path]]],
    projectors: Sequence[tuple[int, Path]],
) -> Settings:
    """Those of one worker: what was given goes before what is set."""
    settings = dataclasses.replace(settings, model=model.setting) if model else settings
    if adapters:
        settings = dataclasses.replace(settings, adapters=setting_of(adapter for _, adapter in adapters))
    if projectors:
        (only,) = with_projectors([ModelFile()], [(0, path) for _, path in projectors], "")
        settings = dataclasses.replace(settings, projector=str(only.projector))
    return settings


def check_models(models: tuple[ModelFile, ...]) -> None:
    """Looks into every file: a bad download is found before anything runs."""
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two models are called {name}: every --model needs a name of its own")
    adapters = [name for model in models for name, _ in model.adapters]
    for name in adapters:
        # An OpenAI client names nothing but the adapter.
        if adapters.count(name) > 1 or name in names:
            raise ConfigurationError(f"two models or adapters are called {name}: each needs a name of its own")
    for model in models:
        header = read_header(model.path or pocket.path())
        read_adapters(dict(model.adapters), name=model.name, model=header)
        if model.projector is not None:
            _check_projector(model.projector, header)


def _check_projector(path: Path, model: Header) -> None:
    try:
        check_projector(path.name, read_header(path), model)
    except Unfit as error:
        raise ConfigurationError(error.message) from error


def prepare(
    options: Options, home: Home, ports: Reservations, readiness: Readiness, base: Mapping[str, str]
) -> Cluster:
    """Raises `ConfigurationError` for anything that would fail later."""
    check_models(options.models)
    if options.wanted and options.own_redis:
        manifest.check(options.wanted, [flavour for flavour, count in options.idle.items() if count])
    settings = _reserve_ports(options, ports)
    redis, redis_address = None, None
    if options.own_redis:
        settings, redis = _own_redis(settings, home, ports, base)
        redis_address = Address(redis_server.HOST, int(redis.argv[redis.argv.index("--port") + 1]))
    else:
        check_redis(settings.redis_url)
    suffix = "" if options.own_redis else home.suffix
    plans = program.plan_workers(options.models, options.counts, idle=options.idle, suffix=suffix)
    cpu_workers = sum(plan.flavour == "cpu" for plan in plans) or 1
    settings = dataclasses.replace(
        settings, threads=settings.threads or threads_for(os.cpu_count() or 1, workers=cpu_workers)
    )
    heard = functools.partial(program.heard, writer=readiness.writer)
    return Cluster(
        settings=settings,
        plans=plans,
        redis=redis,
        api=heard(program.web(settings, base, listener=ports.descriptor(settings.port))),
        store=heard(program.store(settings, base)),
        workers=tuple(heard(program.planned_worker(plan, settings, base)) for plan in plans),
        flower=program.flower(settings, base) if options.flower else None,
        redis_address=redis_address,
        wanted=options.wanted,
    )


def check_redis(url: str) -> None:
    """Raises one sentence when the Redis there cannot be reached or used."""
    bus = Bus.connect(url)
    try:
        bus.check()
    finally:
        bus.close()


def _reserve_ports(options: Options, ports: Reservations) -> Settings:
    settings = options.settings
    port = ports.reserve(settings.host, settings.port, "the API")
    settings = dataclasses.replace(settings, port=port)
    if not options.flower:
        return settings
    return dataclasses.replace(
        settings, flower_port=ports.reserve(settings.flower_host, settings.flower_port, "Flower")
    )


def _own_redis(
    settings: Settings, home: Home, ports: Reservations, base: Mapping[str, str]
) -> tuple[Settings, Program]:
    binary = redis_server.find(base.get("PATH"))
    port = ports.reserve(redis_server.HOST, 0, "Redis")
    password, password_file = redis_server.write_password(home.redis_folder)
    redis = redis_server.program(
        binary.path, port=port, folder=home.redis_folder, password_file=password_file, lock=home.lock, base=base
    )
    return dataclasses.replace(settings, redis_url=redis_server.url(port, password)), redis

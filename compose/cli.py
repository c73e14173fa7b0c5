"""The command `tropilla`: up (everything), web, worker, flower (one process each, for Procfile), version."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tropilla.common.catalogue import Flavour
from tropilla.common.errors import ConfigurationError, TropillaError
from tropilla.common.settings import PREFIX, Settings
from tropilla.compose import local, prepare, program
from tropilla.compose.ports import Reservations
from tropilla.compose.program import Program
from tropilla.workers.adapters import parse_adapter, setting_of

USAGE_STATUS = 2
FAILURE_STATUS = 1
INTERRUPTED_STATUS = 130

#: flag -> (setting, what it is called in the help, what it is)
FLAGS: Mapping[str, tuple[str, str, str]] = {
    "--host": ("host", "H", "the address the API listens on"),
    "--port": ("port", "P", "the API's port; 0 is any free one"),
    "--redis": ("redis_url", "URL", "a running Redis"),
    "--home": ("home", "DIR", "where everything is kept"),
    "--slots": ("slots", "N", "requests a worker answers at once"),
    "--ctx": ("context", "N", "tokens of context per request; 0 is what the model was made for, at most 4096"),
    "--kv-cells": ("kv_cells", "N", "tokens kept for all slots together; 0 is all their context, or what memory holds"),
    "--cache-type": ("cache_type", "TYPE", "how the KV cache is kept: f16, q8_0 for half of it, q4_0 for a quarter"),
    "--threads": ("threads", "N", "threads per worker; 0 is all cores but one, shared by the CPU workers"),
    "--flavour": ("flavour", "NAME", "cpu or gpu"),
    "--name": ("worker_name", "NAME", "what the worker calls itself; no two on one Redis alike"),
}
WORKER_FLAGS = ("--slots", "--ctx", "--kv-cells", "--cache-type", "--threads")
OFF = "off"
MOST_WORKERS = 64


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    top = Parser(prog="tropilla", description="An inference cluster for GGUF models.")
    commands = top.add_subparsers(required=True, metavar="up | web | worker | flower | version")

    up = commands.add_parser("up", help="everything on this machine: Redis, API, workers, Flower")
    _add_model(up, action="append")
    _add_adapters(up, "of the --model before it")
    up.add_argument("--cpu", type=_count, metavar="N", help="CPU workers per model; 1, or 0 where only --gpu is given")
    up.add_argument("--gpu", type=_count, metavar="N", help="GPU workers per model; 0")
    _add_settings(up, *WORKER_FLAGS, "--host", "--port", "--redis", "--home")
    _add_flower_port(up)
    up.set_defaults(run=run_up)

    web = commands.add_parser("web", help="one API process")
    _add_settings(web, "--host", "--port", "--redis", "--home")
    web.set_defaults(run=run_web)

    worker = commands.add_parser("worker", help="one worker process")
    _add_model(worker, action="store")
    _add_adapters(worker, "of the model")
    _add_settings(worker, "--flavour", "--name", *WORKER_FLAGS, "--redis", "--home")
    worker.set_defaults(run=run_worker)

    flower = commands.add_parser("flower", help="Flower, the view of workers and tasks")
    _add_flower_port(flower)
    _add_settings(flower, "--redis", "--home")
    flower.set_defaults(run=run_flower)

    version = commands.add_parser("version", help="which Tropilla this is")
    version.set_defaults(run=run_version)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Every error is one sentence on stderr: status 2 for what was asked, 1 for what happened."""
    # A log line that this terminal cannot show must not end the cluster.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    asked = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Mapping[str, str]], int] = asked.run
    try:
        return run(asked, os.environ)
    except ConfigurationError as error:
        return _complain(error.message, USAGE_STATUS)
    except TropillaError as error:
        return _complain(error.message, FAILURE_STATUS)
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS


def _complain(sentence: str, status: int) -> int:
    print(f"tropilla: {sentence}", file=sys.stderr)
    return status


def run_up(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    try:
        return local.up(up_options(asked, environment), environment, sys.stdout)
    finally:
        _forget_broken_output()


def _forget_broken_output() -> None:
    """What could not be written to `| head` would be tried again, and complained about, when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def up_options(asked: argparse.Namespace, environment: Mapping[str, str]) -> prepare.Options:
    """What `tropilla up` was asked for, flags before environment before defaults."""
    settings = read_settings(asked, environment)
    gpu = asked.gpu or 0
    cpu = asked.cpu if asked.cpu is not None else int(gpu == 0)
    if not cpu + gpu:
        raise ConfigurationError("nobody would answer: ask for at least one worker with --cpu or --gpu")
    counts: dict[Flavour, int] = {"cpu": cpu, "gpu": gpu}
    named = asked.model or [prepare.parse_model(settings.model)]
    models = prepare.with_adapters(named, asked.adapter, settings.adapters)
    own_redis = not (asked.redis_url or environment.get(f"{PREFIX}REDIS_URL"))
    return prepare.Options(settings, models, counts, own_redis, flower=asked.flower_port != OFF)


def run_web(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = read_settings(asked, environment)
    with Reservations() as ports:
        ports.reserve(settings.host, settings.port, "the API")
    return become(program.web(settings, environment))


def run_worker(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = read_settings(asked, environment)
    if asked.model:
        settings = dataclasses.replace(settings, model=asked.model.setting)
    if asked.adapter:
        settings = dataclasses.replace(settings, adapters=setting_of(adapter for _, adapter in asked.adapter))
    return become(program.worker(settings, environment))


def run_flower(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if asked.flower_port == OFF:
        raise ConfigurationError("tropilla flower with --flower-port off would do nothing")
    settings = read_settings(asked, environment)
    with Reservations() as ports:
        port = ports.reserve(program.FLOWER_ADDRESS, settings.flower_port, "Flower")
    return become(program.flower(dataclasses.replace(settings, flower_port=port), environment))


def run_version(_asked: argparse.Namespace, _environment: Mapping[str, str]) -> int:
    print(f"tropilla {importlib.metadata.version('tropilla')}")
    return 0


def become(one: Program) -> NoReturn:
    """This process goes on as that one, so that whoever started it (foreman, Docker) signals it directly."""
    os.execve(one.argv[0], one.argv, one.environment)


def read_settings(asked: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings in the environment, with the flags laid over them."""
    fields = {field.name for field in dataclasses.fields(Settings)} - {"model"}
    flags = {name: str(value) for name, value in vars(asked).items() if name in fields and value not in (None, OFF)}
    return Settings.from_environment({**environment, **{PREFIX + name.upper(): text for name, text in flags.items()}})


def _add_settings(command: argparse.ArgumentParser, *flags: str) -> None:
    for flag in flags:
        setting, shown, what = FLAGS[flag]
        default = "" if setting == "redis_url" else f" ({getattr(Settings(), setting)})"
        command.add_argument(flag, dest=setting, metavar=shown, type=_setting(setting), help=what + default)


def _add_model(command: argparse.ArgumentParser, *, action: str) -> None:
    what = "a name and its GGUF file; the built-in pocket without"
    command.add_argument("--model", action=action, type=_model, metavar="NAME=PATH", help=what)


class _Adapter(argparse.Action):
    """Remembers how many --model stood before it."""

    def __call__(
        self, _: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, __: str | None = None
    ) -> None:
        before = len(namespace.model) if isinstance(namespace.model, list) else 0
        namespace.adapter = [*namespace.adapter, (before, values)]


def _add_adapters(command: argparse.ArgumentParser, whose: str) -> None:
    what = f"a LoRA adapter {whose}: the name by which requests ask for it, and its GGUF file; any number of them"
    command.add_argument("--adapter", action=_Adapter, type=_adapter, default=(), metavar="NAME=PATH", help=what)


def _add_flower_port(command: argparse.ArgumentParser) -> None:
    read = _setting("flower_port")
    command.add_argument(
        "--flower-port",
        metavar="P",
        type=lambda text: text if text == OFF else read(text),
        help=f"Flower's port; 0 is any free one, {OFF} is no Flower ({Settings().flower_port})",
    )


def _setting(name: str) -> Callable[[str], str]:
    """Refuses what the setting would refuse, so that the message names the flag."""
    variable = PREFIX + name.upper()

    def read(text: str) -> str:
        try:
            Settings.from_environment({variable: text})
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(error.message.removeprefix(f"{variable}=")) from error
        return text

    return read


def _model(text: str) -> program.ModelFile:
    try:
        return prepare.parse_model(text or "=")
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _adapter(text: str) -> tuple[str, Path]:
    try:
        return parse_adapter(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MOST_WORKERS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

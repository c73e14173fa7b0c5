"""What can be typed behind `tropilla`: flags that are settings, and how each is read and refused."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tropilla.common.environment import PREFIX, overruled
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose import prepare, program
from tropilla.workers.adapters import parse_adapter

USAGE_STATUS = 2
OFF = "off"
MOST_WORKERS = 64

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
    "--manifest": ("manifest", "FILE", "an aikit manifest that says which models there are"),
    "--url": (
        "url",
        "URL",
        "the cluster; else the one that `tropilla up` runs in the home folder, or on the API's port",
    ),
    "--name": ("worker_name", "NAME", "what the worker calls itself; no two on one Redis alike"),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")


class MixedParser(Parser):
    """Takes flags between and behind the words of a prompt, too."""

    _mixing = False

    def add_subparsers(self, **how: Any) -> Any:
        # One that has commands has no prompt, and Python's way knows of no commands.
        self._mixing = True
        return super().add_subparsers(**how)

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        # Python's own way to do that calls this method for its parts.
        if self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def read_settings(asked: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings in the environment, with the flags laid over them."""
    fields = {field.name for field in dataclasses.fields(Settings)} - {"model"}
    flags = {name: str(value) for name, value in vars(asked).items() if name in fields and value not in (None, OFF)}
    return Settings.from_environment(overruled(environment, flags))


def add_settings(command: argparse.ArgumentParser, *flags: str) -> None:
    for flag in flags:
        setting, shown, what = FLAGS[flag]
        # Of Redis, `tropilla up` starts one where none is named.
        default = "" if setting == "redis_url" else getattr(Settings(), setting)
        shown_default = "" if default == "" else f" ({default})"
        command.add_argument(flag, dest=setting, metavar=shown, type=_setting(setting), help=what + shown_default)


def add_model(command: argparse.ArgumentParser, *, action: str) -> None:
    what = "a name and its GGUF file; the built-in pocket without"
    command.add_argument("--model", action=action, type=_model, metavar="NAME=PATH", help=what)


class _OfModel(argparse.Action):
    """Remembers how many --model stood before it."""

    def __call__(
        self, _: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, __: str | None = None
    ) -> None:
        before = len(namespace.model) if isinstance(namespace.model, list) else 0
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (before, values)])


def add_parts(command: argparse.ArgumentParser, whose: str) -> None:
    """What a model has beside its weights."""
    what = f"a LoRA adapter {whose}: the name by which requests ask for it, and its GGUF file; any number of them"
    command.add_argument("--adapter", action=_OfModel, type=_adapter, default=(), metavar="NAME=PATH", help=what)
    # Not under the name of the setting, which is one file's.
    what = f"the GGUF file (mmproj) that reads images for requests {whose}"
    command.add_argument(
        "--projector", dest="seeing", action=_OfModel, type=_path, default=(), metavar="PATH", help=what
    )


def add_flower_port(command: argparse.ArgumentParser) -> None:
    read = _setting("flower_port")
    command.add_argument(
        "--flower-port",
        metavar="P",
        type=lambda text: text if text == OFF else read(text),
        help=f"Flower's port; 0 is any free one, {OFF} is no Flower ({Settings().flower_port})",
    )


def add_manifest(command: argparse.ArgumentParser) -> None:
    """aikit's build arguments have the same names without the prefix."""
    add_settings(command, "--manifest")
    model = "a source that takes the place of all models of the manifest"
    command.add_argument("--manifest-model", default="", metavar="SOURCE", help=model)
    runtime = "takes the place of the manifest's runtime: avx, avx2, avx512, cuda, or nothing for any"
    command.add_argument("--manifest-runtime", metavar="RUNTIME", help=runtime)


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


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a file is wanted")
    return Path(text).expanduser().absolute()


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MOST_WORKERS}")
    return int(text)

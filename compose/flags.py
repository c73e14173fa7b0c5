"""What can be typed behind `tropilla`: flags that are settings, and how each is read and refused.

`tropilla health` begins anew every few seconds, so this imports nothing of what it does not need.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from tropilla.common.environment import PREFIX, overruled
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose.client import words

USAGE_STATUS, FAILURE_STATUS = 2, 1
OFF = "off"

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


def add_flower_port(command: argparse.ArgumentParser) -> None:
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


def complain(sentence: str, status: int) -> int:
    """Says it on stderr; answers the status."""
    print(f"tropilla: {words.harmless(sentence)}", file=sys.stderr)
    return status

"""What can be typed behind `tropilla up` and `tropilla worker`: models, their parts, a manifest, how many workers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tropilla.common.errors import ConfigurationError
from tropilla.compose import prepare, program
from tropilla.compose.flags import add_settings
from tropilla.workers.adapters import parse_adapter

MOST_WORKERS = 64


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


def add_manifest(command: argparse.ArgumentParser) -> None:
    """aikit's build arguments have the same names without the prefix."""
    add_settings(command, "--manifest")
    model = "a source that takes the place of all models of the manifest"
    command.add_argument("--manifest-model", default="", metavar="SOURCE", help=model)
    runtime = "takes the place of the manifest's runtime: avx, avx2, avx512, cuda, or nothing for any"
    command.add_argument("--manifest-runtime", metavar="RUNTIME", help=runtime)


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

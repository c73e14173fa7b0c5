"""Where a model's files come from: every way to write it, as one of five values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tropilla.common.errors import RequestError


class InvalidSource(RequestError):
    """What was given as a source is none, in one sentence."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file at an http or https address, as it was given but for the fragment."""

    url: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository (`owner/name`) of the Hugging Face hub. `path` has `/` between its parts."""

    repo: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository of the hub, of which one quantization is wanted, or a file by its name; "" is whichever is usual."""

    repo: str
    revision: str = "main"
    quant: str = ""


@dataclass(frozen=True, slots=True)
class RegistryModel:
    """A model of a registry that speaks Ollama's protocol. `insecure`: over plain http."""

    host: str
    namespace: str
    model: str
    tag: str
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the store's machine, as the path was given."""

    path: str


Source = WebFile | HubFile | HubRepo | RegistryModel | LocalFile
BareRepo = Literal["hf", "ollama"]


def parse_source(text: str, *, bare_repo: BareRepo = "hf") -> Source:
    """Raises `InvalidSource`. `bare_repo` is what `owner/name` without anything before it means."""
    raise NotImplementedError


def suggested_name(source: Source) -> str:
    """What a model may be called that nobody named, in the grammar of `names.MODEL_NAME`."""
    raise NotImplementedError


def stored_name(source: Source) -> str:
    """What its file is called. Raises `InvalidSource` for what is no file name."""
    raise NotImplementedError


def public(source: Source) -> str:
    """Where it came from, for everybody to see: without tokens, and without paths of this machine."""
    raise NotImplementedError


def parse_handle(text: str) -> Source:
    """What cortex and Jan take: an address, `author:repo:file`, or `name:branch` of cortex's own hub. Raises `InvalidSource`."""
    raise NotImplementedError

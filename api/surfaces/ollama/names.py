"""Ollama's model names: `[scheme://]host[:port]/namespace/model:tag` and which model of the catalogue they mean.

Only the model is needed; the rest has defaults (sheet, section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tropilla.api.models import default_model, missing
from tropilla.api.surface import Surroundings
from tropilla.common.catalogue import Capability, Catalogue, Model
from tropilla.common.errors import InvalidField, UnknownModel

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

#: The parts' grammars. A dot is fine everywhere but in a namespace, a colon in a host only.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")

_LOCAL, _CLOUD = ":local", "cloud"


@dataclass(frozen=True, slots=True)
class Name:
    """A name with all its parts."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def valid(self) -> bool:
        return bool(
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _PART.fullmatch(self.model)
            and _PART.fullmatch(self.tag)
        )

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def display(self) -> str:
        """Without what is default, but always with the tag."""
        own = f"{self.model}:{self.tag}"
        if self.host.lower() != DEFAULT_HOST:
            return self.full
        return own if self.namespace.lower() == DEFAULT_NAMESPACE else f"{self.namespace}/{own}"

    @property
    def stored(self) -> str:
        """As the cluster keeps it: as displayed, but a host's port stands behind a dash, for one colon is the tag's."""
        return replace(self, host=self.host.replace(":", "-")).display

    @property
    def remote(self) -> bool:
        """A model that runs in Ollama's cloud: never here."""
        tag = self.tag.lower()
        return tag == _CLOUD or tag.endswith(f"-{_CLOUD}")


def parse_name(text: str) -> Name:
    """Splits from the right; says nothing about validity. A part that is promised (`mm:`) and empty is kept empty."""
    rest = text.strip().partition("://")[2] or text.strip()
    before, colon, after = rest.rpartition(":")
    # A colon before the last slash belongs to the host's port.
    rest, tag = (before, after) if colon and "/" not in after else (rest, DEFAULT_TAG)
    rest, slash, model = rest.rpartition("/")
    if not slash:
        return Name(DEFAULT_HOST, DEFAULT_NAMESPACE, model, tag)
    host, slash, namespace = rest.rpartition("/")
    return Name(host if slash else DEFAULT_HOST, namespace, model, tag)


def name_of(model: Model) -> Name:
    """The catalogue's name as Ollama writes it. An operator's name that Ollama's grammar forbids is kept in one part."""
    return _written(model.name)


def _written(stored: str) -> Name:
    name = parse_name(stored)
    return name if name.valid else Name(DEFAULT_HOST, DEFAULT_NAMESPACE, stored, DEFAULT_TAG)


def resolve(surroundings: Surroundings, typed: str, able: Capability = "completion") -> Model:
    """The model that `typed` means, in whatever case. Raises `InvalidField` for no name, `UnknownModel` and
    `ModelUnavailable`.
    """
    name = _local_name(typed)
    found = surroundings.catalogue.find(typed) or _find(surroundings, name, typed)
    if found is not None:
        return found
    if not name.valid:
        raise InvalidField("invalid model name", param="model")
    error = missing(surroundings.catalogue, typed, name.display)
    if isinstance(error, UnknownModel) and surroundings.settings.unknown_model == "default":
        return default_model(surroundings, able)
    raise error


def _local_name(typed: str) -> Name:
    """The name without a `:local` behind it, which only says that a model of the cloud is not meant."""
    text = typed.strip()
    if not text.lower().endswith(_LOCAL):
        return parse_name(text)
    name = parse_name(text[: -len(_LOCAL)])
    if name.remote:
        raise InvalidField(f'use either :local or :cloud, not both: "{typed}"', param="model")
    return name


def _find(surroundings: Surroundings, name: Name, typed: str) -> Model | None:
    wanted = _meant(name, typed)
    return next((model for model in surroundings.catalogue.models if wanted & _spellings(model.name)), None)


def known_as(catalogue: Catalogue, typed: str) -> str | None:
    """As which name the cluster knows what `typed` means, though it may not be able to answer; None for an unknown one."""
    every = tuple(_every_name(catalogue))
    if typed in every:
        return typed
    wanted = _meant(parse_name(typed), typed)
    return next((stored for stored in every if wanted & _spellings(stored)), None)


def _every_name(catalogue: Catalogue) -> Iterator[str]:
    yield from (model.name for model in catalogue.models)
    yield from (definition.model.name for definition in catalogue.definitions)
    yield from catalogue.troubles


def _meant(name: Name, typed: str) -> set[str]:
    return {name.full.lower(), name.stored.lower(), typed.strip().lower()}


def _spellings(stored: str) -> set[str]:
    """What `/api/tags` shows is among them, so that every model listed can be asked."""
    name = _written(stored)
    return {name.full.lower(), name.display.lower()}

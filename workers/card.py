"""Which model a worker is to pin, and what it tells of it: a setting and a GGUF header -> the catalogue's `Model`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tropilla.common import names
from tropilla.common.catalogue import Capability, Model
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header
from tropilla.common.recipes import File
from tropilla.workers import pocket
from tropilla.workers.prompt import ChatTemplate

log = logging.getLogger(__name__)

#: Architectures that read a text and write none.
ENCODERS = frozenset(
    {
        "bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert", "eurobert",
        "t5encoder", "gemma-embedding",
    }
)  # fmt: skip


def named_model(setting: str) -> tuple[str, Path]:
    """`NAME=PATH` -> both; empty is the built-in model. Raises `ConfigurationError`."""
    if not setting:
        return "pocket", pocket.path()
    name, separator, path = setting.partition("=")
    if not separator or not path:
        raise ConfigurationError(f"{setting!r} is not NAME=PATH")
    if not names.MODEL_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot be a model name: letters, digits, '.', '_', '-', '/' and one ':'")
    return name, Path(path).expanduser()


def digest_of(path: Path) -> str:
    """64 hex digits. Reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(name: str, path: Path, header: Header, context: int, adapters: Iterable[str] = ()) -> Model:
    """What the catalogue says of the model. Reads the whole file once, for its digest."""
    return Model(
        name=name,
        digest=digest_of(path),
        size_bytes=header.size_bytes,
        family=header.architecture,
        parameter_count=header.parameter_count,
        quantization=header.quantization,
        context_length=context,
        trained_context=header.of_architecture("context_length"),
        embedding_length=header.of_architecture("embedding_length"),
        vocabulary=header.vocabulary,
        modified_at=path.stat().st_mtime,
        capabilities=capabilities_of(header),
        adapters=tuple(sorted(adapters)),
    )


def seeing(model: Model, projector: File) -> Model:
    """The model with what reads images for it."""
    return replace(model, projector=projector.digest, capabilities=(*model.capabilities, "vision"))


def capabilities_of(header: Header) -> tuple[Capability, ...]:
    """What the file says that the model can do. Tools and thinking are the chat template's to know."""
    if header.architecture in ENCODERS or f"{header.architecture}.pooling_type" in header.values:
        return ("embedding",)
    template = ChatTemplate(header.chat_template, named=header.chat_templates)
    facts: tuple[tuple[Capability, bool], ...] = (
        ("insert", header.fills_in),
        ("tools", template.knows_tools),
        ("thinking", template.thinks),
    )
    return ("completion", *(capability for capability, there in facts if there))

"""A model's files -> what the catalogue says of it, and what its header says in full."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Capability, Model
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import LocalTemplates
from tropilla.common.gguf import read_header
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.header import Header
from tropilla.common.recipes import BARE, File, Overlay, Recipe
from tropilla.common.shards import siblings
from tropilla.workers.card import capabilities_of
from tropilla.workers.store.refusals import Unfit
from tropilla.workers.store.soundness import check_model, check_projector, in_order

#: What a request may use at the most where nobody says more, in tokens: as workers have it (memory.plan).
USUAL_CONTEXT = 4096
#: Not told among the keys: they stand elsewhere.
_ELSEWHERE = frozenset({"general.name", "tokenizer.chat_template"})


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files in llama.cpp's order, and the header of the first, with the tensors of all."""

    files: tuple[File, ...]
    header: Header


def read_weights(files: Sequence[File], blobs: Blobs) -> Weights:
    """Raises `Unfit` for what is no model, or not one that is served here."""
    named = [(file.name, read_file(file, blobs)) for file in files]
    order = in_order(named)
    headers = [named[place][1] for place in order]
    check_model(named[order[0]][0], headers[0])
    whole = replace(
        headers[0],
        parameter_count=sum(header.parameter_count for header in headers),
        size_bytes=sum(header.size_bytes for header in headers),
        tensors={name: shape for header in headers for name, shape in header.tensors.items()},
        tensor_types={name: kind for header in headers for name, kind in header.tensor_types.items()},
    )
    return Weights(_called(tuple(files[place] for place in order)), whole)


def _called(files: tuple[File, ...]) -> tuple[File, ...]:
    """llama.cpp finds shards by their names; those that came under other ones get names of that kind."""
    named = tuple(file.name for file in files)
    if len(files) == 1 or named == siblings(named[0]):
        return files
    stem = files[0].name.removesuffix(".gguf")
    shards = siblings(f"{stem}-00001-of-{len(files):05d}.gguf")
    return tuple(replace(file, name=name) for file, name in zip(files, shards, strict=True))


def read_file(file: File, blobs: Blobs) -> Header:
    """The header of one file in the store. Raises `Unfit`."""
    path = blobs.path(file.digest)
    if not path.is_file():
        raise Unfit("file_missing", f"{file.name} is not in the store any more")
    try:
        return read_header(path, called=file.name)
    except ConfigurationError as error:
        raise Unfit("not_gguf", error.message) from error


def read_projector(file: File, model: Header, blobs: Blobs) -> Header:
    """The header of what reads images for the model. Raises `Unfit` for what cannot."""
    header = read_file(file, blobs)
    check_projector(file.name, header, model)
    return header


def describe(
    name: str, header: Header, recipe: Recipe, *, context: int, modified_at: float, overlay: Overlay = BARE
) -> Model:
    """What is told of a model. `context` is what a worker gives a request where the recipe says nothing, 0: the usual."""
    trained = header.of_architecture("context_length")
    # One that is always there is nobody's to ask for.
    always = overlay.defaults.get("adapter")
    adapters = sorted(called for called, _ in recipe.adapters if called != always)
    return Model(
        name=name,
        digest=recipe.files[0].digest,
        size_bytes=recipe.size_bytes + (recipe.projector.size_bytes if recipe.projector else 0),
        family=header.architecture,
        parameter_count=header.parameter_count,
        quantization=header.quantization,
        context_length=recipe.context or context or min(trained, USUAL_CONTEXT),
        trained_context=trained,
        embedding_length=header.of_architecture("embedding_length"),
        vocabulary=header.vocabulary,
        modified_at=modified_at,
        capabilities=capabilities(header, overlay, sees=recipe.projector is not None),
        adapters=tuple(adapters),
        pinned_as=recipe.pin,
        overlay=overlay,
        projector=recipe.projector.digest if recipe.projector else "",
    )


def capabilities(header: Header, overlay: Overlay, *, sees: bool = False) -> tuple[Capability, ...]:
    """What the file can do with the template that is laid over it, if one is (contracts, Ollama 9.2).

    A model sees by a projector (`sees`). A file that has its eyes in itself, as Ollama's own engine reads them, is blind to
    llama.cpp.
    """
    found = capabilities_of(header)
    if sees:
        found = (*found, "vision")
    return templated(found, overlay)


def templated(found: tuple[Capability, ...], overlay: Overlay) -> tuple[Capability, ...]:
    """The template alone knows of tools and thinking; what stands between two texts can be asked for by it, too."""
    template = overlay.template
    if "embedding" in found or not template:
        return found
    known: set[Capability] = set()
    if isinstance(template, LocalTemplates):
        if not (template.chat or template.chat_message or template.function):
            return found
        known = {"tools"} if template.function else set()
    else:
        mentions = OllamaTemplate(template).mentions
        words: Mapping[str, Capability] = {"tools": "tools", "thinking": "thinking", "suffix": "insert"}
        known = {capability for word, capability in words.items() if word in mentions}
    kept = [each for each in found if each not in ("tools", "thinking")]
    return (*kept, *sorted(known - set(kept)))


def roomy(recipe: Recipe, overlay: Overlay, header: Header, context: int) -> Recipe:
    """The recipe with as much context as the overlay's own; a model that wants more than usual is loaded by itself.
    `context` as for `describe`.
    """
    wanted, trained = overlay.defaults.get("context"), header.of_architecture("context_length")
    usual = recipe.context or context or min(trained, USUAL_CONTEXT)
    return replace(recipe, context=min(wanted, trained)) if isinstance(wanted, int) and wanted > usual else recipe


def information(header: Header) -> bytes:
    """JSON {model_info: every key with its scalar, an array as null; template: the file's own, Jinja; tensors: [{name,
    type, shape}]}, as Ollama tells it.
    """
    info: dict[str, Any] = {key: _shown(value) for key, value in header.values.items() if key not in _ELSEWHERE}
    info |= dict.fromkeys(header.arrays)
    info["general.parameter_count"] = header.parameter_count
    tensors = [
        {"name": name, "type": header.tensor_types.get(name, ""), "shape": list(shape)}
        for name, shape in header.tensors.items()
    ]
    told = {"model_info": info, "template": header.chat_template, "tensors": tensors}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def _shown(value: Any) -> Any:
    """JSON knows no infinity, and none that is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""A manifest and the files that it named -> what the cluster is to have: definitions, and troubles for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tropilla.common.catalogue import Capability, Definition, Model, Trouble
from tropilla.common.manifest.manifest import Entry, Loading, Manifest
from tropilla.common.recipes import BARE, File, Overlay, Recipe

#: A recipe under its pin, given the name of the first model that has it; equal recipes get one pin.
Pinned = Callable[[Recipe, str], Recipe]


@dataclass(frozen=True, slots=True)
class Shelved:
    """A file of the manifest that is here: all its shards, the first first, what its header says (under any name), where it
    came from, without secrets, and what that place lays over it (a registry of Ollama's: template, system text) and has to
    read images for it.
    """

    model: Model
    files: tuple[File, ...]
    source: str = ""
    overlay: Overlay = BARE
    projector: File | None = None


#: The file of a stored name, if it reads images for the model; or why it does not.
Seeing = Callable[[str, Shelved], File | Trouble]


def nobody_sees(projector: str, _: Shelved) -> File | Trouble:
    """Where no such file is here."""
    return Trouble("file_missing", f"the file {projector} is not there")


@dataclass(frozen=True)
class Plan:
    """Names stand in one of the two."""

    definitions: tuple[Definition, ...] = ()
    troubles: Mapping[str, Trouble] = field(default_factory=dict)


def plan(
    manifest: Manifest, shelved: Mapping[str, Shelved | Trouble], pinned: Pinned, seeing: Seeing = nobody_sees
) -> Plan:
    """shelved: by stored name, each model's file or why it is not here."""
    definitions: dict[str, Definition] = {}
    troubles: dict[str, Trouble] = {}
    for entry in manifest.entries:
        if entry.alias:
            continue
        found = entry.trouble or shelved.get(entry.stored_name)
        match found:
            case Shelved():
                projector = seeing(entry.projector, found) if entry.projector else found.projector
                if isinstance(projector, Trouble):
                    troubles[entry.name] = projector
                else:
                    definitions[entry.name] = _definition(entry, found, projector, pinned, debug=manifest.debug)
            case Trouble():
                troubles[entry.name] = found
            case _:
                troubles[entry.name] = Trouble("file_missing", f"the file {entry.stored_name} is not there")
    for entry in manifest.entries:
        if entry.alias in definitions:
            definitions[entry.name] = _alias(entry, definitions[entry.alias])
        elif entry.alias:
            troubles[entry.name] = troubles[entry.alias]
    return Plan(tuple(definitions.values()), troubles)


def _definition(entry: Entry, shelved: Shelved, projector: File | None, pinned: Pinned, *, debug: bool) -> Definition:
    recipe = pinned(replace(_recipe(entry.loading, shelved, debug=debug), projector=projector), entry.name)
    model = replace(
        shelved.model,
        name=entry.name,
        context_length=recipe.context or shelved.model.context_length,
        capabilities=("embedding",) if entry.loading.embeddings else shelved.model.capabilities,
        pinned_as=recipe.pin,
        overlay=_laid_over(shelved.overlay, entry.overlay),
    )
    model = model if projector is None else _seeing(model, projector)
    return Definition(model, recipe, shelved.source, preload=True, keeps=entry.keeps, hidden=entry.hidden)


def _seeing(model: Model, projector: File) -> Model:
    """The facts of the model with what reads images for it."""
    able: tuple[Capability, ...] = (*model.capabilities, "vision")
    size = model.size_bytes + projector.size_bytes
    return replace(model, projector=projector.digest, size_bytes=size, capabilities=able)


def _recipe(loading: Loading, shelved: Shelved, *, debug: bool) -> Recipe:
    return Recipe(
        pin="",
        files=shelved.files,
        context=shelved.model.trained_context if loading.context < 0 else loading.context,
        threads=loading.threads,
        gpu_layers=loading.gpu_layers,
        cache_type=loading.cache_type,
        flavours=loading.flavours,
        instruction_set=loading.instruction_set,
        debug=debug,
    )


def _laid_over(below: Overlay, above: Overlay) -> Overlay:
    """What the manifest says goes before what the file's place says."""
    return replace(
        below,
        template=above.template or below.template,
        parameters=tuple({**below.defaults, **above.defaults}.items()),
        grammar=above.grammar or below.grammar,
        polish=above.polish,
    )


def _alias(entry: Entry, of: Definition) -> Definition:
    return replace(
        of,
        model=replace(of.model, name=entry.name),
        keeps=entry.keeps or of.keeps,
        hidden=entry.hidden,
    )

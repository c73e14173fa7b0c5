"""What a worker is about to pin: a definition -> its files, the settings it is loaded with, and what of it fits here.

A recipe's numbers win over the worker's settings; where it has none, those hold. Everything that can be refused before
llama.cpp is let near the files is refused here, with the trouble's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tropilla.common.catalogue import Definition, Flavour, Model
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header, read_header
from tropilla.common.recipes import File, Recipe
from tropilla.common.settings import Settings
from tropilla.workers.adapters import named_adapters, read_adapters
from tropilla.workers.card import describe, digest_of, named_model, seeing
from tropilla.workers.engine import size_of
from tropilla.workers.files import Files
from tropilla.workers.llama.model import Size
from tropilla.workers.store.architectures import PLACED
from tropilla.workers.store.soundness import projector_type
from tropilla.workers.trouble import blamed


@dataclass(frozen=True, slots=True)
class Charge:
    """`settings` are the worker's with the recipe's numbers in them."""

    definition: Definition
    settings: Settings
    path: Path
    header: Header
    size: Size
    adapters: Mapping[str, Path]
    #: What reads images.
    projector: Path | None = None

    @property
    def flavour(self) -> Flavour:
        return "gpu" if self.settings.flavour == "gpu" else "cpu"

    @property
    def model(self) -> Model:
        """What this worker says of it: with the context that there is room for."""
        facts = pinned(self.definition)
        return replace(facts, context_length=self.size.context, adapters=tuple(sorted(self.adapters)))

    @property
    def gpu_bytes(self) -> int:
        """How much of it a GPU takes: the share of its layers, the output being one more."""
        if self.flavour != "gpu":
            return 0
        layers = self.header.of_architecture("block_count") + 1
        wanted = self.settings.gpu_layers
        there = layers if wanted < 0 else min(wanted, layers)
        return self.size.resident_bytes * there // layers


def own_definition(settings: Settings) -> Definition:
    """The model that the settings name, as something to be loaded. Its files are read once, for their digests.

    Raises `ConfigurationError` with one sentence when it cannot be served here; that is found out first.
    """
    name, path = named_model(settings.model)
    path = path.absolute()
    header = read_header(path)
    adapters = named_adapters(settings.adapters)
    headers = read_adapters(adapters, name=name, model=header)
    projector = Path(settings.projector).expanduser().absolute() if settings.projector else None
    eyes = read_projector(projector) if projector else None
    size = size_of(settings, header, gpu=settings.flavour == "gpu", adapters=headers, projector=eyes)
    model = describe(name, path, header, size.context, adapters)
    file = File(model.digest, model.size_bytes, path.name, str(path))
    recipe = Recipe(name, (file,), adapters=tuple((called, _file(each)) for called, each in adapters.items()))
    if projector is not None:
        eye = _file(projector)
        model, recipe = seeing(model, eye), replace(recipe, projector=eye)
    return Definition(model, recipe, source=f"file:{path.name}", preload=True)


def is_still_there(own: Definition) -> bool:
    """The file of a worker's own model is the one that was described."""
    try:
        found = Path(own.recipe.files[0].path).stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime) == (own.model.size_bytes, own.model.modified_at)


def read_projector(path: Path) -> Header:
    """The header of a file that reads images. Raises `ConfigurationError` for any other."""
    header = read_header(path)
    if header.architecture != "clip" or not header.values.get("clip.has_vision_encoder"):
        raise ConfigurationError(f"{path} is no projector (mmproj) that reads images")
    kind = projector_type(header)
    if kind in PLACED:
        raise ConfigurationError(f"{path} cannot be used: {PLACED[kind]} is known only in a prompt ({kind})")
    return header


def _file(path: Path) -> File:
    return File(digest_of(path), path.stat().st_size, path.name, str(path))


def pinned(definition: Definition) -> Model:
    """The definition's model, under the recipe's pin."""
    pin, model = definition.recipe.pin, definition.model
    return replace(model, pinned_as="" if pin == model.name else pin)


def charge(definition: Definition, settings: Settings, files: Files) -> Charge:
    """What loading it takes; missing files are fetched. Raises `CannotLoad`."""
    recipe, name = definition.recipe, definition.model.name
    path = files.first(recipe.files)
    adapters = {called: files.path(file) for called, file in recipe.adapters}
    projector = files.path(recipe.projector) if recipe.projector else None
    with blamed("not_gguf"):
        header = _whole(read_header(path), definition)
        eyes = read_projector(projector) if projector else None
    with blamed("load_failed"):
        headers = read_adapters(adapters, name=name, model=header)
        numbers = configured(settings, recipe)
        size = size_of(numbers, header, gpu=settings.flavour == "gpu", adapters=headers, projector=eyes)
    return Charge(definition, numbers, path, header, size, adapters, projector)


def configured(settings: Settings, recipe: Recipe) -> Settings:
    """The settings under which the recipe is loaded."""
    return replace(
        settings,
        context=recipe.context or settings.context,
        slots=recipe.slots or settings.slots,
        threads=recipe.threads or settings.threads,
        gpu_layers=settings.gpu_layers if recipe.gpu_layers < 0 else recipe.gpu_layers,
        cache_type=recipe.cache_type or settings.cache_type,
    )


def _whole(header: Header, definition: Definition) -> Header:
    """The first of several files counts only its own tensors; all of them are loaded."""
    if len(definition.recipe.files) == 1:
        return header
    size, parameters = definition.recipe.size_bytes, definition.model.parameter_count
    return replace(header, size_bytes=size, parameter_count=parameters or header.parameter_count)

"""`create`: a name for an overlay over another model, or over files that were uploaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath, PureWindowsPath

from tropilla.common.blobs import digest_of
from tropilla.common.catalogue import Definition, Model
from tropilla.common.errands import Create, Done, Progress, Word
from tropilla.common.header import Header
from tropilla.common.recipes import BARE, File, Overlay, Recipe
from tropilla.workers.adapters import misfit
from tropilla.workers.store import facts
from tropilla.workers.store.architectures import PROJECTOR
from tropilla.workers.store.overlaying import check_quantization, layers, overlaid
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]

#: What the one adapter is called that `create` lays over a model.
_ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Ground:
    """What is laid over: a recipe, what its header says where that can be read here, and its present overlay."""

    recipe: Recipe
    header: Header | None
    overlay: Overlay = BARE
    model: Model | None = None


def create(asked: Create, stock: Stock, say: Say) -> Done:
    """Raises `Refusal`."""
    name = stock.name_for(asked.name, "model")
    if bool(asked.base) == bool(asked.files):
        both = "'from' and 'files' exclude each other" if asked.base else "neither 'from' or 'files' was specified"
        raise Refusal("invalid", both, "from")
    with stock.changing:
        say(Progress("reading model metadata" if asked.base else "parsing GGUF"))
        ground = _of_base(asked, stock) if asked.base else _of_files(asked, stock)
        ground = _adapted(asked, ground, stock)
        overlay = overlaid(ground.overlay, asked)
        check_quantization(asked.quantization, (ground.model or _read(ground)).quantization)
        roomy = facts.roomy(ground.recipe, overlay, ground.header, stock.context) if ground.header else ground.recipe
        recipe = stock.pinned(roomy, name)
        inherited = set(layers(ground.overlay))
        for kind, digest in layers(overlay):
            there = (kind, digest) in inherited
            say(Progress(f"using already created layer {digest}" if there else f"creating {kind} layer"))
        for file in recipe.files:
            say(Progress(f"using already created layer sha256:{file.digest}"))
        say(Progress("writing manifest"))
        told = stock.tell(name, recipe, overlay, ground.header, ground.model)
        stock.put(Definition(replace(told, parent=ground.model.name if ground.model else ""), recipe))
    if ground.header is not None:
        stock.inform(recipe, ground.header)
    return Done(name)


def _of_base(asked: Create, stock: Stock) -> Ground:
    base = stock.find(asked.base)
    if base is None:
        raise Refusal("unknown", f"model '{asked.base}' not found", "from")
    try:
        return Ground(base.recipe, stock.header(base.recipe), base.model.overlay, base.model)
    except Unfit as error:
        raise Refusal("failed", error.message, "from") from error


def _of_files(asked: Create, stock: Stock) -> Ground:
    files, projector = [], None
    for file in _uploaded(asked.files, "files", stock):
        header = _header(file, "files", stock)
        if header.architecture == PROJECTOR:
            if projector is not None:
                both = f"{projector.name} and {file.name} both read images: a model has one projector"
                raise Refusal("invalid", both, "files")
            projector = file
        else:
            files.append(file)
    if not files:
        raise Refusal("invalid", "the files hold no model", "files")
    try:
        weights = facts.read_weights(files, stock.blobs)
        if projector is not None:
            facts.read_projector(projector, weights.header, stock.blobs)
    except Unfit as error:
        raise Refusal("invalid", error.message, "files") from error
    return Ground(Recipe("", weights.files, projector=projector), weights.header)


def _uploaded(pairs: Iterable[tuple[str, str]], field: str, stock: Stock) -> list[File]:
    found = []
    for name, text in pairs:
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
            raise Refusal("invalid", "file path must be relative", field)
        digest = digest_of(text)
        if digest is None:
            raise Refusal("invalid", "invalid digest format", field)
        path = stock.blobs.path(digest)
        if not path.is_file():
            raise Refusal("unknown", f"sha256:{digest} ({name}) was not uploaded", field)
        found.append(File(digest, path.stat().st_size, PureWindowsPath(name).name))
    return found


def _header(file: File, field: str, stock: Stock) -> Header:
    try:
        return facts.read_file(file, stock.blobs)
    except Unfit as error:
        raise Refusal("invalid", f"supplied file was not in GGUF format: {error.message}", field) from error


def _adapted(asked: Create, ground: Ground, stock: Stock) -> Ground:
    """With the adapter that the model always has."""
    if not asked.adapters:
        return ground
    if len(asked.adapters) > 1:
        raise Refusal("invalid", "only one adapter is currently supported", "adapters")
    (file,) = _uploaded(asked.adapters, "adapters", stock)
    adapter = _header(file, "adapters", stock)
    if wrong := misfit(adapter, _read(ground)):
        raise Refusal("invalid", f"{file.name} cannot be an adapter of this model: {wrong}", "adapters")
    overlay = replace(ground.overlay, parameters=(*ground.overlay.parameters, ("adapter", _ADAPTER)))
    # Not the base's: a model has one adapter that is always there.
    return replace(ground, recipe=replace(ground.recipe, adapters=((_ADAPTER, file),)), overlay=overlay)


def _read(ground: Ground) -> Header:
    """What must be read of the files. Raises `Refusal` where they are on another machine."""
    if ground.header is None:
        assert ground.model is not None
        raise Refusal("conflict", f"the files of {ground.model.name} are on a worker's own machine", "from")
    return ground.header

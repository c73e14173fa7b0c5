"""`configure`: the same files under other numbers, or with something else laid over them."""

from __future__ import annotations

from dataclasses import replace

from tropilla.common.errands import Configure, Done
from tropilla.common.recipes import INSTRUCTION_SETS, Overlay, Recipe
from tropilla.common.settings import CACHE_TYPES
from tropilla.workers.store.importing import Bring, check_seeing
from tropilla.workers.store.overlaying import check_template
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock

#: What a recipe may say, from and to; 0 (of `gpu_layers` -1) leaves it to the worker.
BOUNDS = {"context": (0, 1 << 22), "slots": (0, 256), "threads": (0, 1024), "gpu_layers": (-1, 10_000)}


def configure(asked: Configure, stock: Stock, bring: Bring) -> Done:
    """What has other numbers, or another projector, is another thing to load: workers that hold the old one let go of it
    once no name stands for it any more. Raises `Refusal` and `Stopped`.
    """
    if stock.find(asked.name) is None:
        raise Refusal("unknown", f"model '{asked.name}' not found", "name")
    projector = bring.file(bring.place(asked.projector), "projector") if asked.projector else None
    with stock.changing:
        found = stock.find(asked.name)
        if found is None:
            raise Refusal("unknown", f"model '{asked.name}' not found", "name")
        model, recipe = found.model, found.recipe
        overlay = _checked(asked.overlay) if asked.overlay is not None else model.overlay
        try:
            header = stock.header(recipe)
        except Unfit as error:
            raise Refusal("failed", error.message, "name") from error
        if asked.recipe is not None or asked.projector is not None:
            if header is None:
                text = f"{model.name} is what a worker was started with: that worker's settings decide"
                raise Refusal("conflict", text, "name")
            check_seeing(projector, header, stock)
            if asked.recipe is not None:
                recipe = _numbers(asked.recipe, recipe, model.trained_context)
            if asked.projector is not None:
                recipe = replace(recipe, projector=projector)
            recipe = stock.pinned(recipe, model.name)
            if projector is not None:
                stock.inform(recipe, header)
        if (recipe, overlay) != (found.recipe, model.overlay):
            told = stock.tell(model.name, recipe, overlay, header, model)
            stock.put(replace(found, model=told, recipe=recipe))
    return Done(model.name)


def _numbers(asked: Recipe, present: Recipe, trained: int) -> Recipe:
    """The present files, loaded as it is asked. Raises `Refusal`."""
    for field, (low, high) in BOUNDS.items():
        if not low <= getattr(asked, field) <= high:
            raise Refusal("invalid", f"{field} must be from {low} to {high}", field)
    if trained and asked.context > trained:
        raise Refusal("invalid", f"context must be at most {trained}, which the model was trained for", "context")
    if asked.cache_type and asked.cache_type not in CACHE_TYPES:
        raise Refusal("invalid", f"cache_type must be one of {', '.join(CACHE_TYPES)}", "cache_type")
    if asked.instruction_set and asked.instruction_set not in INSTRUCTION_SETS:
        known = ", ".join(INSTRUCTION_SETS)
        raise Refusal("invalid", f"instruction_set must be one of {known}", "instruction_set")
    return replace(asked, pin="", files=present.files, adapters=present.adapters, projector=present.projector)


def _checked(overlay: Overlay) -> Overlay:
    if isinstance(overlay.template, str) and overlay.template:
        check_template(overlay.template)
    return overlay

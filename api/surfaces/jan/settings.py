"""A model's settings as Jan and cortex write them -> what a worker loads otherwise, and what is laid over it.

A number has the bounds of Jan's schema below, and above whatever is more: the schema's or the model's own. With the setting
`jan_strict` they are the schema's alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema
from tropilla.api.fields import Text
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.jan.coercion import LooseBoolean, LooseInteger, LooseNumber
from tropilla.api.surfaces.openai.cards import MOST_CONTEXT, MOST_LAYERS, loading
from tropilla.api.surfaces.openai.prefixes import Prefixes, prefixes, split
from tropilla.api.surfaces.openai.stops import Stops
from tropilla.common.catalogue import Definition, Model
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.recipes import Overlay, Parameter, Recipe
from tropilla.common.settings import CACHE_TYPES, Settings

#: Of our settings: what a worker can be given at the most.
_MOST_SLOTS, _MOST_THREADS = 256, 1024
#: Those that say what is so anyway: prompts of several requests are computed together, and prefixes are kept.
_AS_IT_IS = ("cont_batching", "caching_enabled", "flash_attn", "embedding", "stream")
#: Files that are not the model's own.
_REFUSED = ("model_path", "llama_model_path")


class SettingsSchema(Schema):
    """Bounds are `BOUNDS`: they are the model's."""

    ctx_len = LooseInteger()
    ngl = LooseInteger()
    n_parallel = LooseInteger()
    cpu_threads = LooseInteger()
    cache_type = Text(CACHE_TYPES)
    cont_batching = LooseBoolean()
    caching_enabled = LooseBoolean()
    flash_attn = LooseBoolean()
    embedding = LooseBoolean()
    stream = LooseBoolean()
    pre_prompt = Text()
    prompt_template = Text()
    system_prompt = Text()
    user_prompt = Text()
    ai_prompt = Text()
    temperature = LooseNumber()
    token_limit = LooseInteger()
    max_tokens = LooseInteger()
    top_k = LooseInteger()
    top_p = LooseNumber()
    min_p = LooseNumber()
    frequency_penalty = LooseNumber()
    presence_penalty = LooseNumber()
    stop = Stops(64)
    model_path = Text()
    llama_model_path = Text()
    mmproj = Text()


#: In the order in which they are declared.
NAMES = tuple(SettingsSchema().fields)


@dataclass(frozen=True, slots=True)
class _Bound:
    """-1 is "as much as there is", where that is said."""

    low: float
    high: float
    #: What the model itself can do, where that may be more.
    own: Callable[[Model], float] = lambda model: 0
    all: bool = False


BOUNDS: Mapping[str, _Bound] = {
    "ctx_len": _Bound(128, MOST_CONTEXT, lambda model: model.trained_context, all=True),
    # No model has more layers than that; what is more means all of them.
    "ngl": _Bound(0, MOST_LAYERS, lambda model: 1000, all=True),
    "n_parallel": _Bound(1, 10, lambda model: _MOST_SLOTS),
    "cpu_threads": _Bound(1, _MOST_THREADS),
    "temperature": _Bound(0, 2),
    "token_limit": _Bound(1, MOST_CONTEXT, lambda model: model.context_length, all=True),
    "max_tokens": _Bound(1, MOST_CONTEXT, lambda model: model.context_length, all=True),
    "top_k": _Bound(0, 100, lambda model: model.vocabulary),
    "top_p": _Bound(0, 1),
    "min_p": _Bound(0, 1),
    "frequency_penalty": _Bound(-2, 2),
    "presence_penalty": _Bound(-2, 2),
}
#: Settings that are defaults of requests, by the engine's names.
_PARAMETERS: Mapping[str, str] = {
    "temperature": "temperature",
    "token_limit": "max_tokens",
    "max_tokens": "max_tokens",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop": "stop",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be configured; None stays as it is. `projector` is the file that is to read images for the model, "" that
    none is. `warning` is what a person should hear of it.
    """

    recipe: Recipe | None = None
    overlay: Overlay | None = None
    projector: str | None = None
    warning: str = ""

    @property
    def nothing(self) -> bool:
        return self.recipe is None and self.overlay is None and self.projector is None


def change(surroundings: Surroundings, definition: Definition, fields: Mapping[str, Any]) -> Change:
    """What the checked settings change about a model. Raises `InvalidField`."""
    model = definition.model
    for name in _REFUSED:
        if fields.get(name):
            raise UnsupportedField(
                f"Unsupported parameter: '{name}': a model is loaded from its own files.", param=name
            )
    for name, bound in BOUNDS.items():
        if name in fields:
            _check(name, fields[name], bound, model, surroundings.settings)
    asked, warning = _context(fields, model)
    recipe, overlay = _recipe(surroundings, definition, asked), _overlay(model.overlay, asked)
    mmproj = fields.get("mmproj")
    return Change(
        recipe if recipe != definition.recipe else None,
        overlay if overlay != model.overlay else None,
        # Which file it is by now, only the store can see.
        mmproj if mmproj or model.projector else None,
        warning,
    )


def _check(name: str, value: float, bound: _Bound, model: Model, settings: Settings) -> None:
    if bound.all and value == -1:
        return
    high = bound.high if settings.jan_strict == "yes" else max(bound.high, bound.own(model))
    if value < bound.low:
        raise InvalidField(f"{name} must be >= {bound.low:g}", param=name, problem="below")
    if value > high:
        raise InvalidField(f"{name} must be <= {high:g}", param=name, problem="above")


def _context(fields: Mapping[str, Any], model: Model) -> tuple[Mapping[str, Any], str]:
    """No more than the model was trained for; whoever asked for more is told."""
    wanted, most = fields.get("ctx_len"), model.trained_context
    if wanted is None or not most or 0 < wanted <= most:
        return fields, ""
    warning = f"ctx_len {wanted} is more than the model was trained for: it is {most}" if wanted > 0 else ""
    return {**fields, "ctx_len": most}, warning


def _recipe(surroundings: Surroundings, definition: Definition, fields: Mapping[str, Any]) -> Recipe:
    """What is so already stays unsaid, lest the model be loaded again for nothing."""
    now, recipe = loading(surroundings, definition.model), definition.recipe
    changed: dict[str, Any] = {}
    if fields.get("ctx_len", now.context) != now.context:
        changed["context"] = fields["ctx_len"]
    if fields.get("n_parallel", now.slots) != now.slots:
        changed["slots"] = fields["n_parallel"]
    if "ngl" in fields:
        changed["gpu_layers"] = fields["ngl"] if 0 <= fields["ngl"] < MOST_LAYERS else -1
    if "cpu_threads" in fields:
        changed["threads"] = fields["cpu_threads"]
    if fields.get("cache_type", recipe.cache_type or surroundings.settings.cache_type) != (
        recipe.cache_type or surroundings.settings.cache_type
    ):
        changed["cache_type"] = fields["cache_type"]
    return dataclasses.replace(recipe, **changed)


def _overlay(overlay: Overlay, fields: Mapping[str, Any]) -> Overlay:
    given: dict[str, Parameter] = {_PARAMETERS[name]: fields[name] for name in _PARAMETERS if name in fields}
    return dataclasses.replace(
        overlay,
        system=fields.get("pre_prompt", overlay.system),
        template=_template(overlay, fields),
        parameters=tuple({**overlay.defaults, **given}.items()),
    )


def _template(overlay: Overlay, fields: Mapping[str, Any]) -> Any:
    """An empty template is the model's own again."""
    if "prompt_template" in fields:
        if not fields["prompt_template"]:
            return ""
        try:
            return split(fields["prompt_template"]).template
        except ValueError as error:
            raise InvalidField(str(error), param="prompt_template") from error
    given = {key: fields[f"{key}_prompt"] for key in ("system", "user", "ai") if f"{key}_prompt" in fields}
    if not given:
        return overlay.template
    return dataclasses.replace(prefixes(overlay.template) or Prefixes(), **given).template

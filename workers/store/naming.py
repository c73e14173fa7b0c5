"""Names of models and of what is loaded for them: which one is meant, and what a new one is called. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from tropilla.common import codec
from tropilla.common.names import MODEL_NAME
from tropilla.common.recipes import Recipe
from tropilla.workers.store.refusals import Refusal

DEFAULT_TAG = ":latest"
PIN_DIGITS = 8


def known(wanted: str, names: Iterable[str]) -> str | None:
    """The name that is meant: exactly this, else in whatever case, else with the tag that goes without saying."""
    by_lower: dict[str, str] = {}
    for name in names:
        if name == wanted:
            return name
        by_lower.setdefault(name.lower(), name)
    return by_lower.get(wanted.lower()) or by_lower.get(tagged(wanted).lower())


def tagged(name: str) -> str:
    """With a tag."""
    return name if ":" in name.rpartition("/")[2] else name + DEFAULT_TAG


def check(name: str, field: str) -> None:
    """Raises `Refusal` for what cannot be a model's name."""
    if not MODEL_NAME.fullmatch(name):
        raise Refusal(
            "invalid", f"'{name}' cannot be a model's name: letters, digits, '.', '_', '-', '/', one ':'", field
        )


def pinned(recipe: Recipe, name: str, others: Iterable[Recipe]) -> Recipe:
    """The recipe under its pin: that of an equal one if there is one, else made from the name and from all it says."""
    bare = _bare(recipe)
    for other in others:
        if _bare(other) == bare:
            return other
    digest = hashlib.sha256(codec.encode_recipe(bare)).hexdigest()
    return replace(recipe, pin=f"{name}@{digest[:PIN_DIGITS]}")


def _bare(recipe: Recipe) -> Recipe:
    """What is loaded, whatever it is called: only shards are found by their names."""
    files = recipe.files if len(recipe.files) > 1 else tuple(replace(file, name="") for file in recipe.files)
    projector = recipe.projector and replace(recipe.projector, name="")
    return replace(recipe, pin="", files=files, projector=projector)

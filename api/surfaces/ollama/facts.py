"""What every listing says of a model (sheet, section 9.1)."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache

import orjson
from tropilla.api.surface import JSON
from tropilla.common.catalogue import Model
from tropilla.common.recipes import BARE, Overlay

#: (from how many parameters on, what they are divided by, decimals, suffix)
_SIZES = (
    (1_000_000_000, 1_000_000_000, 1, "B"),
    (1_000_000, 1_000_000, 2, "M"),
    (1_000, 1_000, 0, "K"),
)


def details(model: Model) -> dict[str, JSON]:
    """The six that every answer has (section 9.1)."""
    return {
        "parent_model": model.parent,
        "format": "gguf",
        "family": model.family,
        "families": families(model) or None,
        "parameter_size": parameter_size(model.parameter_count),
        "quantization_level": model.quantization or "unknown",
    }


def families(model: Model) -> list[str]:
    """Of all its files: what reads images for it has an architecture of its own, and all of them the same."""
    found = [model.family, "clip" if model.projector else ""]
    return [family for family in found if family]


def lengths(model: Model) -> dict[str, JSON]:
    """What only the list has beside them."""
    found = {"context_length": model.trained_context, "embedding_length": model.embedding_length}
    return {key: length for key, length in found.items() if length}


@lru_cache(maxsize=4096)
def _digest(weights: str, projector: str, overlay: Overlay) -> str:
    """What is not laid over is not told either: a release that knows more to lay over digests the rest alike."""
    every = ((field.name, getattr(overlay, field.name)) for field in dataclasses.fields(overlay))
    laid = {name: value for name, value in every if value != getattr(BARE, name)}
    files = {"weights": weights, **({"projector": projector} if projector else {})}
    return hashlib.sha256(orjson.dumps({**files, **laid}, option=orjson.OPT_SORT_KEYS)).hexdigest()


def digest_of(model: Model) -> str:
    """64 hex digits over the model's files and everything that is laid over them: equal on every worker and in every
    process, and another one as soon as any of it changes.
    """
    return _digest(model.digest, model.projector, model.overlay)


def parameter_size(count: int) -> str:
    """`8.0B`, `7B`, `134.52M`: a whole number of billions or millions goes without decimals."""
    for least, unit, decimals, suffix in _SIZES:
        if count >= least:
            return f"{count / unit:.{decimals if count % unit else 0}f}{suffix}"
    return str(count)

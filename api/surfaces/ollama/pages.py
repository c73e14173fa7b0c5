"""GET /, /api/version and /api/tags (sheet, section 9)."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api.surface import JSON, Reply, Surroundings
from tropilla.api.surfaces.ollama.answer import timestamp
from tropilla.api.surfaces.ollama.fault import JSON_TYPE
from tropilla.api.surfaces.ollama.names import name_of
from tropilla.common.catalogue import Model

RUNNING = "Ollama is running"
#: The path is shared with TGI's health check, so it tells health, in a form that both sorts of clients read.
NOT_RUNNING = {"error": "no model is ready", "error_type": "healthcheck"}

#: (from how many parameters on, what they are divided by, decimals, suffix)
_SIZES = (
    (1_000_000_000, 1_000_000_000, 1, "B"),
    (1_000_000, 1_000_000, 2, "M"),
    (1_000, 1_000, 0, "K"),
)


def root(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    if not surroundings.catalogue.models:
        return Reply(NOT_RUNNING, 503, JSON_TYPE)
    return Reply(RUNNING, headers={"Content-Type": "text/plain; charset=utf-8"})


def version(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    return Reply({"version": surroundings.settings.ollama_version}, headers=JSON_TYPE)


def tags(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Each model once, the newest first."""
    models = sorted(surroundings.catalogue.models, key=lambda model: -model.modified_at)
    return Reply({"models": [_listed(model) for model in models]}, headers=JSON_TYPE)


def _listed(model: Model) -> dict[str, JSON]:
    """Under `name` and under `model`, since some clients read the one and some the other."""
    name = name_of(model).display
    listed: dict[str, JSON] = {
        "name": name,
        "model": name,
        "modified_at": timestamp(model.modified_at),
        "size": model.size_bytes,
        "digest": model.digest,
        "details": _details(model),
    }
    return listed | {"capabilities": list(model.capabilities)} if model.capabilities else listed


def _details(model: Model) -> dict[str, JSON]:
    lengths = {"context_length": model.trained_context, "embedding_length": model.embedding_length}
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family] if model.family else None,
        "parameter_size": parameter_size(model.parameter_count),
        "quantization_level": model.quantization or "unknown",
        **{key: length for key, length in lengths.items() if length},
    }


def parameter_size(count: int) -> str:
    """`8.0B`, `7B`, `134.52M`: a whole number of billions or millions goes without decimals."""
    for least, unit, decimals, suffix in _SIZES:
        if count >= least:
            return f"{count / unit:.{decimals if count % unit else 0}f}{suffix}"
    return str(count)

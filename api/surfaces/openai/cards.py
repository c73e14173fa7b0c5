"""One model as /v1/models shows it: OpenAI's keys, vLLM's and llama.cpp's, and those of Jan's list and of its single model
(contracts, models sheets 4.2 and 4.3).

Jan's own schema allows neither more settings nor larger numbers than it names: what is more stands in `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tropilla.api.models import aliases_of
from tropilla.api.states import Standing, State, standing
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.openai.prefixes import prefixes
from tropilla.api.surfaces.openai.provenance import pulling, source_url
from tropilla.common.catalogue import Model
from tropilla.common.generation import Sampling

OWNER = "tropilla"
#: Jan's words; a state that its enum does not have is told by none.
_LIST_STATES: Mapping[State, str] = {
    "downloading": "downloading",
    "downloaded": "ready",
    "running": "ready",
    "starting": "starting",
    "stopping": "stopping",
}
_STATES: Mapping[State, str] = {
    "registered": "not_downloaded",
    "downloading": "not_downloaded",
    "running": "running",
    "stopping": "running",
}
#: The largest numbers of Jan's schema.
MOST_CONTEXT, MOST_LAYERS, MOST_SLOTS, MOST_TOP_K = 4096, 100, 10, 100
_OFF = Sampling()


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded, as Jan's settings have it. `layers`: on a GPU; `MOST_LAYERS` is all of them."""

    context: int
    layers: int
    slots: int
    threads: int
    embeds: bool


def loading(surroundings: Surroundings, model: Model) -> Loading:
    definition = surroundings.catalogue.define(model.name)
    recipe = definition.recipe if definition else None
    holders = [worker for worker in surroundings.catalogue.workers if worker.pin == model.pin]
    on_gpu = any(worker.flavour == "gpu" for worker in holders or surroundings.catalogue.workers)
    layers = recipe.gpu_layers if recipe else -1
    return Loading(
        context=model.context_length,
        layers=(MOST_LAYERS if layers < 0 else layers) if on_gpu else 0,
        slots=max((worker.slots for worker in holders), default=0)
        or (recipe.slots if recipe else 0)
        or surroundings.settings.slots,
        threads=recipe.threads if recipe else 0,
        embeds="embedding" in model.capabilities,
    )


def parameters(surroundings: Surroundings, model: Model) -> dict[str, int | float]:
    """Jan's names of what holds for requests that do not say otherwise on the OpenAI surface."""
    defaults = model.overlay.defaults
    limit = defaults.get("max_tokens", surroundings.settings.default_max_tokens)
    limited = isinstance(limit, int) and 0 < limit < model.context_length
    return {
        "temperature": float(_number(defaults.get("temperature"), _OFF.temperature)),
        "token_limit": int(_number(limit, 0)) if limited else model.context_length,
        "top_k": int(_number(defaults.get("top_k"), _OFF.top_k)),
        "top_p": float(_number(defaults.get("top_p"), _OFF.top_p)),
    }


def item(surroundings: Surroundings, model: Model, name: str) -> dict[str, Any]:
    """In a list, by one of its names, or by that of one of its adapters."""
    stands = standing(surroundings.catalogue, model.name)
    how, by_default = loading(surroundings, model), parameters(surroundings, model)
    return {
        **_head(surroundings, model, name),
        **_listed(stands, name),
        "source_url": source_url(surroundings, model.name),
        "settings": {
            "ctx_len": str(how.context),
            "ngl": str(how.layers),
            "embedding": _flag(how.embeds),
            "n_parallel": str(how.slots),
        },
        "parameters": {**{key: f"{value:g}" for key, value in by_default.items()}, "stream": "true"},
        "metadata": _metadata(surroundings, model, stands, how),
        "assets": [],
    }


def card(surroundings: Surroundings, model: Model, name: str) -> dict[str, Any]:
    """The model by itself. A number that Jan's schema does not allow is brought to the nearest that it does."""
    stands = standing(surroundings.catalogue, model.name)
    how, by_default = loading(surroundings, model), parameters(surroundings, model)
    shared = {
        "ctx_len": min(how.context, MOST_CONTEXT),
        "n_parallel": min(how.slots, MOST_SLOTS),
        "embedding": how.embeds,
    }
    layers = min(how.layers, MOST_LAYERS)
    sampled = {
        **by_default,
        "token_limit": min(by_default["token_limit"], MOST_CONTEXT),
        "top_k": min(by_default["top_k"], MOST_TOP_K),
    }
    told = {**shared, **({"ngl": layers} if layers else {}), **sampled}
    return {
        **_head(surroundings, model, name),
        "type": "model",
        "name": name,
        "state": _STATES.get(stands.state, "downloaded"),
        "format": "gguf",
        "source_url": source_url(surroundings, model.name),
        "engine_parameters": {
            **_prompts(model),
            "ngl": layers,
            **shared,
            "ctx_len": max(shared["ctx_len"], 128),
            "cont_batching": True,
            **({"cpu_threads": how.threads} if how.threads else {}),
        },
        "model_parameters": told,
        # Required by Jan's schema, and described nowhere in it.
        "parameters": told,
        "metadata": _metadata(surroundings, model, stands, how),
    }


def absent(surroundings: Surroundings, name: str, *, listed: bool) -> dict[str, Any]:
    """A name whose files are not there (yet), in a list or by itself."""
    stands = standing(surroundings.catalogue, name)
    alone = {"type": "model", "state": _STATES.get(stands.state, "downloaded"), "parameters": {}}
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": OWNER,
        "name": name,
        **(_listed(stands, name) if listed else alone),
        "source_url": source_url(surroundings, name),
        "metadata": {"engine": "nitro", **_told(surroundings, name, stands)},
    }


def _head(surroundings: Surroundings, model: Model, name: str) -> dict[str, Any]:
    """OpenAI's four keys, then vLLM's and llama.cpp's extras."""
    adapter = name in model.adapters and name != model.name
    return {
        "id": name,
        "object": "model",
        "created": int(model.modified_at),
        "owned_by": OWNER,
        **({"parent": model.name} if adapter else {"aliases": aliases_of(surroundings, model)}),
        "max_model_len": model.context_length,
        # llama.cpp's and OpenRouter's.
        "architecture": {
            "input_modalities": ["text", *(["image"] if "vision" in model.capabilities else [])],
            "output_modalities": ["text"] if "completion" in model.capabilities else ["embeddings"],
        },
        "meta": {
            "n_vocab": model.vocabulary,
            "n_ctx_train": model.trained_context,
            "n_embd": model.embedding_length,
            "n_params": model.parameter_count,
            "size": model.size_bytes,
        },
    }


def _listed(stands: Standing, name: str) -> dict[str, Any]:
    state = _LIST_STATES.get(stands.state)
    told = {"state": state} if state else {}
    return {"type": "model", "version": "1", "name": name, **told, "format": "gguf"}


def _metadata(surroundings: Surroundings, model: Model, stands: Standing, how: Loading) -> dict[str, Any]:
    return {
        # Of the three that Jan knows, the one that runs llama.cpp.
        "engine": "nitro",
        "backend": "llama.cpp",
        "quantization": model.quantization,
        "size": _size(model.parameter_count),
        "family": model.family,
        "context_length": how.context,
        "slots": how.slots,
        "capabilities": list(model.capabilities),
        **_told(surroundings, model.name, stands),
    }


def _told(surroundings: Surroundings, name: str, stands: Standing) -> dict[str, Any]:
    """How things stand, where that is more than a word."""
    told: dict[str, Any] = {"workers": stands.workers}
    if stands.trouble is not None:
        told["error"] = {"code": stands.trouble.code, "message": stands.trouble.message}
    download = pulling(surroundings, name) if stands.state == "downloading" else None
    if download is not None:
        files = download.files.values()
        total, there = sum(each.total for each in files), sum(each.completed for each in files)
        told["download"] = {"taskId": download.errand.id, "bytes": total, "downloadedBytes": there}
    return told


def _prompts(model: Model) -> dict[str, str]:
    own = prefixes(model.overlay.template)
    before = {"system_prompt": own.system, "user_prompt": own.user, "ai_prompt": own.ai} if own else {}
    return {"pre_prompt": model.overlay.system, **before}


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _size(count: int) -> str:
    """`7B`, `1.5B`, `135M`."""
    if count >= 1_000_000_000:
        return f"{count / 1_000_000_000:.1f}".removesuffix(".0") + "B"
    return f"{round(count / 1_000_000)}M" if count >= 1_000_000 else str(count)

"""GET /v1/models and /v1/health, and which model a name means here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.models import aliased, aliases_of, default_model, resolve_exact
from tropilla.api.surface import Reply, Surroundings
from tropilla.common.catalogue import Model
from tropilla.common.errors import UnknownModel

OWNER = "tropilla"
#: What clients send who do not mean any model: TGI's and Hugging Face's, and the server's own URL (TGI sheet, section 15).
_PLACEHOLDERS = frozenset({"", "tgi", "dummy"})
_URLS = ("http://", "https://")


def resolve(surroundings: Surroundings, name: str) -> Model:
    """The model a request's `model` means ("" where it has none). Raises `UnknownModel`."""
    found = known(surroundings, name)
    if found is not None:
        return found
    if name in _PLACEHOLDERS or name.startswith(_URLS):
        return default_model(surroundings)
    return resolve_exact(surroundings, name)


def known(surroundings: Surroundings, name: str) -> Model | None:
    """The model of this name or alias, or the only one it can be short for."""
    exact = surroundings.catalogue.find(name) or aliased(surroundings, name)
    if exact is not None:
        return exact
    near = [model for model in surroundings.catalogue.models if name in _other_names(model.name)]
    return near[0] if len(near) == 1 else None


def _other_names(name: str) -> frozenset[str]:
    """`org/name:tag` may be called `org/name`, `name:tag` and `name`; `name` may be called `name:latest`."""
    path, slash, last = name.rpartition("/")
    bare, colon, _ = last.partition(":")
    untagged = path + slash + bare
    latest = frozenset() if colon else frozenset({f"{untagged}:latest", f"{bare}:latest"})
    return frozenset({untagged, last, bare}) | latest


def listing(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Every model under each of its names; beside OpenAI's list stand the keys of the one object that TGI's documentation
    promises.
    """
    listed = [
        entry(surroundings, model, name)
        for model in surroundings.catalogue.models
        for name in (model.name, *aliases_of(surroundings, model))
    ]
    body: dict[str, Any] = {"object": "list", "data": sorted(listed, key=lambda each: str(each["id"]))}
    try:
        one = default_model(surroundings)
    except UnknownModel:
        return Reply(body)
    single = entry(surroundings, one, one.name)
    return Reply({**body, **{key: single[key] for key in ("id", "created", "owned_by")}})


def retrieve(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
    name = variables["id"]
    found = known(surroundings, name)
    if found is None:
        raise UnknownModel(name)
    return Reply(entry(surroundings, found, name if name in aliases_of(surroundings, found) else found.name))


def health(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """llama.cpp's words, and no model's name: nobody needs a key to ask."""
    if surroundings.catalogue.models:
        return Reply({"status": "ok"})
    error = {"message": "No model is ready.", "type": "server_error", "param": None, "code": None}
    return Reply({"error": error, "error_type": "healthcheck"}, 503)


def entry(surroundings: Surroundings, model: Model, name: str) -> dict[str, Any]:
    """OpenAI's four keys, then vLLM's and llama.cpp's extras."""
    return {
        "id": name,
        "object": "model",
        "created": int(model.modified_at),
        "owned_by": OWNER,
        "aliases": aliases_of(surroundings, model),
        "max_model_len": model.context_length,
        "meta": {
            "n_vocab": model.vocabulary,
            "n_ctx_train": model.trained_context,
            "n_embd": model.embedding_length,
            "n_params": model.parameter_count,
            "size": model.size_bytes,
        },
    }

"""GET /v1/models and /v1/health, and which model a name means here. An adapter is a model of its own with a `parent`, as in
vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tropilla.api.models import aliased, aliases_of, default_model, resolve_exact
from tropilla.api.surface import Reply, Surroundings
from tropilla.api.surfaces.openai.cards import absent, card, item
from tropilla.common.catalogue import Capability, Model
from tropilla.common.errors import RequestError, UnknownModel

#: What clients send who do not mean any model: TGI's and Hugging Face's, and the server's own URL (TGI sheet, section 15).
_PLACEHOLDERS = frozenset({"", "tgi", "dummy"})
_URLS = ("http://", "https://")
_YES = ("1", "true", "yes")


def resolve(surroundings: Surroundings, name: str, able: Capability = "completion") -> Model:
    """The model a request's `model` means ("" where it has none, then one that is `able`). Raises `UnknownModel`."""
    found = known(surroundings, name)
    if found is not None:
        return found
    if name in _PLACEHOLDERS or name.startswith(_URLS):
        return default_model(surroundings, able)
    return resolve_exact(surroundings, name, able)


def resolve_adapted(surroundings: Surroundings, name: str) -> tuple[Model, str]:
    """For what generates: the model and the adapter that a request's `model` means; "" is none. A model of the name is
    meant before an adapter. Raises `UnknownModel`.
    """
    found = None if known(surroundings, name) else adapted(surroundings, name)
    return (found, name) if found else (resolve(surroundings, name), "")


def adapted(surroundings: Surroundings, adapter: str) -> Model | None:
    """The one model that has an adapter of this name; None where several have."""
    having = [model for model in surroundings.catalogue.models if adapter in model.adapters]
    return having[0] if len(having) == 1 else None


def known(surroundings: Surroundings, name: str) -> Model | None:
    """The model of this name or alias, or the one it stands for."""
    exact = surroundings.catalogue.find(name) or aliased(surroundings, name)
    if exact is not None:
        return exact
    meant = _meant(name, [model.name for model in surroundings.catalogue.models])
    return surroundings.catalogue.find(meant) if meant else None


def _meant(name: str, names: Sequence[str]) -> str | None:
    """Which of the names it stands for: as Ollama takes it, in whatever case and `latest` where it has no tag, so that its
    clients and these ask the same model; or else the only one it can be short for.
    """
    typed = name.lower()
    for spelled in (typed, f"{typed}:latest"):
        if whole := next((each for each in names if each.lower() == spelled), None):
            return whole
    near = [each for each in names if typed in _other_names(each.lower())]
    return near[0] if len(near) == 1 else None


def _other_names(name: str) -> frozenset[str]:
    """`org/name:tag` may be called `org/name`, `name:tag` and `name`; `name` may be called `name:latest`."""
    path, slash, last = name.rpartition("/")
    bare, colon, _ = last.partition(":")
    untagged = path + slash + bare
    latest = frozenset() if colon else frozenset({f"{untagged}:latest", f"{bare}:latest"})
    return frozenset({untagged, last, bare}) | latest


def listing(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Every model under each of its names, and every adapter; with `?all=1` also those that have a name and cannot answer.
    Beside OpenAI's list stand the keys of the one object that TGI's documentation promises.
    """
    catalogue, models = surroundings.catalogue, surroundings.catalogue.models
    listed = [
        item(surroundings, model, name) for model in models for name in (model.name, *aliases_of(surroundings, model))
    ]
    if surroundings.query.get("all", "") in _YES:
        found = {model.name for model in models}
        broken = [each.model for each in catalogue.definitions if not each.hidden and each.model.name not in found]
        listed += [item(surroundings, model, model.name) for model in broken]
        known = found | {model.name for model in broken}
        listed += [absent(surroundings, name, listed=True) for name in catalogue.troubles if name not in known]
    adapters = [
        item(surroundings, model, adapter)
        for model in models
        for adapter in model.adapters
        if adapted(surroundings, adapter)
    ]
    # Some clients take the first.
    data = [each for some in (listed, adapters) for each in sorted(some, key=lambda one: str(one["id"]))]
    body: dict[str, Any] = {"object": "list", "data": data}
    try:
        one = default_model(surroundings)
    except RequestError:
        return Reply(body)
    single = item(surroundings, one, one.name)
    return Reply({**body, **{key: single[key] for key in ("id", "created", "owned_by")}})


def retrieve(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
    """A model that cannot answer is shown, too, with the reason."""
    name, catalogue = variables["id"], surroundings.catalogue
    if found := known(surroundings, name):
        return Reply(card(surroundings, found, name if name in aliases_of(surroundings, found) else found.name))
    if found := adapted(surroundings, name):
        return Reply(card(surroundings, found, name))
    broken = unable(surroundings, name)
    definition = catalogue.define(broken)
    return Reply(
        card(surroundings, definition.model, broken) if definition else absent(surroundings, broken, listed=False)
    )


def unable(surroundings: Surroundings, name: str) -> str:
    """The whole name of a model that is there and cannot answer, or whose files are not there. Raises `UnknownModel`."""
    catalogue = surroundings.catalogue
    shown = {each.model.name for each in catalogue.definitions if not each.hidden} | set(catalogue.troubles)
    meant = name if name in shown else _meant(name, sorted(shown))
    if meant is None:
        raise UnknownModel(name)
    return meant


def health(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """llama.cpp's words, and no model's name: nobody needs a key to ask."""
    if surroundings.catalogue.models:
        return Reply({"status": "ok"})
    error = {"message": "No model is ready.", "type": "server_error", "param": None, "code": None}
    return Reply({"error": error, "error_type": "healthcheck"}, 503)

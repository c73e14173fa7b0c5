"""Which model a request means, as far as every dialect agrees: nobody's name, or a name as it stands."""

from __future__ import annotations

from dataclasses import replace

from tropilla.api.surface import Surroundings
from tropilla.common.catalogue import Capability, Catalogue, Model
from tropilla.common.errors import RequestError, UnknownModel, unavailable
from tropilla.common.generation import GenerationRequest
from tropilla.common.settings import aliases


def default_model(surroundings: Surroundings, able: Capability = "completion") -> Model:
    """The model for a request that names none: the operator's, or else the first by name, that is `able` to answer; where
    none is, whoever comes first says so himself. Raises `UnknownModel` or `ModelUnavailable` when it is not being served.
    """
    wanted = surroundings.settings.default_model
    chosen, models = surroundings.catalogue.find(wanted), surroundings.catalogue.models
    if not models or (wanted and chosen is None):
        troubled = surroundings.catalogue.troubled
        raise (
            missing(surroundings.catalogue, wanted) if wanted or len(troubled) != 1 else unavailable(*troubled.values())
        )
    models = models if chosen is None else (chosen, *models)
    return next((model for model in models if able in model.capabilities), models[0])


def aliased(surroundings: Surroundings, name: str) -> Model | None:
    """The model that the operator gave this name, if it is being served."""
    target = aliases(surroundings.settings.model_aliases).get(name)
    return None if target is None else surroundings.catalogue.find(target)


def aliases_of(surroundings: Surroundings, model: Model) -> list[str]:
    """The names that the operator gave it, but for those under which another model is served."""
    given = aliases(surroundings.settings.model_aliases)
    return [alias for alias, name in given.items() if name == model.name and not surroundings.catalogue.find(alias)]


def resolve_exact(surroundings: Surroundings, name: str, able: Capability = "completion") -> Model:
    """The model of exactly this name. One that is known and cannot answer raises `ModelUnavailable`; an unknown one raises
    `UnknownModel`, or means the default model where the operator says so. Aliases, tags and placeholders are a dialect's
    business, before it asks here.
    """
    found = surroundings.catalogue.find(name)
    if found is not None:
        return found
    error = missing(surroundings.catalogue, name, f"{name}:latest")
    if isinstance(error, UnknownModel) and surroundings.settings.unknown_model == "default":
        return default_model(surroundings, able)
    raise error


def missing(catalogue: Catalogue, name: str, *spellings: str) -> RequestError:
    """Why no model of this name answers: what is the matter with one that is so called, or that there is none."""
    wanted = {each.lower() for each in (name, *spellings)}
    troubled = catalogue.troubled
    exact = troubled.get(name) or next((troubled[each] for each in troubled if each.lower() in wanted), None)
    return UnknownModel(name) if exact is None else unavailable(exact)


def adapted(request: GenerationRequest, model: Model) -> GenerationRequest:
    """The request with the adapter that its model always has."""
    adapter = model.overlay.defaults.get("adapter")
    return replace(request, adapter=adapter) if isinstance(adapter, str) and not request.adapter else request

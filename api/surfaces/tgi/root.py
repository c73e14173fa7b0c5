"""The root of one model, `/models/<id>`: below it stands a whole TGI that serves this model and no other.

The id may contain slashes, encoded or not, and a tag. A handler below the root sees a cluster of its model alone, so it
needs to know nothing of roots: the default model, the listing, the limits and the health are that model's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

from tropilla.api.models import resolve_exact
from tropilla.api.surface import (
    JSON,
    AnyRoute,
    Batch,
    Chore,
    Desk,
    Enquiry,
    Page,
    Reply,
    Report,
    Resumption,
    Route,
    Surroundings,
)
from tropilla.api.surfaces.openai.models import known
from tropilla.common.catalogue import Catalogue, Model
from tropilla.common.keys import READING
from tropilla.common.metrics import Reading

_T = TypeVar("_T")

#: The id's name among the variables of a path.
ID = "root"
ROOT = f"/models/<path:{ID}>"


def below(route: AnyRoute) -> AnyRoute:
    """The same route below the root of a model."""
    path = ROOT if route.path == "/" else ROOT + route.path
    match route:
        case Route():
            return Route(path, dataclasses.replace(route.surface, parse=_parsed_alone(route.surface.parse)))
        case Enquiry():
            return dataclasses.replace(route, path=path, parse=_parsed_alone(route.parse))
        case Batch():
            return dataclasses.replace(route, path=path, parse=_parsed_alone(route.parse))
        case Chore():
            return dataclasses.replace(route, path=path, parse=_parsed_alone(route.parse))
        case Resumption():
            return dataclasses.replace(route, path=path)
        case Report():
            return dataclasses.replace(route, path=path, answer=_reported_alone(route))
        case Page():
            # Which models there are is nobody's business who has no key.
            return dataclasses.replace(route, path=path, answer=_answered_alone(route), scopes=READING)
        case Desk():
            raise AssertionError(f"{route.path} is of no single model")


def alone(surroundings: Surroundings) -> Surroundings:
    """As if the path's model were the only one. Raises `UnknownModel`."""
    catalogue, wanted = surroundings.catalogue, surroundings.path[ID].rstrip("/")
    model = catalogue.find(wanted) or _coming(catalogue, wanted)
    if model is None:
        model = known(surroundings, wanted) or resolve_exact(surroundings, wanted)
    settings = dataclasses.replace(surroundings.settings, default_model=model.name, unknown_model="error")
    return dataclasses.replace(surroundings, catalogue=catalogue.alone(model), settings=settings)


def _coming(catalogue: Catalogue, wanted: str) -> Model | None:
    """The model, while its workers load it or leave."""
    return next((w.model for w in catalogue.workers if w.model and w.model.name == wanted), None)


def _parsed_alone(parse: Callable[[JSON, Surroundings], _T]) -> Callable[[JSON, Surroundings], _T]:
    return lambda body, surroundings: parse(body, alone(surroundings))


def _reported_alone(report: Report) -> Callable[[Surroundings, Reading], Reply]:
    def answer(surroundings: Surroundings, reading: Reading) -> Reply:
        around = alone(surroundings)
        return report.answer(around, reading.of(around.settings.default_model))

    return answer


def _answered_alone(page: Page) -> Callable[[Surroundings, Mapping[str, str]], Reply]:
    def answer(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
        return page.answer(alone(surroundings), variables)

    return answer

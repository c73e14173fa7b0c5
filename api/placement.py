"""Which lane a request waits in."""

from __future__ import annotations

from tropilla.common.catalogue import Catalogue, Lane
from tropilla.common.errors import UnknownModel


def lane(catalogue: Catalogue, model: str) -> Lane:
    """The gpu lane when a gpu worker is there for the model or could load it, else the cpu lane. Raises `UnknownModel`
    when nobody serves the model.

    CPU workers never pull the gpu lane, so a request is put where somebody will find it.
    """
    found = catalogue.find(model)
    if found is None:
        raise UnknownModel(model)
    flavours = catalogue.flavours(found.pin)
    if not flavours and (definition := catalogue.define(model)) is not None:
        flavours = frozenset(worker.flavour for worker in catalogue.candidates(definition))
    return Lane(found.pin, "gpu" if "gpu" in flavours else "cpu")

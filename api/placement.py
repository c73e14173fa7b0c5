"""Which lane a request waits in."""

from __future__ import annotations

from tropilla.common.catalogue import Catalogue, Lane
from tropilla.common.errors import UnknownModel


def lane(catalogue: Catalogue, model: str) -> Lane:
    """The gpu lane when a gpu worker lives, else the cpu lane. Raises `UnknownModel` when nobody serves the model.

    CPU workers never pull the gpu lane, so a request is put where somebody will find it.
    """
    flavours = catalogue.flavours(model)
    if not flavours:
        raise UnknownModel(model)
    return Lane(model, "gpu" if "gpu" in flavours else "cpu")

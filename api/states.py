"""How things stand with a model, seen from what the cluster announces: one life cycle for every dialect that tells it.

registered -- downloading --> downloaded -- starting --> running -- stopping --> downloaded
                                                (any of them: error)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tropilla.common.catalogue import Catalogue, Trouble

#: registered: it has a name, and no files. downloaded: the files are there. running: a worker can answer.
State = Literal["registered", "downloading", "downloaded", "starting", "running", "stopping", "error"]


@dataclass(frozen=True, slots=True)
class Standing:
    """`trouble` is what is the matter, in `error` and, where a download came to nothing, in `registered`."""

    state: State
    #: Workers that can answer.
    workers: int = 0
    trouble: Trouble | None = None


def standing(catalogue: Catalogue, name: str) -> Standing:
    """Of a model that `catalogue` knows by exactly this name."""
    model = catalogue.find(name)
    definition = catalogue.define(name)
    if model is None and definition is None:
        return _absent(catalogue.troubles.get(name))
    pin = model.pin if model is not None else definition.recipe.pin if definition is not None else name
    ready = sum(worker.serves(pin) for worker in catalogue.workers)
    if ready:
        return Standing("running", ready)
    if any(worker.coming(pin) for worker in catalogue.workers):
        return Standing("starting")
    if any(worker.pin == pin and worker.state == "draining" for worker in catalogue.workers):
        return Standing("stopping")
    trouble = catalogue.trouble(name)
    return Standing("downloaded") if trouble is None else Standing("error", trouble=trouble)


def _absent(trouble: Trouble | None) -> Standing:
    if trouble is not None and trouble.code == "downloading":
        return Standing("downloading")
    return Standing("registered", trouble=trouble)

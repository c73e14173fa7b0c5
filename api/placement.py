"""Which lane a request waits in, and whether it waits in vain.

A gpu worker finds what waits in either lane of its pin, a cpu worker only the cpu lane. So what was put into the gpu lane
is put into the cpu lane, too, when no gpu worker is left: two tickets of one request do no harm, the second finds it held
or ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tropilla.api.models import missing
from tropilla.common.catalogue import PULLS, Catalogue, Flavour, Lane, Trouble, Worker


def lane(catalogue: Catalogue, model: str, backlog: Callable[[Lane], int], spill_backlog: int) -> Lane:
    """Where a new request waits: in the gpu lane where gpu workers have the model, unless more than `spill_backlog` wait
    there and a cpu worker has it as well; else where a worker is about to have it; else where one could load it, idle ones
    first. backlog: how many wait in a lane; asked only where both flavours serve. Raises `UnknownModel` and
    `ModelUnavailable`.
    """
    found = catalogue.find(model)
    if found is None:
        raise missing(catalogue, model)
    gpu, cpu = Lane(found.pin, "gpu"), Lane(found.pin, "cpu")
    flavours = catalogue.flavours(found.pin)
    if len(flavours) > 1:
        return cpu if backlog(gpu) > spill_backlog else gpu
    return gpu if "gpu" in (flavours or _coming(catalogue, found.pin) or _able(catalogue, model)) else cpu


def _coming(catalogue: Catalogue, pin: str) -> frozenset[Flavour]:
    return _flavours(worker for worker in catalogue.workers if worker.coming(pin))


def _able(catalogue: Catalogue, model: str) -> frozenset[Flavour]:
    """The flavour that will load it, as far as can be foreseen: an idle worker is not left idle for a better one."""
    definition = catalogue.define(model)
    candidates = () if definition is None else catalogue.candidates(definition)
    return _flavours(worker for worker in candidates if worker.state == "idle") or _flavours(candidates)


def _flavours(workers: Iterable[Worker]) -> frozenset[Flavour]:
    return frozenset(worker.flavour for worker in workers)


def look_again(catalogue: Catalogue, model: str, waits: Lane) -> Lane | Trouble:
    """Where a request that waits in a lane should wait: there, or in the other lane because nobody comes to this one. Or
    why it should not wait at all.
    """
    other = Lane(waits.pin, "cpu" if waits.flavour == "gpu" else "gpu")
    for each in (waits, other):
        if catalogue.pulled(each):
            return each
    definition = catalogue.define(model)
    candidates = () if definition is None else catalogue.candidates(definition)
    found = {flavour for worker in candidates for flavour in PULLS[worker.flavour]}
    for each in (waits, other):
        if each.flavour in found:
            return each
    return catalogue.trouble(model) or Trouble("no_worker", f"no worker serves {model} any more")

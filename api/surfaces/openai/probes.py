"""GET /livez, whether a restart would help this process, and GET /readyz, whether models can be answered. For programs: the
names of their fields stay. Nobody needs a key to ask, so names of models and workers are told to those alone who have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tropilla.api.surface import Reply, Surroundings
from tropilla.api.surfaces.openai.models import known, unable
from tropilla.common.catalogue import Catalogue, Model, Worker
from tropilla.common.errors import StoreUnavailable, UnknownModel

#: The code of a model whose workers all compute nothing any more.
WEDGED = "wedged"


def liveness(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Of this process alone: neither Redis nor a worker is asked, or waited for."""
    ailing = dict(surroundings.ailing)
    return Reply({"status": "wedged" if ailing else "alive", "threads": ailing}, 503 if ailing else 200)


def readiness(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Which models can answer, at once or once they are loaded, and why the others cannot; whether this process stays.
    `?model=` asks for one. Raises `UnknownModel` for one that nobody knows, unless nobody is known at all.
    """
    if surroundings.principal.scopes:
        return _readiness(surroundings)
    try:
        told = _readiness(surroundings)
    except UnknownModel:
        # To a stranger it is one that cannot answer.
        told = _readiness(replace(surroundings, catalogue=Catalogue(), query={}))
    return replace(told, body={**told.body, "models": [], "unavailable": {}, "workers": {}})


def _readiness(surroundings: Surroundings) -> Reply:
    catalogue = surroundings.catalogue
    reached, wanted = surroundings.answered is not None, surroundings.query.get("model", "")
    name = _asked(surroundings, wanted) if wanted and reached else ""
    models = [model for model in catalogue.models if name in ("", model.name)]
    troubles = {
        each: {"code": trouble.code, "message": trouble.message}
        for each, trouble in sorted(catalogue.troubled.items())
        if name in ("", each)
    }
    able = []
    for model in models:
        if why := _wedged(surroundings, model):
            troubles[model.name] = {"code": WEDGED, "message": why}
        else:
            able.append(model.name)
    status = "draining" if surroundings.draining else "ready" if able and reached else "unready"
    pins = {model.pin for model in models}
    body = {
        "status": status,
        "models": able,
        "unavailable": troubles,
        "workers": {
            pin: [_shown(worker) for worker in catalogue.workers if worker.pin == pin]
            for pin in sorted({worker.pin for worker in catalogue.workers if worker.pin})
            if not name or pin in pins
        },
        "redis": {"answers": reached, "seconds": surroundings.answered},
        "store": {"lives": reached and _staffed(surroundings)},
    }
    return Reply(body, 200 if status == "ready" else 503)


def _asked(surroundings: Surroundings, wanted: str) -> str:
    found = known(surroundings, wanted)
    return found.name if found else unable(surroundings, wanted)


def _wedged(surroundings: Surroundings, model: Model) -> str:
    """Why no worker that has it computes anything; "" where one does, or another one could load it."""
    catalogue = surroundings.catalogue
    ready = [worker for worker in catalogue.workers if worker.serves(model.pin)]
    definition = catalogue.define(model.name)
    others = catalogue.candidates(definition) if definition else ()
    if not ready or not all(worker.trouble for worker in ready) or any(worker not in ready for worker in others):
        return ""
    return _sentence(ready)


def _sentence(workers: Iterable[Worker]) -> str:
    return "; ".join(f"{worker.name}: {worker.trouble}" for worker in workers)


def _shown(worker: Worker) -> dict[str, Any]:
    sign = worker.sign
    return {
        "name": worker.name,
        "flavour": worker.flavour,
        "state": worker.state,
        "decodes": worker.state == "ready" and not worker.trouble,
        "reason": worker.trouble or ("" if worker.state == "ready" else f"it is {worker.state}"),
        "computed_seconds_ago": None if sign is None else round(sign.age, 3),
        "canary_seconds": None if sign is None else round(sign.seconds, 6),
    }


def _staffed(surroundings: Surroundings) -> bool:
    try:
        return surroundings.staffed()
    except StoreUnavailable:
        # It went between the two questions.
        return False

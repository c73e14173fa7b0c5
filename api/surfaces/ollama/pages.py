"""GET /, /api/version, /api/status, /api/tags and /api/ps (sheet, section 9)."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api.surface import JSON, Reply, Surroundings
from tropilla.api.surfaces.ollama.answer import timestamp
from tropilla.api.surfaces.ollama.facts import details, digest_of, lengths
from tropilla.api.surfaces.ollama.fault import JSON_TYPE
from tropilla.api.surfaces.ollama.names import name_of
from tropilla.common.catalogue import Model, Worker

RUNNING = "Ollama is running"
#: The path is shared with TGI's health check, so it tells health, in a form that both sorts of clients read.
NOT_RUNNING = {"error": "no model is ready", "error_type": "healthcheck"}

#: What runs here runs on this cluster.
NO_CLOUD = {"cloud": {"disabled": True, "source": "config"}}
#: How far Ollama's longest duration reaches: when a model leaves that stays for ever.
FOREVER_SECONDS = 292 * 365.25 * 86400
#: Workers in these states hold a model, or are about to.
HOLDING = ("loading", "ready", "draining")


def root(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    if not surroundings.catalogue.models:
        return Reply(NOT_RUNNING, 503, JSON_TYPE)
    return Reply(RUNNING, headers={"Content-Type": "text/plain; charset=utf-8"})


def version(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    return Reply({"version": surroundings.settings.ollama_version}, headers=JSON_TYPE)


def status(_surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    return Reply(NO_CLOUD, headers=JSON_TYPE)


def tags(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Each model once, the newest first."""
    models = sorted(surroundings.catalogue.models, key=lambda model: -model.modified_at)
    return Reply({"models": [_listed(model) for model in models]}, headers=JSON_TYPE)


def _listed(model: Model) -> dict[str, JSON]:
    """Under `name` and under `model`, since some clients read the one and some the other."""
    name = name_of(model).display
    listed: dict[str, JSON] = {
        "name": name,
        "model": name,
        "modified_at": timestamp(model.modified_at),
        "size": model.size_bytes,
        "digest": digest_of(model),
        "details": details(model) | lengths(model),
    }
    return listed | {"capabilities": list(model.capabilities)} if model.capabilities else listed


def loaded(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Every name whose weights some worker holds or loads, whoever stays longest first. A model of several workers takes
    all their memory together.
    """
    found = []
    for model in surroundings.catalogue.models:
        holders = [w for w in surroundings.catalogue.workers if w.pin == model.pin and w.state in HOLDING]
        if holders:
            leaves = max(_leaves(worker, surroundings.now) for worker in holders)
            found.append((leaves, _resident(model, holders, leaves)))
    found.sort(key=lambda entry: -entry[0])
    return Reply({"models": [entry for _, entry in found]}, headers=JSON_TYPE)


def _leaves(worker: Worker, now: float) -> float:
    """When it lets go of its model, Unix seconds: in the past for one that is doing so."""
    if worker.state == "draining":
        return now - 1
    return now + (FOREVER_SECONDS if worker.expires_in is None else min(worker.expires_in, FOREVER_SECONDS))


def _resident(model: Model, holders: list[Worker], leaves: float) -> dict[str, JSON]:
    name = name_of(model).display
    return {
        "name": name,
        "model": name,
        # A worker that loads does not know yet what it will take: the weights at least.
        "size": sum(worker.resident_bytes or model.size_bytes for worker in holders),
        "digest": digest_of(model),
        "details": details(model),
        "expires_at": timestamp(leaves),
        "size_vram": sum(worker.gpu_bytes for worker in holders),
        "context_length": model.context_length,
    }

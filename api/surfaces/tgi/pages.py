"""GET /health, /ping and /info (sheet, section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tropilla.api.surface import Reply, Surroundings
from tropilla.api.surfaces.tgi.limits import limits
from tropilla.api.surfaces.tgi.parse import served_model
from tropilla.common.catalogue import Capability, Model

#: The TGI whose behaviour this is (seed 004).
VERSION = "3.3.6-dev0"
ROUTER = "text-generation-router"
#: What a model is for, by the first of its capabilities that has a name on the Hugging Face hub.
PIPELINE_TAGS: tuple[tuple[Capability, str], ...] = (
    ("vision", "image-text-to-text"),
    ("completion", "text-generation"),
    ("embedding", "feature-extraction"),
)


def health(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """200 with nothing in it while some worker can answer."""
    if surroundings.catalogue.models:
        return Reply("")
    return Reply({"error": "unhealthy", "error_type": "healthcheck"}, 503)


def info(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Every key is always there. `model_sha` is the file's digest: a GGUF has no revision of its own."""
    model = served_model(surroundings)
    offered = asdict(limits(model, surroundings.settings))
    return Reply(
        {
            **offered,
            "model_sha": model.digest,
            "model_pipeline_tag": pipeline_tag(model),
            "router": ROUTER,
            "version": VERSION,
            "sha": None,
            "docker_label": None,
        }
    )


def pipeline_tag(model: Model) -> str | None:
    return next((tag for capability, tag in PIPELINE_TAGS if capability in model.capabilities), None)

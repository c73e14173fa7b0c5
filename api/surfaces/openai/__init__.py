"""The OpenAI dialect: chat and text completions, responses, embeddings, tokens, files and batches, and the models they can
be asked of.
"""

from __future__ import annotations

from tropilla.api.media import readable
from tropilla.api.surface import Dialect, Enquiry, Page, Resumption, Route
from tropilla.api.surfaces.openai import about, batches, embeddings, files, probes_about, responses_about, tokens
from tropilla.api.surfaces.openai.answer import headers
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.faults import fault, refused_status
from tropilla.api.surfaces.openai.models import health, listing
from tropilla.api.surfaces.openai.probes import liveness, readiness
from tropilla.api.surfaces.openai.responses import RESPONSES, count, parse_count

#: The un-prefixed ones are Cria's and llama.cpp's. /models/<id>/... belongs to TGI.
OPENAI = Dialect(
    name="openai",
    routes=(
        Route("/v1/chat/completions", CHAT),
        Route("/v1/completions", COMPLETIONS),
        Page("/v1/models", listing, about.MODELS),
        Page("/v1/health", health, about.HEALTH, vital=True),
        Page("/livez", liveness, probes_about.LIVE, vital=True, alone=True),
        Page("/readyz", readiness, probes_about.READY, vital=True),
        Resumption("/v1/streams/<id>", about.STREAM),
        Route("/chat/completions", CHAT),
        Route("/completions", COMPLETIONS),
        Page("/models", listing, about.MODELS),
        Route("/v1/responses", RESPONSES),
        Route("/responses", RESPONSES),
        Enquiry("/v1/responses/input_tokens", parse_count, count, responses_about.INPUT_TOKENS),
        Enquiry("/responses/input_tokens", parse_count, count, responses_about.INPUT_TOKENS),
        *embeddings.ROUTES,
        *tokens.ROUTES,
        *files.ROUTES,
        *batches.ROUTES,
    ),
    prefixes=(
        "/v1",
        "/chat",
        "/completions",
        "/models",
        "/responses",
        "/embeddings",
        "/detokenize",
        "/apply-template",
        "/livez",
        "/readyz",
    ),
    fault=fault,
    reads=readable,
    headers=headers,
    refused_status=refused_status,
    error=about.ERROR,
    title="OpenAI",
)

"""The OpenAI dialect: chat and text completions, and the models they can be asked of."""

from __future__ import annotations

from tropilla.api.surface import Dialect, Page, Route
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.faults import fault, refused_status
from tropilla.api.surfaces.openai.models import listing, retrieve

#: The un-prefixed ones are Cria's and llama.cpp's. /models/<id>/... belongs to TGI.
OPENAI = Dialect(
    name="openai",
    routes=(
        Route("/v1/chat/completions", CHAT),
        Route("/v1/completions", COMPLETIONS),
        Page("/v1/models", listing),
        Page("/v1/models/<path:id>", retrieve),
        Route("/chat/completions", CHAT),
        Route("/completions", COMPLETIONS),
        Page("/models", listing),
    ),
    prefixes=("/v1", "/chat", "/completions", "/models"),
    fault=fault,
    refused_status=refused_status,
)

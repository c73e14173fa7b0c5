"""The OpenAI dialect: chat and text completions, and the models they can be asked of."""

from __future__ import annotations

from tropilla.api.media import json_or_unnamed
from tropilla.api.surface import Dialect, Page, Route
from tropilla.api.surfaces.openai.answer import headers
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.faults import fault
from tropilla.api.surfaces.openai.models import health, listing, retrieve

#: The un-prefixed ones are Cria's and llama.cpp's. /models/<id>/... belongs to TGI.
OPENAI = Dialect(
    name="openai",
    routes=(
        Route("/v1/chat/completions", CHAT),
        Route("/v1/completions", COMPLETIONS),
        Page("/v1/models", listing),
        Page("/v1/models/<path:id>", retrieve),
        Page("/v1/health", health),
        Route("/chat/completions", CHAT),
        Route("/completions", COMPLETIONS),
        Page("/models", listing),
    ),
    prefixes=("/v1", "/chat", "/completions", "/models"),
    fault=fault,
    reads=json_or_unnamed,
    headers=headers,
)

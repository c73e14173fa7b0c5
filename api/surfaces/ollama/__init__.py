"""The Ollama dialect: contracts/ollama.md. Streams are newline-delimited JSON."""

from __future__ import annotations

from functools import partial

from tropilla.api.framing import NDJSON
from tropilla.api.surface import Dialect, Page, Route, Surface
from tropilla.api.surfaces.ollama import about, changes, create, embed, show
from tropilla.api.surfaces.ollama.answer import Lines, whole
from tropilla.api.surfaces.ollama.bodies import first_value
from tropilla.api.surfaces.ollama.chat import parse_chat
from tropilla.api.surfaces.ollama.fault import fault
from tropilla.api.surfaces.ollama.generate import parse_generate
from tropilla.api.surfaces.ollama.loading import answered
from tropilla.api.surfaces.ollama.pages import loaded, root, status, tags, version
from tropilla.api.surfaces.ollama.said import show_message, show_response
from tropilla.common.keys import ANYBODY

GENERATE = Surface(
    name="ollama.generate",
    parse=parse_generate,
    frames=partial(Lines, show_response),
    whole=partial(whole, show_response),
    framing=NDJSON,
    answer=partial(answered, show_response),
    about=about.GENERATE,
)
CHAT = Surface(
    name="ollama.chat",
    parse=parse_chat,
    frames=partial(Lines, show_message),
    whole=partial(whole, show_message),
    framing=NDJSON,
    answer=partial(answered, show_message),
    about=about.CHAT,
)

OLLAMA = Dialect(
    name="ollama",
    routes=(
        Route("/api/generate", GENERATE),
        Route("/api/chat", CHAT),
        *embed.ROUTES,
        Page("/", root, about.ROOT, scopes=ANYBODY),
        Page("/api/version", version, about.VERSION),
        Page("/api/status", status, about.STATUS),
        Page("/api/tags", tags, about.TAGS),
        Page("/api/ps", loaded, about.LOADED),
        *show.ROUTES,
        *changes.ROUTES,
        *create.ROUTES,
    ),
    prefixes=("/api",),
    fault=fault,
    value=first_value,
    preflight_status=204,
    error=about.ERROR,
    title="Ollama",
)

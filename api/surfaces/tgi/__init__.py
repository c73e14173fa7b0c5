"""The TGI dialect (text-generation-inference): contracts/tgi.md.

It owns every path that no other dialect claims, and the roots of models below /models/. GET / belongs to Ollama.
"""

from __future__ import annotations

from tropilla.api.media import readable
from tropilla.api.surface import AnyRoute, Desk, Dialect, Page, Report, Route
from tropilla.api.surfaces.openai import OPENAI
from tropilla.api.surfaces.tgi import about, tokens
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.generation import COMPAT, GENERATE, GENERATE_STREAM
from tropilla.api.surfaces.tgi.invocations import INVOCATIONS
from tropilla.api.surfaces.tgi.metrics import metrics
from tropilla.api.surfaces.tgi.pages import health, info
from tropilla.api.surfaces.tgi.root import below
from tropilla.api.surfaces.tgi.vertex import VERTEX

#: What one TGI offers beside the routes it shares with OpenAI.
NATIVE: tuple[AnyRoute, ...] = (
    Route("/", COMPAT),
    Route("/generate", GENERATE),
    Route("/generate_stream", GENERATE_STREAM),
    Route("/invocations", INVOCATIONS),
    VERTEX,
    Page("/health", health, about.HEALTH, vital=True),
    Page("/ping", health, about.HEALTH, vital=True),
    Page("/info", info, about.INFO),
    Report("/metrics", metrics, about.METRICS),
    *tokens.ROUTES,
)

TGI = Dialect(
    name="tgi",
    routes=(*NATIVE, *(below(route) for route in (Page("/", health, about.HEALTH, vital=True), *NATIVE))),
    prefixes=("", "/models/"),
    fault=fault,
    reads=readable,
    error=about.ERROR,
    title="TGI",
)
#: Below the root of a model the shared routes are those of OpenAI, its errors included. Files and batches are of no model.
ROOTED = Dialect(
    name="rooted",
    routes=tuple(
        below(route) for route in OPENAI.routes if route.path.startswith("/v1/") and not isinstance(route, Desk)
    ),
    prefixes=(),
    fault=OPENAI.fault,
    reads=OPENAI.reads,
    headers=OPENAI.headers,
    refused_status=OPENAI.refused_status,
    error=OPENAI.error,
    title=OPENAI.title,
)

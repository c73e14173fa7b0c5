"""The TGI dialect (text-generation-inference): contracts/tgi.md, without the routes it shares with OpenAI.

It owns every path that no other dialect claims. POST / is where TGI's clients post; GET / belongs to Ollama.
"""

from __future__ import annotations

from tropilla.api.framing import SSE
from tropilla.api.media import json_or_unnamed
from tropilla.api.surface import Dialect, Page, Route, Surface
from tropilla.api.surfaces.tgi import tokens
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.frames import TokenFrames
from tropilla.api.surfaces.tgi.headers import known_at_start
from tropilla.api.surfaces.tgi.pages import health, info
from tropilla.api.surfaces.tgi.parse import parse_compat, parse_generate, parse_stream
from tropilla.api.surfaces.tgi.whole import whole_compat, whole_generate

GENERATE = Surface("tgi.generate", parse_generate, TokenFrames, whole_generate, SSE, known_at_start)
GENERATE_STREAM = Surface("tgi.generate_stream", parse_stream, TokenFrames, whole_generate, SSE, known_at_start)
COMPAT = Surface("tgi.compat", parse_compat, TokenFrames, whole_compat, SSE, known_at_start)

TGI = Dialect(
    name="tgi",
    routes=(
        Route("/", COMPAT),
        Route("/generate", GENERATE),
        Route("/generate_stream", GENERATE_STREAM),
        Page("/health", health),
        Page("/ping", health),
        Page("/info", info),
        *tokens.ROUTES,
    ),
    prefixes=("",),
    fault=fault,
    reads=json_or_unnamed,
)

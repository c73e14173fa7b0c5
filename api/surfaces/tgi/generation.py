"""The three routes that take TGI's own body; POST / is where its clients post, and says in the body whether it streams."""

from __future__ import annotations

from tropilla.api.framing import SSE
from tropilla.api.surface import Surface
from tropilla.api.surfaces.tgi import about
from tropilla.api.surfaces.tgi.features import answer_features
from tropilla.api.surfaces.tgi.frames import TokenFrames
from tropilla.api.surfaces.tgi.headers import known_at_start
from tropilla.api.surfaces.tgi.parse import parse_compat, parse_generate, parse_stream
from tropilla.api.surfaces.tgi.whole import whole_compat, whole_generate

GENERATE = Surface(
    "tgi.generate", parse_generate, TokenFrames, whole_generate, SSE, known_at_start, about=about.GENERATE
)
GENERATE_STREAM = Surface(
    "tgi.generate_stream", parse_stream, TokenFrames, whole_generate, SSE, known_at_start, about=about.GENERATE_STREAM
)
COMPAT = Surface(
    "tgi.compat",
    parse_compat,
    TokenFrames,
    whole_compat,
    SSE,
    known_at_start,
    answer=answer_features,
    about=about.COMPAT,
)

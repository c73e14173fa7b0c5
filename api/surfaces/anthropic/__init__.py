"""The Anthropic dialect: messages, and how many tokens they are (contracts/openai.md, section 10)."""

from __future__ import annotations

from tropilla.api.framing import SSE, Framing, sse
from tropilla.api.surface import Dialect, Enquiry, Route, Surface
from tropilla.api.surfaces.anthropic import about
from tropilla.api.surfaces.anthropic.answer import MessageStream, whole
from tropilla.api.surfaces.anthropic.fault import fault
from tropilla.api.surfaces.anthropic.parse import count, parse, parse_count

#: This dialect has an event for nothing happening.
PINGED = Framing(sse, sse({"type": "ping"}, "ping"), SSE.headers, SSE.comment)
MESSAGES = Surface(
    "anthropic.messages", parse, lambda call, _: MessageStream(call), whole, PINGED, about=about.MESSAGES
)

ANTHROPIC = Dialect(
    name="anthropic",
    routes=(
        Route("/v1/messages", MESSAGES),
        Enquiry("/v1/messages/count_tokens", parse_count, count, about.COUNT_TOKENS),
    ),
    prefixes=("/v1/messages",),
    fault=fault,
    error=about.ERROR,
    title="Anthropic",
)

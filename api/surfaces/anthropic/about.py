"""What the document says of the Anthropic routes: their answers, and an example to try."""

from __future__ import annotations

from functools import partial

from tropilla.api.about import COUNT, NULL, OBJECT, TEXT, About, Shape, either, one_of, or_null, record, several
from tropilla.api.surfaces.anthropic.schemas import schema

ERROR = record("AnthropicError", {"type": one_of("error"), "error": record("", {"type": TEXT, "message": TEXT})})

_TEXT = record("", {"type": one_of("text"), "text": TEXT})
_THINKING = record("", {"type": one_of("thinking"), "thinking": TEXT, "signature": TEXT})
_TOOL_USE = record("", {"type": one_of("tool_use"), "id": TEXT, "name": TEXT, "input": OBJECT})
_BLOCK: Shape = {"title": "AnthropicBlock", **either(_TEXT, _THINKING, _TOOL_USE)}
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_USAGE = record("AnthropicUsage", dict.fromkeys(_COUNTS, COUNT))
_REASON = one_of("end_turn", "max_tokens", "stop_sequence", "tool_use")
_HEAD: dict[str, Shape] = {
    "id": TEXT,
    "type": one_of("message"),
    "role": one_of("assistant"),
    "model": TEXT,
    "content": several(_BLOCK),
    "stop_sequence": or_null(TEXT),
    "usage": _USAGE,
}
_MESSAGE = record("AnthropicMessage", {**_HEAD, "stop_reason": _REASON})
_BEGUN = record("", {**_HEAD, "stop_reason": NULL, "stop_sequence": NULL})


def _event(kind: str, **said: Shape) -> Shape:
    return record("", {"type": one_of(kind), **said})


_DELTA = either(
    _event("text_delta", text=TEXT),
    _event("thinking_delta", thinking=TEXT),
    _event("signature_delta", signature=TEXT),
    _event("input_json_delta", partial_json=TEXT),
)
_EVENT: Shape = {
    "title": "AnthropicEvent",
    **either(
        _event("message_start", message=_BEGUN),
        _event("content_block_start", index=COUNT, content_block=_BLOCK),
        _event("content_block_delta", index=COUNT, delta=_DELTA),
        _event("content_block_stop", index=COUNT),
        _event(
            "message_delta", delta=record("", {"stop_reason": _REASON, "stop_sequence": or_null(TEXT)}), usage=_USAGE
        ),
        _event("message_stop"),
        _event("ping"),
    ),
}
_ASKED = {"model": "pocket", "messages": [{"role": "user", "content": "What is 2 plus 3?"}]}

MESSAGES = About(
    "Answer a conversation",
    takes=partial(schema, counting=False),
    gives=_MESSAGE,
    streams=either(_EVENT, ERROR),
    example={**_ASKED, "max_tokens": 20},
)
COUNT_TOKENS = About(
    "Count the tokens of a conversation",
    takes=partial(schema, counting=True),
    gives=record("AnthropicCount", {"input_tokens": COUNT}),
    example=_ASKED,
)

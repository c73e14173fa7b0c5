"""The JSON values that streams and whole answers share: tokens, finish reasons, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tropilla.api.surface import JSON
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.common.generation import Finished, GenerationRequest, PromptToken, Reason, Token

#: What stands for a probability of 0: JSON has no infinity (sheet, section 6).
LOWEST_LOGPROB = -9999.0

FinishReason = Literal["length", "eos_token", "stop_sequence"]
#: A cancelled answer is read by nobody; of the words TGI knows, `length` says best that it was cut short.
FINISH_REASONS: Mapping[Reason, FinishReason] = {
    "eos": "eos_token",
    "stop": "stop_sequence",
    "length": "length",
    "cancelled": "length",
}


def token_json(token: Token) -> JSON:
    """A marker is spelled out here and nowhere in the text; all other texts concatenate to the generated text."""
    text = _spelled(token.piece) if token.special else token.text
    return _token(token.id, text, token.logprob, token.special)


def top_tokens_json(token: Token) -> list[JSON]:
    """The likeliest first. Whether an alternative is a marker is known of the chosen one only."""
    ranked = sorted(token.top, key=lambda alternative: -alternative.logprob)
    return [_token(a.id, _spelled(a.piece), a.logprob, token.special and a.id == token.id) for a in ranked]


def prefill_json(prompt: tuple[PromptToken, ...]) -> list[JSON]:
    """The first has no log-probability: nothing stands before it."""
    return [{"id": token.id, "text": _spelled(token.piece), "logprob": _floored(token.logprob)} for token in prompt]


def finish_reason(request: GenerationRequest, finished: Finished) -> FinishReason:
    """On the last token allowed it is `length`, whatever that token is: upstream tests the length first."""
    if request.max_tokens is not None and finished.usage.generated >= request.max_tokens:
        return "length"
    return FINISH_REASONS[finished.reason]


def seed_used(answer: Answer, finished: Finished) -> int | None:
    """None for a greedy answer; the caller's own number when there was one, though a folded one was sampled with."""
    if not answer.samples:
        return None
    return finished.seed if answer.seed is None else answer.seed


def generated_text(answer: Answer, text: str) -> str:
    """With `return_full_text` the original inputs stand before it, also when they were truncated."""
    return answer.inputs + text if answer.full_text else text


def _token(number: int, text: str, logprob: float | None, special: bool) -> JSON:
    return {"id": number, "text": text, "logprob": _floored(logprob), "special": special}


def _floored(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, LOWEST_LOGPROB)


def _spelled(piece: bytes) -> str:
    return piece.decode("utf-8", errors="replace")

"""A folded stream -> the one JSON answer of POST /generate, and the array of one of POST /."""

from __future__ import annotations

from tropilla.api.surface import JSON, Call, Reply
from tropilla.api.surfaces.tgi.details import (
    LOWEST_LOGPROB,
    finish_reason,
    generated_text,
    prefill_json,
    seed_used,
    token_json,
    top_tokens_json,
)
from tropilla.api.surfaces.tgi.headers import measured
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.common.generation import Choice, Completion


def whole_generate(call: Call, completion: Completion, now: float) -> Reply:
    """With `best_of` the likeliest candidate is the answer, and the others stand in its details (section 6)."""
    answer: Answer = call.answer
    winner, *losers = sorted(completion.choices, key=_mean_logprob, reverse=True)
    body: dict[str, JSON] = {"generated_text": generated_text(answer, winner.text)}
    if answer.details or answer.prefill:
        body["details"] = _details(call, winner)
        if losers:
            body["details"]["best_of_sequences"] = [_sequence(call, loser) for loser in losers]
    return Reply(body, headers=measured(call, winner.finished, now))


def whole_compat(call: Call, completion: Completion, now: float) -> Reply:
    reply = whole_generate(call, completion, now)
    return Reply([reply.body], headers=reply.headers)


def _mean_logprob(choice: Choice) -> float:
    logprobs = [max(token.logprob or 0.0, LOWEST_LOGPROB) for token in choice.tokens]
    return sum(logprobs) / len(logprobs) if logprobs else LOWEST_LOGPROB


def _sequence(call: Call, choice: Choice) -> dict[str, JSON]:
    return {"generated_text": generated_text(call.answer, choice.text), **_details(call, choice)}


def _details(call: Call, choice: Choice) -> dict[str, JSON]:
    """`top_tokens` and `best_of_sequences` are left out when not asked for, not null (section 6)."""
    answer: Answer = call.answer
    details: dict[str, JSON] = {
        "finish_reason": finish_reason(call.request, choice.finished),
        "generated_tokens": choice.finished.usage.generated,
        "seed": seed_used(answer, choice.finished),
        "prefill": prefill_json(choice.prompt) if answer.prefill else [],
        "tokens": [token_json(token) for token in choice.tokens],
    }
    if answer.top_tokens:
        details["top_tokens"] = [top_tokens_json(token) for token in choice.tokens]
    return details

"""What vLLM's clients may ask of tokens beside OpenAI's log-probabilities: ids, and how likely the prompt itself was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tropilla.api.surfaces.openai.answer import Answer
from tropilla.api.surfaces.openai.logprobs import finite
from tropilla.common.generation import Choice, PromptToken


def prompt_facts(known: Answer, tokens: Sequence[PromptToken]) -> dict[str, Any]:
    """Keys about a prompt as the model saw it, a BOS included; none unless asked for."""
    facts: dict[str, Any] = {}
    if known.token_ids:
        facts["prompt_token_ids"] = [token.id for token in tokens]
    if known.prompt_logprobs is not None:
        facts["prompt_logprobs"] = [_scores(token, known.prompt_logprobs) for token in tokens]
    return facts


def choice_facts(known: Answer, choice: Choice) -> dict[str, Any]:
    """Keys about an answer, an EOS included."""
    return {"token_ids": [token.id for token in choice.tokens]} if known.token_ids else {}


def _scores(token: PromptToken, most: int) -> dict[str, Any] | None:
    """By id, the likeliest and the token itself, whose rank is known only among those. The first has none."""
    if token.logprob is None:
        return None
    ranked = {
        str(other.id): _score(other.logprob, rank, other.piece) for rank, other in enumerate(token.top[:most], start=1)
    }
    return {str(token.id): _score(token.logprob, None, token.piece), **ranked}


def _score(logprob: float, rank: int | None, piece: bytes) -> dict[str, Any]:
    return {"logprob": finite(logprob), "rank": rank, "decoded_token": piece.decode("utf-8", "replace")}

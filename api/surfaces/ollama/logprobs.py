"""Log-probabilities as Ollama shows them (sheet, section 7.5)."""

from __future__ import annotations

from collections.abc import Iterable

from tropilla.api.surface import JSON
from tropilla.common.generation import Alternative, Token

#: JSON has no minus infinity.
LOWEST_LOGPROB = -9999.0


def entries(tokens: Iterable[Token]) -> dict[str, JSON]:
    """An entry per token of the reply; the markers in it are not of the text."""
    shown = [_entry(token) for token in tokens if not token.special]
    return {"logprobs": shown} if shown else {}


def _entry(token: Token) -> dict[str, JSON]:
    assert token.logprob is not None, "log-probabilities were asked for"
    entry = _candidate(token.piece, token.logprob)
    if token.top:
        entry["top_logprobs"] = [_alternative(alternative) for alternative in token.top]
    return entry


def _alternative(alternative: Alternative) -> dict[str, JSON]:
    return _candidate(alternative.piece, alternative.logprob)


def _candidate(piece: bytes, logprob: float) -> dict[str, JSON]:
    """`bytes` tells what `token` cannot: part of a character."""
    entry: dict[str, JSON] = {
        "token": piece.decode("utf-8", errors="replace"),
        "logprob": min(max(logprob, LOWEST_LOGPROB), 0.0),
    }
    return entry | {"bytes": list(piece)} if piece else entry

"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tropilla.api.surfaces.openai.sight import Seen
from tropilla.common.generation import PromptToken, Token

#: For a probability of 0, whose logarithm JSON cannot say.
_FLOOR = -9999.0


def chat_logprobs(tokens: Sequence[Seen]) -> dict[str, Any]:
    return {"content": [_entry(seen.token) for seen in tokens], "refusal": None}


def legacy_logprobs(tokens: Sequence[Seen], offset: int) -> dict[str, Any]:
    """Four lists of one length. `offset` is where the completion begins: behind the prompt."""
    return {
        "tokens": [_spelled(seen.token.piece) for seen in tokens],
        "token_logprobs": [_finite(seen.token.logprob) for seen in tokens],
        "top_logprobs": [_alternatives(seen.token) for seen in tokens],
        "text_offset": [offset + seen.start for seen in tokens],
    }


def legacy_echo(tokens: Sequence[tuple[PromptToken, int]]) -> dict[str, Any]:
    """The same four lists for a prompt's tokens and their offsets. The first has no log-probability, whatever it has."""
    first, rest = tokens[:1], tokens[1:]
    return {
        "tokens": [_spelled(token.piece) for token, _ in tokens],
        "token_logprobs": [*(None for _ in first), *(_finite(token.logprob) for token, _ in rest)],
        "top_logprobs": [*(None for _ in first), *(_alternatives(token) for token, _ in rest)],
        "text_offset": [offset for _, offset in tokens],
    }


def _entry(token: Token) -> dict[str, Any]:
    top = [_candidate(other.piece, other.logprob) for other in token.top]
    return {**_candidate(token.piece, token.logprob), "top_logprobs": top}


def _candidate(piece: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": piece.decode("utf-8", "replace"), "logprob": _finite(logprob), "bytes": list(piece)}


def _alternatives(token: Token | PromptToken) -> dict[str, float]:
    """The likeliest and the sampled one, which need not be among them."""
    found = {_spelled(other.piece): _finite(other.logprob) for other in reversed(token.top)}
    # Reversed, so that of two ids with one spelling the likelier is kept; and back again.
    best_first = dict(reversed(found.items()))
    return {**best_first, _spelled(token.piece): _finite(token.logprob)}


def _spelled(piece: bytes) -> str:
    r"""The text, or `bytes:\xNN` where the bytes alone are none."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _finite(logprob: float | None) -> float:
    return _FLOOR if logprob is None else max(logprob, _FLOOR)

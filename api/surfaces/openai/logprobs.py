"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tropilla.api.surfaces.openai.sight import Seen
from tropilla.common.generation import Alternative, PromptToken, Token

#: For a probability of 0, whose logarithm JSON cannot say.
_FLOOR = -9999.0


class Spelt(Protocol):
    """A token, of a prompt or of an answer, or what might have come instead."""

    @property
    def id(self) -> int: ...
    @property
    def piece(self) -> bytes: ...


def chat_logprobs(tokens: Sequence[Seen], *, by_id: bool = False) -> dict[str, Any]:
    """by_id: tokens are told as `token_id:15`, so that no two look alike."""
    spell = _by_id if by_id else _readable
    return {"content": [_entry(seen.token, spell) for seen in tokens], "refusal": None}


def legacy_logprobs(tokens: Sequence[Seen], offset: int, *, by_id: bool = False) -> dict[str, Any]:
    """Four lists of one length. `offset` is where the completion begins: behind the prompt."""
    spell = _by_id if by_id else _exact
    return {
        "tokens": [spell(seen.token) for seen in tokens],
        "token_logprobs": [finite(seen.token.logprob) for seen in tokens],
        "top_logprobs": [_alternatives(seen.token, seen.token.top, spell) for seen in tokens],
        "text_offset": [offset + seen.start for seen in tokens],
    }


def legacy_echo(tokens: Sequence[tuple[PromptToken, int]], most: int, *, by_id: bool = False) -> dict[str, Any]:
    """The same four lists for a prompt's tokens and their offsets, with so many alternatives at the most. The first has no
    log-probability, whatever it has.
    """
    spell = _by_id if by_id else _exact
    first, rest = tokens[:1], tokens[1:]
    return {
        "tokens": [spell(token) for token, _ in tokens],
        "token_logprobs": [*(None for _ in first), *(finite(token.logprob) for token, _ in rest)],
        "top_logprobs": [
            *(None for _ in first),
            *(_alternatives(token, token.top[:most], spell) for token, _ in rest),
        ],
        "text_offset": [offset for _, offset in tokens],
    }


def finite(logprob: float | None) -> float:
    return _FLOOR if logprob is None else max(logprob, _FLOOR)


def _entry(token: Token, spell: _Spell) -> dict[str, Any]:
    top = [_candidate(other, other.logprob, spell) for other in token.top]
    return {**_candidate(token, token.logprob, spell), "top_logprobs": top}


def _candidate(token: Spelt, logprob: float | None, spell: _Spell) -> dict[str, Any]:
    return {"token": spell(token), "logprob": finite(logprob), "bytes": list(token.piece)}


def _alternatives(token: Token | PromptToken, top: Sequence[Alternative], spell: _Spell) -> dict[str, float]:
    """The likeliest and the sampled one, which need not be among them."""
    found = {spell(other): finite(other.logprob) for other in reversed(top)}
    # Reversed, so that of two ids with one spelling the likelier is kept; and back again.
    best_first = dict(reversed(found.items()))
    return {**best_first, spell(token): finite(token.logprob)}


_Spell = Callable[[Spelt], str]


def _readable(token: Spelt) -> str:
    """What half a character spells is for people; the bytes stand beside it."""
    return token.piece.decode("utf-8", "replace")


def _exact(token: Spelt) -> str:
    r"""The text, or `bytes:\xNN` where the bytes alone are none."""
    try:
        return token.piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.piece)


def _by_id(token: Spelt) -> str:
    return f"token_id:{token.id}"

"""Log-probabilities in OpenAI's two shapes, for exactly the tokens whose text is to be seen.

A token is seen once any of its characters is; those of a cut stop string, of an unfinished character and markers never are.
Counted in characters: the tokens' bytes, decoded as the worker decodes them, spell the text and whatever was cut from its
end, so a token is seen when it begins before the end of what has been shown.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tropilla.common.generation import Token

#: For a probability of 0, whose logarithm JSON cannot say.
_FLOOR = -9999.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A token, and how many characters of its choice stand before it."""

    token: Token
    start: int


class Sight:
    """One choice's tokens as they come into sight. Feeding all of them at once or one by one gives the same."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._waiting: deque[Seen] = deque()
        self._decoded = self._shown = 0

    def feed(self, token: Token) -> list[Seen]:
        """Takes the next token, whose log-probability must have been asked for; answers those now in sight."""
        if not token.special:
            self._waiting.append(Seen(token, self._decoded))
            self._decoded += len(self._decoder.decode(token.piece))
        self._shown += len(token.text)
        seen: list[Seen] = []
        while self._waiting and self._waiting[0].start < self._shown:
            seen.append(self._waiting.popleft())
        return seen


def sight_of(tokens: Iterable[Token]) -> list[Seen]:
    """Every token of a finished choice that is to be seen."""
    sight = Sight()
    return [seen for token in tokens for seen in sight.feed(token)]


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


def _entry(token: Token) -> dict[str, Any]:
    top = [_candidate(other.piece, other.logprob) for other in token.top]
    return {**_candidate(token.piece, token.logprob), "top_logprobs": top}


def _candidate(piece: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": piece.decode("utf-8", "replace"), "logprob": _finite(logprob), "bytes": list(piece)}


def _alternatives(token: Token) -> dict[str, float]:
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

"""Whose turn it is where requests for several adapters run together. Pure.

llama.cpp applies an adapter to a whole forward pass, so that a step serves sequences of one adapter only ("" is the model
as it is). Adapters with work take turns, the one that has waited longest first: with n of them each waits for n - 1 turns
at the most, however much the others have to do. A turn ends with its work, or after `TURN_STEPS` steps or the tokens of
one full step, whichever comes first: a long prompt keeps the streams of others waiting for one chunk, as it does its own.
"""

from __future__ import annotations

from collections.abc import Sequence

#: llama.cpp plans its buffers anew whenever the adapter changes: measured on a CPU, 0.7 ms for 5 layers and 3.8 for 32. A
#: turn of one step would spend half of a small model's time on that.
TURN_STEPS = 4


class Rotation:
    """turn_tokens: after so many a turn is over, too."""

    def __init__(self, turn_tokens: int) -> None:
        self._turn_tokens = turn_tokens
        self._current = ""
        #: Of the current turn.
        self._steps = self._tokens = 0
        #: adapter -> number of its last step; those that are not there have never had one.
        self._served: dict[str, int] = {}
        self._number = 0

    def order(self, adapters: Sequence[str]) -> list[str]:
        """The order in which they should be tried: one may have nothing that could be computed."""
        unfinished = self._steps < TURN_STEPS and self._tokens < self._turn_tokens

        def rank(adapter: str) -> tuple[bool, int]:
            return not (unfinished and adapter == self._current), self._served.get(adapter, 0)

        return sorted(adapters, key=rank)

    def stepped(self, adapter: str, tokens: int) -> None:
        """A step of so many tokens was computed with the adapter."""
        if adapter != self._current:
            self._current, self._steps, self._tokens = adapter, 0, 0
        self._steps += 1
        self._tokens += tokens
        self._number += 1
        self._served[adapter] = self._number

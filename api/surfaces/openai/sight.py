"""Which tokens of a choice are to be seen: those that a character of its text comes from.

Tokens of a cut stop string, of an unfinished character, of reasoning, of tool calls and of the marks around them never are.

Theory of operation. The tokens' bytes, decoded as the worker decodes them, spell everything the model wrote. A token's text
and reasoning are what its worker could decide by then: they stand somewhere in what is spelled and not yet accounted for,
at its beginning as a rule; behind a mark, which the worker kept to itself, further down. What stands before is skipped.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from tropilla.common.generation import Token


@dataclass(frozen=True, slots=True)
class Seen:
    """A token, and how many characters of its choice's text stand before it."""

    token: Token
    start: int


@dataclass(slots=True)
class _Spelled:
    """A token not yet accounted for: where its characters begin and end in what is pending."""

    token: Token
    start: int
    end: int
    seen: bool = False


class Sight:
    """One choice's tokens as they come into sight. Feeding all of them at once or one by one gives the same.

    everything: markers come with the text around them, and `rest` tells the tokens that never came into sight.
    markers: they are part of the text.
    """

    def __init__(self, *, everything: bool = False, markers: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._everything, self._markers = everything, markers
        self._waiting: list[_Spelled] = []
        self._pending = ""
        self._shown = 0

    def feed(self, token: Token) -> list[Seen]:
        """Takes the next token, whose log-probability must have been asked for; answers those now in sight."""
        silent = token.special and not self._markers
        if self._everything or not silent:
            start = len(self._pending)
            self._pending += "" if silent else self._decoder.decode(token.piece)
            # It reaches into a character that it only begins.
            unfinished = bool(self._decoder.getstate()[0]) and not silent
            self._waiting.append(_Spelled(token, start, len(self._pending) + unfinished))
        if token.reasoning:
            self._account(self._place(token.reasoning)[1])
        seen = self._show(token.text) if token.text else []
        if token.calls:
            # Text that follows a call begins in this token at the earliest: it is not looked for among arguments.
            last = next((each.start for each in self._waiting if each.token is token), len(self._pending))
            self._account(last)
        return seen

    def rest(self) -> list[Seen]:
        """The tokens that nothing was seen of, once the choice has ended."""
        return [Seen(each.token, self._shown + each.start) for each in self._waiting if not each.seen]

    def _show(self, text: str) -> list[Seen]:
        begin, end = self._place(text)
        found = []
        for each in self._waiting:
            # A token without characters belongs to those behind it.
            overlaps = each.start < end and (each.end > begin or each.start >= begin)
            if overlaps and not each.seen:
                each.seen = True
                found.append(Seen(each.token, self._shown + max(0, each.start - begin)))
        self._account(end)
        self._shown += len(text)
        return found

    def _place(self, text: str) -> tuple[int, int]:
        """Where in what is pending the text stands."""
        begin = 0 if self._pending.startswith(text) else max(0, self._pending.rfind(text))
        return begin, min(begin + len(text), len(self._pending))

    def _account(self, end: int) -> None:
        """Everything up to there is settled."""
        self._pending = self._pending[end:]
        self._waiting = [each for each in self._waiting if each.end > end or each.start >= end]
        for each in self._waiting:
            each.start, each.end = each.start - end, each.end - end


def sight_of(tokens: tuple[Token, ...], *, everything: bool = False, markers: bool = False) -> list[Seen]:
    """Every token of a finished choice that is to be seen."""
    sight = Sight(everything=everything, markers=markers)
    seen = [seen for token in tokens for seen in sight.feed(token)]
    return [*seen, *sight.rest()] if everything else seen

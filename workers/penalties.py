"""What a sequence's own history does to the logits of its next token: penalties for having been said before.

All of them touch few tokens, so they are applied to the row of logits in place. Each is a function of the history alone:
a sequence that is rebuilt from its tokens is penalized exactly as before.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

import numpy
from numpy.typing import NDArray
from tropilla.common.generation import Sampling

Logits = NDArray[numpy.float32]

#: Beyond these a repeat penalty overflows, and means nothing.
REPEAT_PENALTIES = (0.01, 100.0)
#: Above this a penalty's power would overflow a 32-bit float (llama.cpp's FLOAT_MAX_LOG).
_FLOAT_MAX_LOG = 88.7228391
_LARGEST = float(numpy.finfo(numpy.float32).max)
#: For how many tokens more than its prompt `Dry` has room at first.
_ROOM = 256


class Repetition:
    """llama.cpp's repeat penalty over the last tokens, prompt included; presence and frequency over what was generated."""

    def __init__(self, sampling: Sampling, *, context: int, prompt: Sequence[int]) -> None:
        low, high = REPEAT_PENALTIES
        self._penalty = min(max(sampling.repeat_penalty, low), high)
        self._presence, self._frequency = sampling.presence_penalty, sampling.frequency_penalty
        last = context if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context)
        self._window = deque(prompt[-last:] if last else (), maxlen=last)
        self._seen = Counter(self._window)
        self._generated: Counter[int] = Counter()

    @staticmethod
    def wanted(sampling: Sampling) -> bool:
        repeats = sampling.repeat_penalty != 1.0 and sampling.repeat_last_n != 0
        return bool(repeats or sampling.presence_penalty or sampling.frequency_penalty)

    def apply(self, row: Logits) -> None:
        if self._penalty != 1.0 and self._seen:
            ids = numpy.fromiter(self._seen, numpy.int64, len(self._seen))
            values = row[ids]
            row[ids] = numpy.where(values > 0, values / self._penalty, values * self._penalty)
        if self._generated and (self._presence or self._frequency):
            ids = numpy.fromiter(self._generated, numpy.int64, len(self._generated))
            counts = numpy.fromiter(self._generated.values(), numpy.float32, len(self._generated))
            row[ids] -= counts * numpy.float32(self._frequency) + numpy.float32(self._presence)

    def accept(self, token: int) -> None:
        self._generated[token] += 1
        if self._penalty == 1.0 or self._window.maxlen == 0:
            return
        if len(self._window) == self._window.maxlen:
            oldest = self._window[0]
            self._seen[oldest] -= 1
            if not self._seen[oldest]:
                del self._seen[oldest]
        self._window.append(token)
        self._seen[token] += 1


class Dry:
    """DRY (https://github.com/oobabooga/text-generation-webui/pull/5677): a token that would extend a repetition of more
    than `dry_allowed_length` tokens loses multiplier * base ** (length - allowed).

    `breaks` says whether a token contains one of the sequence breakers: no repetition reaches across it. `_lengths[i]`
    is how many tokens up to and including place i repeat the end of the history; from one end to the next each is its
    neighbour's plus one, or 0.
    """

    def __init__(
        self, sampling: Sampling, *, context: int, prompt: Iterable[int], breaks: Callable[[int], bool]
    ) -> None:
        self._multiplier, self._base = sampling.dry_multiplier, sampling.dry_base
        self._allowed = sampling.dry_allowed_length
        self._last = context if sampling.dry_penalty_last_n < 0 else min(sampling.dry_penalty_last_n, context)
        self._breaks = breaks
        history = list(prompt)[-self._last :]
        self._size = len(history)
        self._history = numpy.array([*history, *[0] * _ROOM], numpy.int64)
        self._lengths = numpy.zeros_like(self._history)
        self._lengths[: self._size] = _repeated(history, breaks)

    @staticmethod
    def wanted(sampling: Sampling) -> bool:
        return sampling.dry_multiplier != 0.0 and sampling.dry_base >= 1.0 and sampling.dry_penalty_last_n != 0

    def accept(self, token: int) -> None:
        if self._size == self._history.size:
            self._make_room()
        size = self._size
        self._history[size] = token
        # Place by place: the end moved on by one, so what matched at i - 1 matches at i if the token does.
        longer = numpy.concatenate(([0], self._lengths[: max(size - 1, 0)]))[:size] + 1
        same = self._history[:size] == token
        self._lengths[:size] = 0 if self._breaks(token) else numpy.where(same, longer, 0)
        self._lengths[size] = 0
        self._size = size + 1

    def _make_room(self) -> None:
        """Forgets what will never be looked at again: a sequence may grow far beyond its context, shifting it."""
        kept = slice(max(self._size - self._last, 0), self._size)
        room = numpy.zeros(max(self._last // 4, _ROOM), numpy.int64)
        self._history = numpy.concatenate((self._history[kept], room))
        self._lengths = numpy.concatenate((self._lengths[kept], room))
        self._size = kept.stop - kept.start

    def apply(self, row: Logits) -> None:
        start = max(self._size - self._last, 0)
        if self._size - start <= self._allowed:
            return
        places = numpy.arange(start, self._size - 1)
        # Within the window only: a repetition is no longer than what of it lies inside.
        lengths = numpy.minimum(self._lengths[places], places - start + 1)
        places, lengths = places[lengths >= self._allowed], lengths[lengths >= self._allowed]
        # Shortest first, so that of a token's repetitions the longest stays.
        order = numpy.argsort(lengths)
        longest = dict(zip(self._history[places[order] + 1].tolist(), lengths[order].tolist(), strict=True))
        most = int(_FLOAT_MAX_LOG / numpy.log(self._base)) if self._base > 1.000001 else sys.maxsize
        for token, length in longest.items():
            if not self._breaks(token):
                lost = self._multiplier * self._base ** min(length - self._allowed, most)
                row[token] -= numpy.float32(lost if lost < _LARGEST else numpy.inf)


def _repeated(history: Sequence[int], breaks: Callable[[int], bool]) -> list[int]:
    """`_lengths` of a whole history: the Z algorithm, from the end backwards. Linear, which one `accept` after the other
    is not: a second for 30,000 tokens.
    """
    size = len(history)
    # No repetition is longer than what follows the last breaker.
    limit = next((back for back, token in enumerate(reversed(history)) if breaks(token)), size)
    backwards = history[::-1]
    lengths = [0] * size
    left = right = 0
    for at in range(1, size):
        length = min(lengths[at - left], right - at) if at < right else 0
        while at + length < size and backwards[length] == backwards[at + length]:
            length += 1
        lengths[at] = length
        if at + length > right:
            left, right = at, at + length
    return [min(length, limit) for length in reversed(lengths)]

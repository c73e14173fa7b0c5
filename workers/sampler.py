"""How one sequence draws its tokens: logits in, a token id out.

The order is llama.cpp's and every dialect's upstream's: what may not come, penalties, then top_n_sigma, top_k, typical_p,
top_p, min_p, XTC, temperature, one draw. Chance is a function of (seed, how many tokens were drawn before), not a stream of
random numbers: a sequence that another worker rebuilds from its tokens draws on as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy
from numpy.typing import NDArray
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import BAN, Sampling
from tropilla.workers import filters
from tropilla.workers.filters import Candidates
from tropilla.workers.penalties import Dry, Repetition

Logits = NDArray[numpy.float32]

#: Below this a temperature is greedy: dividing logits by it would overflow.
GREEDY_BELOW = 1e-4
#: A candidate this much (times the temperature) below the best is worth less than 2e-11 of it: never drawn, nor sorted.
NEGLIGIBLE = 25.0
#: Among how many of the likeliest top_p is looked for, one after the other, before everything is sorted.
LOOKS = (512, 8192)
#: The m of the mirostat paper, and what llama.cpp passes.
MIROSTAT_M = 100
#: TGI's: the green list is drawn from this times the last token's id.
WATERMARK_PRIME = 15_485_863
#: A row's largest logit -> why no token can be drawn.
_UNUSABLE = {-math.inf: "no token is left that may come next", math.inf: "the model computed an infinite logit"}


class Matcher(Protocol):
    """What a grammar does to a draw: `constraint.Matcher`."""

    @property
    def ended(self) -> bool: ...
    def mask(self, row: Logits) -> None: ...
    def accept(self, token: int) -> None: ...


def chance(seed: int, place: int, use: str = "") -> float:
    """A number in [0, 1), evenly spread, always the same for the same arguments."""
    digest = hashlib.blake2b(f"{seed}/{place}/{use}".encode(), digest_size=8).digest()
    # As many bits as a float has: with more the largest would be rounded to 1.
    return (int.from_bytes(digest, "little") >> 11) / 2.0**53


class Sampler:
    """Owned by one sequence; draws and accepts in turn.

    prompt: for penalties. bias: token id -> what its logit gains; at `BAN` and below it may not come. held_back: ids that
    may not come before `min_tokens` were drawn. breaks: of DRY, see there.

    Constructed with the same prompt and having accepted the same tokens, another one draws the same rest. Except with
    mirostat: how surprising earlier tokens were is known from their logits only, so it starts anew from its target.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        context: int,
        prompt: Sequence[int] = (),
        bias: Mapping[int, float] | None = None,
        held_back: Sequence[int] = (),
        min_tokens: int = 0,
        matcher: Matcher | None = None,
        breaks: Callable[[int], bool] = lambda token: False,
    ) -> None:
        self.sampling = sampling
        self.matcher = matcher
        self.drawn = 0
        self._bias = dict(bias or {})
        self._bias_ids = numpy.fromiter(self._bias, numpy.int64, len(self._bias))
        values = numpy.fromiter(self._bias.values(), numpy.float64, len(self._bias))
        # Truly banned: as a very low logit it would spoil a standard deviation, and come when nothing else may.
        self._bias_values = numpy.where(values <= BAN, -numpy.inf, values).astype(numpy.float32)
        self._held_back = numpy.array(held_back, numpy.int64)
        self._min_tokens = min_tokens
        self._last = prompt[-1] if prompt else 0
        self._penalties: list[Repetition | Dry] = []
        if Repetition.wanted(sampling):
            self._penalties.append(Repetition(sampling, context=context, prompt=prompt))
        if Dry.wanted(sampling):
            self._penalties.append(Dry(sampling, context=context, prompt=prompt, breaks=breaks))
        self._surprise = 2.0 * sampling.mirostat_tau
        truncates = sampling.top_k > 0 or sampling.min_p > 0.0 or sampling.top_n_sigma > 0.0
        self._sorts = truncates or min(sampling.top_p, sampling.typical_p) < 1.0 or sampling.xtc_probability > 0.0

    @property
    def ended(self) -> bool:
        """The grammar allows nothing more."""
        return self.matcher is not None and self.matcher.ended

    @property
    def slow(self) -> bool:
        """Whether a draw sorts or computes over much of the vocabulary, and so gains from a thread of its own."""
        sampling = self.sampling
        if sampling.watermark_delta:
            return True
        sorts = sampling.typical_p < 1.0 or sampling.top_p < 1.0 or sampling.xtc_probability > 0.0 or sampling.mirostat
        return bool(sampling.temperature >= GREEDY_BELOW and not sampling.top_k and sorts)

    @property
    def edits(self) -> bool:
        """Whether the next draw changes its row of logits."""
        early = self.drawn < self._min_tokens
        constrained = self.matcher is not None
        return bool(self._penalties or self._bias or early or constrained or self.sampling.watermark_delta)

    def draw(self, row: Logits) -> int:
        """The next token, accepted. row: raw logits, shape (vocabulary,), changed in place if `edits`.

        Raises `GenerationFailed` when there is nothing to choose from.
        """
        if self.edits:
            self._edit(row)
        token = self._choose(row)
        self.accept(token)
        return token

    def accept(self, token: int) -> None:
        """As if the token had been drawn."""
        self.drawn += 1
        self._last = token
        for penalty in self._penalties:
            penalty.accept(token)
        if self.matcher is not None:
            self.matcher.accept(token)

    def _edit(self, row: Logits) -> None:
        if self._bias:
            row[self._bias_ids] += self._bias_values
        if self.drawn < self._min_tokens:
            row[self._held_back] = -numpy.inf
        if self.matcher is not None:
            self.matcher.mask(row)
        for penalty in self._penalties:
            penalty.apply(row)
        if self.sampling.watermark_delta:
            green = green_list(self._last, row.size, self.sampling.watermark_gamma)
            row += green * numpy.float32(self.sampling.watermark_delta)

    def _choose(self, row: Logits) -> int:
        sampling = self.sampling
        drawn = chance(sampling.seed, self.drawn)
        if sampling.top_k > 0 and sampling.temperature >= GREEDY_BELOW and not sampling.mirostat:
            candidates = self._leading(row)
        else:
            likeliest = int(row.argmax())
            peak = _usable(float(row[likeliest]))
            if sampling.temperature < GREEDY_BELOW:
                return likeliest
            if sampling.mirostat:
                return self._mirostat(row, drawn)
            if not self._sorts:
                return filters.pick_any(row, peak, filters.heat(row, sampling), drawn)
            candidates = self._candidates(row, peak)
        if sampling.xtc_probability > 0.0:
            luck = chance(sampling.seed, self.drawn, "xtc")
            candidates = filters.without_obvious(
                candidates, sampling.xtc_threshold, drawn=luck, probability=sampling.xtc_probability
            )
        return filters.pick(candidates, filters.heat(candidates.logits, sampling), drawn)

    def _leading(self, row: Logits) -> Candidates:
        """Of the top k those that every other filter leaves. One look at the row, which is what a draw costs."""
        candidates = filters.best(row, min(self.sampling.top_k, row.size))
        _usable(float(candidates.logits[0]) if candidates.ids.size else -math.inf)
        if self.sampling.top_n_sigma > 0.0:
            candidates = candidates[candidates.logits >= filters.within_sigma(row, self.sampling.top_n_sigma)]
        return self._narrowed(candidates)

    def _candidates(self, row: Logits, peak: float) -> Candidates:
        sampling = self.sampling
        floor = filters.within_sigma(row, sampling.top_n_sigma) if sampling.top_n_sigma > 0.0 else -numpy.inf
        whole = None
        if sampling.top_p < 1.0 and sampling.typical_p >= 1.0 and floor == -numpy.inf:
            candidates, whole = self._beginning(row, peak)
        else:
            alone = sampling.typical_p >= 1.0 and sampling.top_p >= 1.0
            reach = -math.log(min(sampling.min_p, 1.0)) if alone and sampling.min_p > 0.0 else numpy.inf
            # How even they are depends on how many they are.
            negligible = numpy.inf if sampling.dynatemp_range else NEGLIGIBLE * max(sampling.temperature, 1.0)
            candidates = filters.above(row, max(floor, peak - min(reach, negligible)))
        return self._narrowed(candidates, whole)

    def _narrowed(self, candidates: Candidates, whole: float | None = None) -> Candidates:
        """whole: the log of the sum over all, where the candidates are only the beginning."""
        sampling = self.sampling
        if sampling.typical_p < 1.0:
            candidates = filters.typical(candidates, sampling.typical_p)
        if sampling.top_p < 1.0:
            candidates = filters.nucleus(candidates, sampling.top_p, whole)
        if sampling.min_p > 0.0:
            candidates = filters.at_least(candidates, sampling.min_p)
        return candidates

    def _beginning(self, row: Logits, peak: float) -> tuple[Candidates, float]:
        """Enough of the likeliest tokens to reach top_p, and the log of the sum over all."""
        whole = filters.log_sum(row, peak)
        for look in LOOKS:
            first = filters.best(row, min(look, row.size))
            if float(numpy.exp(first.logits - whole).sum()) >= self.sampling.top_p:
                return first, whole
        return filters.best(row, row.size), whole

    def _mirostat(self, row: Logits, drawn: float) -> int:
        """Keeps the surprise near tau (Basu et al. 2021); version 1 estimates k, version 2 cuts at the surprise itself."""
        kept = self._kept_by_mirostat(row)
        token = filters.pick(kept, 1.0, drawn)
        self._learn(kept, token)
        return token

    def _kept_by_mirostat(self, row: Logits) -> Candidates:
        scaled = row / numpy.float32(self.sampling.temperature)
        peak = float(scaled.max())
        whole = filters.log_sum(scaled, peak)
        if self.sampling.mirostat == 1:
            head = filters.best(scaled, min(MIROSTAT_M, row.size))
            return filters.best(scaled, filters.mirostat_k(head.logits - whole, self._surprise, row.size))
        return filters.above(scaled, min(whole - self._surprise * math.log(2.0), peak))

    def _learn(self, kept: Candidates, token: int) -> None:
        chosen = kept.probabilities[int(numpy.flatnonzero(kept.ids == token)[0])]
        self._surprise -= self.sampling.mirostat_eta * (-math.log2(chosen) - self.sampling.mirostat_tau)


def _usable(peak: float) -> float:
    """NaN, where there is one, is the "largest": unseen, it would be drawn, or left out, without a word."""
    if not math.isfinite(peak):
        raise GenerationFailed(_UNUSABLE.get(peak, "the model computed logits that are not numbers"))
    return peak


def green_list(last: int, vocabulary: int, share: float) -> NDArray[numpy.bool_]:
    """Which tokens the watermark favours after `last` (contracts, tgi sheet, section 6), shape (vocabulary,)."""
    generator = numpy.random.Generator(numpy.random.PCG64(WATERMARK_PRIME * last))
    return generator.random(vocabulary, dtype=numpy.float32) < share

"""Truncation: what is kept is what llama.cpp's own samplers keep, and `best` is a stable sort."""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import llama_cpp
import numpy
import pytest
from numpy.typing import NDArray
from tropilla.workers import filters
from tropilla.workers.filters import Candidates

Logits = NDArray[numpy.float32]
Filter = Callable[[Candidates], Candidates]

TOKEN = numpy.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
VOCABULARIES = (7, 300, 5_000, 50_000)
SHAPES = ("gaussian", "peaked", "tied", "banned", "flat")


def row_of(shape: str, vocabulary: int, seed: int = 0) -> Logits:
    generator = numpy.random.default_rng([seed, vocabulary])
    row = generator.standard_normal(vocabulary) * 3
    match shape:
        case "peaked":
            row[generator.integers(0, vocabulary, max(vocabulary // 50, 2))] += generator.exponential(6)
        case "tied":
            row = numpy.round(row)
        case "banned":
            row[generator.random(vocabulary) < 0.6] = -numpy.inf
            row[vocabulary // 2] = 1.0
        case "flat":
            row /= 100
    return row.astype(numpy.float32)


def judged(sampler: Any, given: Candidates) -> Candidates:
    """What one of llama.cpp's samplers makes of the candidates."""
    tokens = numpy.zeros(given.ids.size, TOKEN)
    tokens["id"], tokens["logit"] = given.ids, given.logits
    data = ctypes.cast(tokens.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
    array = llama_cpp.llama_token_data_array(data=data, size=tokens.size, selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
    llama_cpp.llama_sampler_free(sampler)
    # XTC moves the beginning.
    first = (ctypes.addressof(array.data.contents) - tokens.ctypes.data) // TOKEN.itemsize
    kept = tokens[first : first + array.size]
    kept = kept[kept["logit"] > -numpy.inf]
    kept = kept[numpy.lexsort((kept["id"], -kept["logit"]))]
    return Candidates(kept["id"].astype(numpy.int64), kept["logit"].astype(numpy.float64))


def disagreement(one: Candidates, other: Candidates, row: Logits) -> float:
    """The probability of what only one of them has; which of several tied tokens it has does not matter."""
    left, right = (Counter(candidates.logits.tolist()) for candidates in (one, other))
    total = filters.log_sum(row, float(row.max()))
    return sum(count * math.exp(logit - total) for logit, count in ((left - right) + (right - left)).items())


def tolerance(row: Logits) -> float:
    """llama.cpp adds probabilities up one by one in 32 bits; a limit that falls on that error cuts elsewhere. More so where
    all tokens are about as likely: there typical_p orders them by differences as small as the error.
    """
    if row.size <= 300:
        return 0.0
    return 3e-3 if row.max() < 1.0 else 3e-4


def everything(row: Logits) -> Candidates:
    return filters.above(row, -numpy.inf)


#: name -> amounts, llama.cpp's sampler, ours
FILTERS: dict[str, tuple[tuple[float, ...], Callable[[float], Any], Callable[[Logits, float], Candidates]]] = {
    "top_k": (
        (1, 3, 40, 1000, 10**6),
        lambda k: llama_cpp.llama_sampler_init_top_k(int(k)),
        lambda row, k: filters.best(row, min(int(k), row.size)),
    ),
    "top_p": (
        (0.0, 1e-6, 0.3, 0.9, 0.99),
        lambda p: llama_cpp.llama_sampler_init_top_p(p, 1),
        lambda row, p: filters.nucleus(everything(row), p),
    ),
    "min_p": (
        (1e-6, 0.05, 0.5, 1.0),
        lambda p: llama_cpp.llama_sampler_init_min_p(p, 1),
        lambda row, p: filters.at_least(everything(row), p),
    ),
    "typical_p": (
        (0.0, 0.05, 0.5, 0.95),
        lambda p: llama_cpp.llama_sampler_init_typical(p, 1),
        lambda row, p: filters.typical(everything(row), p),
    ),
    "top_n_sigma": (
        (0.1, 1.0, 2.5),
        llama_cpp.llama_sampler_init_top_n_sigma,
        lambda row, n: filters.above(row, filters.within_sigma(row, n)),
    ),
    "xtc": (
        (0.0, 1e-3, 0.1, 0.5, 0.6),
        lambda threshold: llama_cpp.llama_sampler_init_xtc(1.0, threshold, 1, 0),
        lambda row, threshold: filters.without_obvious(everything(row), threshold, drawn=0.5, probability=1.0),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_keeps_what_llama_cpp_keeps(name: str, vocabulary: int, shape: str) -> None:
    amounts, theirs, ours = FILTERS[name]
    row = row_of(shape, vocabulary)
    for amount in amounts:
        kept, expected = ours(row, amount), judged(theirs(amount), everything(row))
        assert disagreement(kept, expected, row) <= tolerance(row), amount
        assert kept.ids.size > 0


@pytest.mark.parametrize("seed", range(60))
def test_filters_one_after_the_other_keep_what_llama_cpp_keeps(seed: int) -> None:
    generator = numpy.random.default_rng(seed)
    row = row_of(str(generator.choice(SHAPES)), int(generator.choice(VOCABULARIES)), seed)
    ours = theirs = everything(row)
    k, typical, p, share = int(generator.integers(1, 400)), *generator.uniform(0.2, 1.0, 2), generator.uniform(0.0, 0.2)
    steps: list[tuple[Any, Filter]] = [
        (llama_cpp.llama_sampler_init_top_k(k), lambda c: c[:k]),
        (llama_cpp.llama_sampler_init_typical(typical, 1), lambda c: filters.typical(c, typical)),
        (llama_cpp.llama_sampler_init_top_p(p, 1), lambda c: filters.nucleus(c, p)),
        (llama_cpp.llama_sampler_init_min_p(share, 1), lambda c: filters.at_least(c, share)),
    ]
    for sampler, ours_too in steps:
        if generator.random() < 0.7:
            ours, theirs = ours_too(ours), judged(sampler, theirs)
            assert disagreement(ours, theirs, row) <= tolerance(row)


def test_a_share_above_1_keeps_the_likeliest() -> None:
    assert filters.at_least(everything(row_of("gaussian", 300)), 1.5).ids.size == 1


def test_xtc_happens_with_its_probability() -> None:
    row = row_of("flat", 7)
    candidates = everything(row)
    cut = filters.without_obvious(candidates, 0.01, drawn=0.3, probability=0.3)
    assert cut.ids.tolist() == [int(row.argmin())]
    assert filters.without_obvious(candidates, 0.01, drawn=0.31, probability=0.3) is candidates


def test_a_nucleus_of_the_beginning_is_the_nucleus_of_all() -> None:
    row = row_of("gaussian", 5_000)
    total = filters.log_sum(row, float(row.max()))
    for mass in (0.0, 0.1, 0.5, 0.8):
        beginning = filters.nucleus(filters.best(row, 512), mass, total)
        assert beginning.ids.tolist() == filters.nucleus(everything(row), mass).ids.tolist()


def counts(size: int) -> Iterator[int]:
    """All of them where there are few; else around every place where `best` goes another way."""
    if size <= 300:
        yield from range(1, size + 5)
    else:
        edges = {size // (2 * rows) for rows in range(1, 66)} | {1, 2, 40, 512, 2047, 2048, size, size + 7}
        yield from sorted({max(edge + step, 1) for edge in edges for step in (-1, 0, 1)})


def by_stable_sort(row: Logits, count: int) -> list[int]:
    ids = numpy.argsort(-row, kind="stable")
    return [int(token) for token in ids[row[ids] > -numpy.inf][:count]]


@pytest.mark.parametrize("shape", [*SHAPES, "one", "same", "rising"])
@pytest.mark.parametrize("size", [1, 2, 3, 63, 64, 65, 127, 129, 300, 4_999, 8_192, 30_011])
def test_best_is_the_beginning_of_a_stable_sort(size: int, shape: str) -> None:
    match shape:
        case "one":
            row = numpy.full(size, -numpy.inf, numpy.float32)
            row[size // 3] = -5.0
        case "same":
            row = numpy.zeros(size, numpy.float32)
        case "rising":
            row = numpy.arange(size, dtype=numpy.float32)
        case _:
            row = row_of(shape, size) if size > 1 else numpy.ones(1, numpy.float32)
    expected = by_stable_sort(row, size)
    for count in counts(size):
        found = filters.best(row, count)
        assert found.ids.tolist() == expected[:count], count
        assert (found.logits == row[found.ids]).all()


def test_zero_and_minus_zero_are_tied() -> None:
    row = numpy.where(numpy.arange(5_000) % 3 == 0, -0.0, 0.0).astype(numpy.float32)
    assert filters.above(row, -1.0).ids.tolist() == list(range(5_000))


def test_above_takes_the_floor_itself_and_no_ban() -> None:
    row = numpy.array([1.0, -numpy.inf, 3.0, 2.0, -3e38], numpy.float32)
    assert filters.above(row, 2.0).ids.tolist() == [2, 3]
    assert filters.above(row, -numpy.inf).ids.tolist() == [2, 3, 0, 4]


def test_a_mass_that_is_reached_exactly_is_reached() -> None:
    even = filters.best(numpy.zeros(4, numpy.float32), 4)
    assert [filters.nucleus(even, mass).ids.size for mass in (0.25, 0.5, 0.75, 1.0)] == [1, 2, 3, 4]
    assert [filters.typical(even, mass).ids.size for mass in (0.25, 0.5, 0.75)] == [2, 3, 4]


def test_typical_copes_with_probabilities_too_small_to_write_down() -> None:
    candidates = Candidates(numpy.arange(3), numpy.array([0.0, -1.0, -2000.0]))
    assert filters.typical(candidates, 0.9).ids.tolist() == [0, 1]


def shares(count: int) -> list[float]:
    return [*((numpy.arange(count) + 0.5) / count).tolist(), 0.0, 1.0 - 2.0**-53]


@pytest.mark.parametrize("temperature", [0.001, 0.7, 1.0, 3.0, 1e30, math.inf])
@pytest.mark.parametrize("shape", SHAPES)
def test_evenly_spread_shares_pick_tokens_as_often_as_they_are_likely(shape: str, temperature: float) -> None:
    row = row_of(shape, 1_300)
    peak = float(row.max())
    known = everything(row)
    weights = numpy.zeros(row.size)
    weights[known.ids] = numpy.exp((known.logits - peak) / temperature)
    expected = 20_000 * weights / weights.sum()
    ways: list[Callable[[float], int]] = [
        lambda drawn: filters.pick(known, temperature, drawn),
        lambda drawn: filters.pick_any(row, peak, temperature, drawn),
    ]
    for choose in ways:
        found = numpy.bincount([choose(drawn) for drawn in shares(20_000)[:-2]], minlength=row.size)
        assert numpy.abs(found - expected).max() <= 2.0
        assert {choose(drawn) for drawn in shares(1)} <= set(numpy.flatnonzero(weights).tolist())


def test_whatever_is_drawn_a_ban_is_not_picked() -> None:
    row = numpy.full(2_000, -numpy.inf, numpy.float32)
    row[[5, 511, 512, 1_999]] = [0.0, -90.0, 0.0, -80.0]
    for drawn in (*shares(500), 0.5, math.nextafter(0.5, 0.0), math.nextafter(0.5, 1.0)):
        for temperature in (0.01, 1.0, 1e9):
            assert row[filters.pick_any(row, 0.0, temperature, drawn)] > -numpy.inf

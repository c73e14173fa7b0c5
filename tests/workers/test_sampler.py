"""Drawing: as likely as it should be, always the same, and the same again after a sequence was rebuilt."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import llama_cpp
import numpy
import pytest
from numpy.typing import NDArray
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import BAN, Sampling
from tropilla.workers import filters
from tropilla.workers.sampler import GREEDY_BELOW, Sampler, chance, green_list

Logits = NDArray[numpy.float32]

TOKEN = numpy.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
CONTEXT = 256
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 1, 4, 1]


def row_of(size: int, seed: int = 0, spread: float = 2.0) -> Logits:
    return (numpy.random.default_rng([seed, size]).standard_normal(size) * spread).astype(numpy.float32)


def sampler(sampling: Sampling, prompt: Sequence[int] = PROMPT, **options: Any) -> Sampler:
    return Sampler(sampling, context=CONTEXT, prompt=prompt, **options)


def draws(one: Sampler, count: int, size: int = 60) -> list[int]:
    """Of rows that depend on the place alone, as a model's would."""
    return [one.draw(row_of(size, one.drawn)) for _ in range(count)]


def judged(theirs: Any, tokens: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """What one of llama.cpp's samplers leaves of the candidates, and the id it selects."""
    data = ctypes.cast(tokens.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
    array = llama_cpp.llama_token_data_array(data=data, size=tokens.size, selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(theirs, ctypes.byref(array))
    # XTC moves the beginning.
    first = (ctypes.addressof(array.data.contents) - tokens.ctypes.data) // TOKEN.itemsize
    left = tokens[first : first + array.size]
    selected = int(left["id"][array.selected]) if array.selected >= 0 else -1
    return left[left["logit"] > -numpy.inf], selected


def tokens_of(row: Logits) -> NDArray[Any]:
    tokens = numpy.zeros(row.size, TOKEN)
    tokens["id"], tokens["logit"] = numpy.arange(row.size), row
    return tokens


def chain_of(sampling: Sampling) -> list[Any]:
    """In our order. XTC happens always or never: theirs has its own chance."""
    s = sampling
    presence, frequency = s.presence_penalty, s.frequency_penalty
    return [
        llama_cpp.llama_sampler_init_penalties(0, s.repeat_last_n, s.repeat_penalty, frequency, presence),
        llama_cpp.llama_sampler_init_dry(
            None, s.dry_multiplier, s.dry_base, s.dry_allowed_length, s.dry_penalty_last_n, None, 0
        ),
        llama_cpp.llama_sampler_init_top_n_sigma(s.top_n_sigma),
        llama_cpp.llama_sampler_init_top_k(s.top_k),
        llama_cpp.llama_sampler_init_typical(s.typical_p, 1),
        llama_cpp.llama_sampler_init_top_p(s.top_p, 1),
        llama_cpp.llama_sampler_init_min_p(s.min_p, 1),
        llama_cpp.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, 0),
        llama_cpp.llama_sampler_init_temp_ext(s.temperature, s.dynatemp_range, s.dynatemp_exponent),
    ]


def probabilities(sampling: Sampling, row: Logits, said: Sequence[int]) -> NDArray[numpy.float64]:
    """Of every token, says llama.cpp."""
    tokens = tokens_of(row)
    for theirs in chain_of(sampling):
        for token in said:
            llama_cpp.llama_sampler_accept(theirs, token)
        tokens, _ = judged(theirs, tokens)
        llama_cpp.llama_sampler_free(theirs)
    found = numpy.zeros(row.size)
    found[tokens["id"]] = numpy.exp(tokens["logit"].astype(numpy.float64) - tokens["logit"].max())
    return numpy.asarray(found / found.sum())


def combination(seed: int) -> Sampling:
    """Some of everything, drawn from a seed."""
    generator = numpy.random.default_rng(seed)
    values: Mapping[str, Any] = {
        "repeat_penalty": generator.uniform(0.8, 1.5),
        "presence_penalty": generator.uniform(-1, 1),
        "frequency_penalty": generator.uniform(-1, 1),
        "dry_multiplier": generator.uniform(0.1, 2.0),
        "top_n_sigma": generator.uniform(0.5, 3.0),
        "top_k": int(generator.integers(1, 200)),
        "typical_p": generator.uniform(0.2, 1.0),
        "top_p": generator.uniform(0.1, 1.0),
        "min_p": generator.uniform(0.0, 0.2),
        "xtc_probability": 1.0,
        "dynatemp_range": generator.uniform(0.1, 2.5),
        "dynatemp_exponent": generator.uniform(0.2, 3.0),
    }
    chosen = {name: value for name, value in values.items() if generator.random() < 0.5}
    return Sampling(
        temperature=generator.uniform(0.3, 2.0), repeat_last_n=64, dry_penalty_last_n=100, xtc_threshold=0.05, **chosen
    )  # fmt: skip


@pytest.mark.parametrize("size", [7, 300, 5_000, 50_000])
@pytest.mark.parametrize("seed", range(25))
def test_any_combination_gives_tokens_the_probability_they_have_in_llama_cpp(seed: int, size: int) -> None:
    sampling = combination(seed)
    said = numpy.random.default_rng(seed).integers(0, min(size, 12), 60).tolist()
    row = row_of(size, seed)
    row[:: seed + 2] = -numpy.inf
    ours = sampler(sampling, prompt=())
    for token in said:
        ours.accept(token)
    expected = probabilities(sampling, row, said)
    edited = row.copy()
    ours._edit(edited)
    candidates = ours._leading(edited) if sampling.top_k else ours._candidates(edited, float(edited.max()))
    if sampling.xtc_probability:
        candidates = filters.without_obvious(candidates, sampling.xtc_threshold, drawn=0.0, probability=1.0)
    found = numpy.zeros(size)
    heat = filters.heat(candidates.logits, sampling)
    weights = numpy.exp((candidates.logits - candidates.logits[0]) / heat)
    found[candidates.ids] = weights / weights.sum()
    numpy.testing.assert_allclose(found, expected, atol=1e-4)


DISTRIBUTIONS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(temperature=2.0),
    Sampling(temperature=0.8, top_k=9),
    Sampling(temperature=1.3, top_p=0.9),
    Sampling(temperature=1.5, min_p=0.05),
    Sampling(typical_p=0.7),
    Sampling(top_n_sigma=1.5),
    Sampling(temperature=0.7, top_k=40, top_p=0.95, min_p=0.02, typical_p=0.95),
    Sampling(xtc_probability=1.0, xtc_threshold=0.1),
    Sampling(dynatemp_range=0.8),
    Sampling(temperature=0.6, dynatemp_range=1.2, dynatemp_exponent=2.0, top_k=20),
]


@pytest.mark.parametrize("sampling", DISTRIBUTIONS)
@pytest.mark.parametrize("size", [30, 1_100])
def test_what_is_drawn_follows_the_probabilities(sampling: Sampling, size: int) -> None:
    row = row_of(size)
    expected = 6_000 * probabilities(sampling, row, ())
    drawn: list[int] = []
    for seed in range(3):
        one = sampler(replace(sampling, seed=seed))
        drawn += [one.draw(row) for _ in range(2_000)]
    found = numpy.bincount(drawn, minlength=size)
    assert (found[expected == 0] == 0).all()
    # Pearson's, over what is expected often enough, and the rest as one.
    often = expected >= 5
    pairs = [*zip(found[often], expected[often], strict=True), (found[~often].sum(), expected[~often].sum())]
    pairs = [(f, e) for f, e in pairs if e > 0]
    statistic = sum((f - e) ** 2 / e for f, e in pairs)
    freedom = len(pairs) - 1
    assert statistic <= freedom + 4 * math.sqrt(2 * freedom)


def test_chance_is_even_and_knows_no_order() -> None:
    places = [(seed, place) for seed in (0, 1, 2**32 - 2) for place in range(5_000)]
    values = numpy.array([chance(*place) for place in places])
    assert [chance(*place) for place in reversed(places)] == values[::-1].tolist()
    assert (values >= 0).all()
    assert (values < 1).all()
    counts = numpy.histogram(values, 100, (0, 1))[0]
    assert ((counts - 150) ** 2 / 150).sum() < 99 + 4 * math.sqrt(2 * 99)
    for other in (values[1:], values[5_000:], numpy.array([chance(*place, "xtc") for place in places])):
        assert abs(numpy.corrcoef(values[: other.size], other)[0, 1]) < 0.03


@pytest.mark.parametrize("temperature", [0.0, GREEDY_BELOW / 2, -1.0])
def test_too_cold_is_greedy_and_of_ties_the_first(temperature: float) -> None:
    row = numpy.array([0.0, 2.0, 1.0, 2.0], numpy.float32)
    cold = Sampling(temperature=temperature, top_k=1, top_p=0.1, xtc_probability=1.0, mirostat=2, min_p=0.9)
    assert sampler(cold).draw(row) == 1


def test_just_warm_enough_is_nearly_greedy() -> None:
    for sampling in (Sampling(temperature=GREEDY_BELOW), Sampling(temperature=GREEDY_BELOW, top_k=5)):
        one = sampler(sampling)
        assert [one.draw(row_of(50, place)) for place in range(50)] == [row_of(50, p).argmax() for p in range(50)]


def test_of_ties_filters_keep_the_first() -> None:
    row = numpy.zeros(5_000, numpy.float32)
    for sampling in (Sampling(top_k=3), Sampling(top_p=3 / 5_000 - 1e-6), Sampling(typical_p=3 / 5_000 - 1e-6)):
        one = sampler(sampling)
        assert {one.draw(row) for _ in range(60)} == {0, 1, 2}


class Alternating:
    """A grammar: even and odd tokens in turn."""

    def __init__(self) -> None:
        self._odd = 0

    @property
    def ended(self) -> bool:
        return False

    def mask(self, row: Logits) -> None:
        row[self._odd :: 2] = -numpy.inf

    def accept(self, token: int) -> None:
        assert token % 2 != self._odd
        self._odd = 1 - self._odd


WARM = Sampling(temperature=1.5, seed=7)
#: name -> sampling, and what else a sampler is made of. Mirostat alone is not among them: see `Sampler`.
REBUILT: dict[str, tuple[Sampling, Callable[[], dict[str, Any]]]] = {
    "greedy": (replace(WARM, temperature=0.0), dict),
    "temperature": (WARM, dict),
    "top_k": (replace(WARM, top_k=8), dict),
    "top_p": (replace(WARM, top_p=0.8), dict),
    "min_p": (replace(WARM, min_p=0.1), dict),
    "typical": (replace(WARM, typical_p=0.6), dict),
    "top_n_sigma": (replace(WARM, top_n_sigma=1.0), dict),
    "dynatemp": (replace(WARM, dynatemp_range=0.5), dict),
    "xtc": (replace(WARM, xtc_probability=0.5), dict),
    "repeat": (replace(WARM, repeat_penalty=1.4, repeat_last_n=9), dict),
    "repeat over all": (replace(WARM, repeat_penalty=1.4, repeat_last_n=-1), dict),
    "presence and frequency": (replace(WARM, presence_penalty=1.0, frequency_penalty=0.4), dict),
    "dry": (replace(WARM, temperature=0.6, dry_multiplier=2.0, dry_allowed_length=1), dict),
    "dry with breakers": (
        replace(WARM, temperature=0.6, dry_multiplier=2.0, dry_allowed_length=1, dry_penalty_last_n=20),
        lambda: {"breaks": lambda token: token % 9 == 0},
    ),
    "watermark": (replace(WARM, watermark_delta=3.0), dict),
    "bias": (WARM, lambda: {"bias": {5: 4.0, 6: BAN, 7: -2.0}}),
    "min_tokens": (WARM, lambda: {"held_back": [1, 2, 3, 4, 5], "min_tokens": 12}),
    "grammar": (WARM, lambda: {"matcher": Alternating()}),
    "everything": (
        Sampling(
            temperature=1.2, top_k=30, top_p=0.95, min_p=0.01, typical_p=0.9, repeat_penalty=1.2, presence_penalty=0.3,
            top_n_sigma=2.0, xtc_probability=0.5, dry_multiplier=1.0, watermark_delta=1.0, seed=3,
        ),
        lambda: {"bias": {3: 1.0}, "held_back": [2, 4], "min_tokens": 9, "matcher": Alternating()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REBUILT)
def test_a_rebuilt_sampler_goes_on_as_if_nothing_had_happened(name: str) -> None:
    sampling, options = REBUILT[name]
    # Few tokens, so that there are repetitions to penalize.
    whole = draws(sampler(sampling, **options()), 24, size=20)
    for place in range(25):
        rebuilt = sampler(sampling, **options())
        for token in whole[:place]:
            rebuilt.accept(token)
        assert draws(rebuilt, 24 - place, size=20) == whole[place:]


@pytest.mark.parametrize("name", REBUILT)
def test_a_row_stays_as_it_is_unless_it_was_announced(name: str) -> None:
    sampling, options = REBUILT[name]
    one = sampler(sampling, **options())
    for place in range(20):
        row = row_of(60, place)
        announced = one.edits
        one.draw(row)
        assert announced or (row == row_of(60, place)).all()


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(top_k=5), Sampling(mirostat=1), Sampling()])
def test_what_only_chooses_can_do_so_from_a_row_that_nobody_may_change(sampling: Sampling) -> None:
    row = row_of(60)
    row.flags.writeable = False
    assert not sampler(sampling).edits
    sampler(sampling).draw(row)


def test_edits_end_with_the_last_token_that_had_to_come() -> None:
    one = sampler(WARM, held_back=[1], min_tokens=2)
    said = []
    for _ in range(3):
        said.append(one.edits)
        one.draw(row_of(60))
    assert said == [True, True, False]


def test_what_is_held_back_does_not_come_early() -> None:
    row = numpy.array([0.0, 50.0, 0.0, 50.0], numpy.float32)
    for bias in ({}, {0: 0.1}):
        one = sampler(WARM, held_back=[1, 3], min_tokens=20, bias=bias)
        assert {one.draw(row.copy()) for _ in range(20)} == {0, 2}
        assert one.draw(row.copy()) in (1, 3)


def test_a_bias_is_added_once_to_the_logit() -> None:
    row = numpy.zeros(4, numpy.float32)
    sampler(Sampling(temperature=0), bias={0: 1.5, 2: -3.0, 3: BAN}).draw(row)
    assert row.tolist() == [1.5, 0.0, -3.0, -numpy.inf]


@pytest.mark.parametrize("banned", [BAN, 2 * BAN, -1e300])
@pytest.mark.parametrize("sampling", [Sampling(temperature=0), WARM, Sampling(top_k=4), Sampling(top_n_sigma=1.0)])
def test_a_banned_token_does_not_come_even_when_no_other_may(sampling: Sampling, banned: float) -> None:
    row = numpy.full(5, -numpy.inf, numpy.float32)
    row[2] = 1e6
    with pytest.raises(GenerationFailed, match="no token is left"):
        sampler(sampling, bias={2: banned}).draw(row)


def test_a_ban_does_not_widen_top_n_sigma() -> None:
    row = row_of(500)
    sampling = Sampling(temperature=3.0, top_n_sigma=0.5)
    plain, banning = (sampler(sampling, bias=bias) for bias in ({}, {int(row.argmin()): BAN}))
    assert [plain.draw(row.copy()) for _ in range(50)] == [banning.draw(row.copy()) for _ in range(50)]


EVERY_WAY = [
    Sampling(temperature=0),
    *DISTRIBUTIONS,
    Sampling(top_p=0.0),
    Sampling(mirostat=1),
    Sampling(mirostat=2),
]


@pytest.mark.parametrize("sampling", EVERY_WAY)
def test_the_only_token_left_is_drawn(sampling: Sampling) -> None:
    row = numpy.full(700, -numpy.inf, numpy.float32)
    row[600] = -30.0
    one = sampler(sampling)
    assert [one.draw(row) for _ in range(5)] == [600] * 5


@pytest.mark.parametrize("sampling", EVERY_WAY)
@pytest.mark.parametrize(
    ("logit", "says"), [(numpy.nan, "not numbers"), (numpy.inf, "infinite"), (-numpy.inf, "no token is left")]
)
def test_logits_that_say_nothing_draw_nothing(sampling: Sampling, logit: float, says: str) -> None:
    row = numpy.full(700, -numpy.inf, numpy.float32) if logit == -numpy.inf else row_of(700)
    row[600] = logit
    one = sampler(sampling)
    with pytest.raises(GenerationFailed, match=says):
        one.draw(row)
    assert one.drawn == 0


@pytest.mark.parametrize("temperature", [1e4, 1e30, 1e300, math.inf])
@pytest.mark.parametrize("options", [{}, {"top_k": 700}, {"min_p": 1e-9}, {"top_p": 0.999999}, {"typical_p": 0.999999}])
def test_the_hottest_draws_evenly_but_nothing_that_is_banned(temperature: float, options: dict[str, Any]) -> None:
    row = row_of(600)
    row[::2] = -numpy.inf
    one = sampler(Sampling(temperature=temperature, **options))
    drawn = [one.draw(row) for _ in range(1_500)]
    assert all(token % 2 for token in drawn)
    assert len(set(drawn)) > 250


@pytest.mark.parametrize(
    "options", [{"top_p": 0.0}, {"top_p": 1e-30}, {"typical_p": 0.0}, {"min_p": 1.0}, {"top_k": 1}]
)
def test_the_strictest_still_leave_one(options: dict[str, Any]) -> None:
    one = sampler(Sampling(temperature=2.0, **options))
    row = row_of(3_000)
    assert len({one.draw(row) for _ in range(30)}) == 1


@pytest.mark.parametrize("options", [{"top_p": 1.0}, {"top_k": 10**9}, {"typical_p": 1.0}, {"min_p": 0.0}])
def test_the_laxest_leave_all(options: dict[str, Any]) -> None:
    one = sampler(Sampling(**options))
    assert {one.draw(numpy.zeros(20, numpy.float32)) for _ in range(400)} == set(range(20))


@pytest.mark.parametrize("mass", [0.3, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0])
def test_top_p_finds_its_tokens_however_many_they_are(mass: float, spread: float) -> None:
    row = row_of(40_000, spread=spread)
    one = sampler(Sampling(top_p=mass))
    found = one._candidates(row, float(row.max()))
    expected = filters.nucleus(filters.best(row, row.size), mass)
    assert abs(found.ids.size - expected.ids.size) <= 2 + expected.ids.size // 100
    assert found.ids.tolist()[:100] == expected.ids.tolist()[:100]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [0.5, 3.0, 8.0])
def test_mirostat_keeps_as_many_as_llama_cpp_step_by_step(version: int, tau: float) -> None:
    sampling = Sampling(temperature=0.8, mirostat=1 if version == 1 else 2, mirostat_tau=tau)
    make = llama_cpp.llama_sampler_init_mirostat, llama_cpp.llama_sampler_init_mirostat_v2
    theirs = make[0](2_000, 1, tau, 0.1, 100) if version == 1 else make[1](1, tau, 0.1)
    ours = sampler(sampling)
    for place in range(40):
        row = row_of(2_000, place)
        kept, selected = judged(theirs, tokens_of(row / numpy.float32(0.8)))
        found = ours._kept_by_mirostat(row)
        assert abs(found.ids.size - kept.size) <= kept.size // 500
        assert found.ids[:50].tolist() == kept["id"][:50].tolist()
        # Theirs chooses, so that both have the same to learn from.
        ours._learn(found, selected)
    llama_cpp.llama_sampler_free(theirs)


@pytest.mark.parametrize("tau", [0.0, 100.0, 1e9])
@pytest.mark.parametrize("version", [1, 2])
def test_no_surprise_is_too_much_for_mirostat(version: int, tau: float) -> None:
    one = sampler(Sampling(mirostat=1 if version == 1 else 2, mirostat_tau=tau, mirostat_eta=1.0))
    assert len(draws(one, 30)) == 30
    flat = numpy.zeros(1_000, numpy.float32)
    assert len([one.draw(flat) for _ in range(10)]) == 10


def test_mirostat_comes_near_the_surprise_wanted() -> None:
    row = row_of(3_000)
    logs = row - filters.log_sum(row, float(row.max()))
    for version in (1, 2):
        one = sampler(Sampling(mirostat=1 if version == 1 else 2, mirostat_tau=4.0))
        drawn = [one.draw(row) for _ in range(600)][200:]
        kept = one._kept_by_mirostat(row)
        inside = float(numpy.exp(logs[kept.ids].astype(numpy.float64)).sum())
        surprise = -numpy.log2(numpy.exp(logs[drawn].astype(numpy.float64)) / inside)
        assert abs(surprise.mean() - 4.0) < 0.5


def test_a_watermark_favours_the_green_share_of_each_token() -> None:
    share = numpy.mean([green_list(last, 1_000, 0.25).mean() for last in range(20)])
    assert abs(share - 0.25) < 0.01
    one = sampler(Sampling(watermark_delta=50.0, watermark_gamma=0.25))
    last = PROMPT[-1]
    for token in draws(one, 40):
        assert green_list(last, 60, 0.25)[token]
        last = token


def test_samplers_in_many_threads_draw_as_they_would_alone() -> None:
    def task(seed: int) -> list[int]:
        sampling = replace(REBUILT["everything"][0], seed=seed, top_k=40 if seed % 2 else 0)
        return draws(sampler(sampling), 60, size=3_000)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(task, range(12))) == [task(seed) for seed in range(12)]

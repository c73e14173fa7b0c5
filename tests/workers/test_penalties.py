"""Penalties: the logits are those that llama.cpp's own samplers leave, whatever was said before."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import llama_cpp
import numpy
import pytest
from numpy.typing import NDArray
from tropilla.common.generation import Sampling
from tropilla.workers import pocket
from tropilla.workers.llama.vocabulary import Vocabulary
from tropilla.workers.penalties import Dry, Repetition

Logits = NDArray[numpy.float32]

TOKEN = numpy.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
CONTEXT = 512
BREAKERS = Sampling().dry_sequence_breakers


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[Vocabulary]:
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(pocket.path()).encode(), parameters)
    yield Vocabulary(model)
    llama_cpp.llama_model_free(model)


@pytest.fixture(scope="module")
def breaking(vocabulary: Vocabulary) -> frozenset[int]:
    """The tokens that contain a sequence breaker."""
    pieces = ((token, vocabulary.piece(token)) for token in range(vocabulary.size))
    return frozenset(token for token, piece in pieces if any(one.encode() in piece for one in BREAKERS))


def row_of(size: int, seed: int = 0) -> Logits:
    row = (numpy.random.default_rng(seed).standard_normal(size) * 3).astype(numpy.float32)
    row[::7] = -numpy.inf
    row[1::11] = 0.0
    return row


def judged(sampler: Any, row: Logits, said: list[int]) -> Logits:
    """What llama.cpp makes of a row after these tokens."""
    for token in said:
        llama_cpp.llama_sampler_accept(sampler, token)
    tokens = numpy.zeros(row.size, TOKEN)
    tokens["id"], tokens["logit"] = numpy.arange(row.size), row
    data = ctypes.cast(tokens.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
    array = llama_cpp.llama_token_data_array(data=data, size=row.size, selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
    llama_cpp.llama_sampler_free(sampler)
    return tokens["logit"].copy()


def left(penalty: Repetition | Dry, row: Logits) -> Logits:
    row = row.copy()
    penalty.apply(row)
    return row


@pytest.mark.parametrize("said", [0, 1, 30, 400])
@pytest.mark.parametrize("last", [-1, 1, 20, 64, 10_000])
@pytest.mark.parametrize("penalty", [0.01, 0.5, 1.1, 100.0])
def test_the_repeat_penalty_is_llama_cpp_s(penalty: float, last: int, said: int) -> None:
    row = row_of(300)
    history = numpy.random.default_rng(said).integers(0, 300, said).tolist()
    sampler = llama_cpp.llama_sampler_init_penalties(300, CONTEXT if last < 0 else last, penalty, 0.0, 0.0)
    expected = judged(sampler, row, history)
    for told in (0, said // 3, said):
        ours = Repetition(
            Sampling(repeat_penalty=penalty, repeat_last_n=last), context=CONTEXT, prompt=history[:told]
        )  # fmt: skip
        for token in history[told:]:
            ours.accept(token)
        numpy.testing.assert_allclose(left(ours, row), expected, rtol=1e-6)


@pytest.mark.parametrize(("presence", "frequency"), [(0.5, 0.0), (0.0, 0.7), (-2.0, 2.0), (1.0, 1.0), (1e6, -1e6)])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_presence_and_frequency_are_llama_cpp_s(penalty: float, presence: float, frequency: float) -> None:
    row = row_of(50)
    said = numpy.random.default_rng(3).integers(0, 50, 200).tolist()
    sampling = Sampling(
        repeat_penalty=penalty, repeat_last_n=-1, presence_penalty=presence, frequency_penalty=frequency
    )  # fmt: skip
    ours = Repetition(sampling, context=CONTEXT, prompt=[])
    for token in said:
        ours.accept(token)
    expected = judged(llama_cpp.llama_sampler_init_penalties(50, CONTEXT, penalty, frequency, presence), row, said)
    numpy.testing.assert_allclose(left(ours, row), expected, rtol=1e-6)


def test_presence_and_frequency_count_all_that_was_generated_and_nothing_of_the_prompt() -> None:
    sampling = Sampling(presence_penalty=1.0, frequency_penalty=0.5, repeat_last_n=2)
    ours = Repetition(sampling, context=CONTEXT, prompt=[0, 0, 1])
    for token in (2, 2, 2, 3, 4, 4):
        ours.accept(token)
    assert left(ours, numpy.zeros(6, numpy.float32)).tolist() == [0.0, 0.0, -2.5, -1.5, -2.0, 0.0]


def test_a_window_of_nothing_leaves_the_repeat_penalty_without_effect() -> None:
    sampling = Sampling(repeat_penalty=2.0, repeat_last_n=0)
    assert not Repetition.wanted(sampling)
    ours = Repetition(sampling, context=CONTEXT, prompt=[1, 2])
    ours.accept(3)
    assert left(ours, numpy.ones(5, numpy.float32)).tolist() == [1.0] * 5


@pytest.mark.parametrize("last", [-1, CONTEXT, CONTEXT + 1, 2**31 - 1])
def test_no_window_is_longer_than_the_context(last: int) -> None:
    ours = Repetition(Sampling(repeat_penalty=2.0, repeat_last_n=last), context=CONTEXT, prompt=[1] + [2] * CONTEXT)
    assert left(ours, numpy.ones(3, numpy.float32)).tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize(("asked", "applied"), [(0.0, 0.01), (1e-30, 0.01), (1e30, 100.0)])
def test_a_repeat_penalty_beyond_sense_is_cut_to_the_nearest_that_has_some(asked: float, applied: float) -> None:
    ours = Repetition(Sampling(repeat_penalty=asked), context=CONTEXT, prompt=[0, 1])
    row = left(ours, numpy.array([2.0, -2.0, 1.0], numpy.float32))
    assert row.tolist() == pytest.approx([2.0 / applied, -2.0 * applied, 1.0])


#: What was said: (how many tokens, of how many different ones, how much of it repeats).
HISTORIES = [(0, 5, 0), (1, 5, 0), (3, 1, 0), (60, 2, 0), (60, 3, 9), (200, 40, 30), (700, 20, 50), (300, 1, 0)]


def history_of(size: int, kinds: int, repeating: int, choices: list[int]) -> list[int]:
    generator = numpy.random.default_rng([size, kinds])
    said: list[int] = [choices[i] for i in generator.integers(0, kinds, size)]
    for _ in range(size // 20 if repeating else 0):
        start, to = generator.integers(0, size - repeating, 2)
        said[to : to + repeating] = said[start : start + repeating]
    return said + said[size // 3 : size // 3 + repeating]


def dry(**changes: Any) -> Sampling:
    return Sampling(**{"dry_multiplier": 0.8, **changes})


OPTIONS = [
    dry(),
    dry(dry_base=1.0, dry_allowed_length=1),
    dry(dry_allowed_length=0),
    dry(dry_base=4.0, dry_allowed_length=3, dry_penalty_last_n=50),
    dry(dry_base=100.0, dry_multiplier=100.0, dry_allowed_length=1, dry_penalty_last_n=10**6),
    dry(dry_allowed_length=40, dry_penalty_last_n=0),
    dry(dry_base=0.5),
]


@pytest.mark.parametrize("sampling", OPTIONS)
@pytest.mark.parametrize("breakers", [0, 1])
@pytest.mark.parametrize("shape", HISTORIES)
def test_dry_is_llama_cpp_s(
    vocabulary: Vocabulary, breaking: frozenset[int], shape: tuple[int, int, int], breakers: int, sampling: Sampling
) -> None:
    row = row_of(vocabulary.size)
    plain = [token for token in range(300, vocabulary.size) if token not in breaking]
    history = history_of(*shape, choices=[*sorted(breaking)[:breakers], *plain])
    expected = judged_by_dry(vocabulary, sampling, row, history)
    if not Dry.wanted(sampling):
        assert (expected == row).all()
        return
    for told in {0, len(history) // 2, len(history)}:
        ours = Dry(sampling, context=CONTEXT, prompt=history[:told], breaks=breaking.__contains__)
        for token in history[told:]:
            ours.accept(token)
        numpy.testing.assert_allclose(left(ours, row), expected, rtol=1e-5, atol=1e-5)


def judged_by_dry(vocabulary: Vocabulary, sampling: Sampling, row: Logits, history: list[int]) -> Logits:
    breakers = (ctypes.c_char_p * len(BREAKERS))(*(breaker.encode() for breaker in BREAKERS))
    last = CONTEXT if sampling.dry_penalty_last_n < 0 else sampling.dry_penalty_last_n
    sampler = llama_cpp.llama_sampler_init_dry(
        vocabulary.pointer, sampling.dry_multiplier, sampling.dry_base, sampling.dry_allowed_length,
        min(last, CONTEXT), breakers, len(BREAKERS),
    )  # fmt: skip
    return judged(sampler, row, history)


def test_dry_remembers_as_much_after_many_contexts() -> None:
    """A context that shifts lets a sequence grow to ten times it."""
    said = numpy.random.default_rng(1).integers(0, 3, 10 * CONTEXT).tolist()
    row = numpy.zeros(3, numpy.float32)
    grown = Dry(dry(dry_penalty_last_n=100), context=CONTEXT, prompt=said[:10], breaks=lambda token: False)
    for count, token in enumerate(said[10:], 11):
        grown.accept(token)
        if count % 97 == 0:
            fresh = Dry(dry(dry_penalty_last_n=100), context=CONTEXT, prompt=said[:count], breaks=lambda token: False)
            assert left(grown, row).tolist() == left(fresh, row).tolist()


def test_a_penalty_too_large_for_a_number_is_a_ban() -> None:
    ours = Dry(dry(dry_base=1e300), context=CONTEXT, prompt=[1, 2] * 9, breaks=lambda token: False)
    assert numpy.isfinite(left(ours, numpy.zeros(3, numpy.float32))).all()
    ours = Dry(dry(dry_base=100.0, dry_multiplier=1e6), context=CONTEXT, prompt=[1] * 99, breaks=lambda token: False)
    assert left(ours, numpy.zeros(3, numpy.float32)).tolist() == [0.0, -numpy.inf, 0.0]

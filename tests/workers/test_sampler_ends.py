"""A token is drawn at either end of every knob's range, and nothing is computed with what is no number."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy
import pytest
from bounds import KNOBS
from tropilla.common.generation import Sampling
from tropilla.workers.sampler import Sampler

SIZE = 60
#: Alone, among candidates that others have narrowed, and where all penalties are at work.
AROUND: dict[str, dict[str, Any]] = {
    "alone": {},
    "narrowed": {"top_k": 20, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "xtc_probability": 0.5},
    "penalized": {"repeat_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5, "dry_multiplier": 0.8},
    "mirostat": {"mirostat": 2},
}


def kind_of(knob: str) -> type:
    return type(getattr(Sampling(), knob))


def test_every_number_of_sampling_has_its_ends() -> None:
    numbers = {field.name for field in dataclasses.fields(Sampling) if kind_of(field.name) in (int, float)}
    assert numbers == set(KNOBS)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("knob", KNOBS)
def test_a_token_is_drawn_at_the_ends_of_a_range(knob: str, around: str) -> None:
    for end in KNOBS[knob]:
        sampling = Sampling(**{**AROUND[around], knob: kind_of(knob)(end)})
        sampler = Sampler(sampling, context=256, prompt=[3, 1, 4, 1, 5])
        chance = numpy.random.default_rng(7)
        for _ in range(20):
            row = (chance.standard_normal(SIZE) * 5).astype(numpy.float32)
            assert 0 <= sampler.draw(row) < SIZE

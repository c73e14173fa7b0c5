from __future__ import annotations

import pytest
from fakes import request
from tropilla.common.generation import MAX_SEED, TextPrompt, draw_seed, fold_seed, new_request_id


@pytest.mark.parametrize("seed", [0, 1, -1, MAX_SEED, MAX_SEED + 1, 2**32 - 1, 2**63, -(2**63), 10**40])
def test_any_integer_folds_to_a_seed_that_does_not_mean_draw_one(seed: int) -> None:
    assert 0 <= fold_seed(seed) <= MAX_SEED


def test_a_seed_that_fits_stays_itself() -> None:
    assert [fold_seed(seed) for seed in (0, 42, MAX_SEED)] == [0, 42, MAX_SEED]


def test_drawn_seeds_and_ids_are_in_range_and_not_alike() -> None:
    seeds, ids = {draw_seed() for _ in range(50)}, {new_request_id() for _ in range(50)}
    assert max(seeds) <= MAX_SEED
    assert len(seeds) > 45
    assert {len(name) for name in ids} == {32}
    assert len(ids) == 50


def test_a_request_has_a_choice_per_prompt_and_n() -> None:
    assert request(prompts=(TextPrompt("a"), TextPrompt("b")), n=3).choices == 6

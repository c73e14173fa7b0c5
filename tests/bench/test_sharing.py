from __future__ import annotations

from itertools import pairwise

import pytest

from bench.sharing import arrivals, fair_parts, fairness, jain


@pytest.mark.parametrize(
    ("asked", "given", "parts"),
    [
        ({"a": 1, "b": 9}, 20, {"a": 1, "b": 9}),
        ({"a": 1, "b": 9}, 6, {"a": 1, "b": 5}),
        ({"a": 8, "b": 9}, 6, {"a": 3, "b": 3}),
        ({"a": 2, "b": 9, "c": 3}, 9, {"a": 2, "b": 4, "c": 3}),
        ({"a": 0, "b": 9}, 9, {"a": 0, "b": 9}),
    ],
)
def test_nobody_has_more_than_he_asks_for_and_the_rest_is_shared(
    asked: dict[str, float], given: float, parts: dict[str, float]
) -> None:
    assert fair_parts(asked, given) == parts


def test_the_index_of_equals_is_one_and_of_one_alone_the_smallest() -> None:
    assert jain([3, 3, 3]) == 1
    assert jain([5, 0, 0, 0]) == 0.25
    assert jain([0, 0]) == 1


def test_what_counts_is_each_keys_fair_part() -> None:
    assert fairness({"light": 10, "heavy": 500}, {"light": 10, "heavy": 90}) == 1
    assert fairness({"light": 10, "heavy": 500}, {"light": 0, "heavy": 100}) == pytest.approx(0.5)
    assert fairness({"light": 60, "heavy": 500}, {"light": 20, "heavy": 80}) < 0.8


def test_a_key_asks_at_the_same_times_whoever_else_does() -> None:
    alone = arrivals({"a": 5.0}, 100, "seed")
    together = arrivals({"a": 5.0, "b": 50.0}, 100, "seed")
    assert [each for each in together if each.key == "a"] == alone
    assert 400 < len(alone) < 600
    assert all(one.at <= other.at < 100 for one, other in pairwise(together))

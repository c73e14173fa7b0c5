"""Which name is meant, and what is loaded under which pin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tropilla.common.recipes import File, Recipe
from tropilla.workers.store.naming import check, known, pinned, tagged
from tropilla.workers.store.refusals import Refusal

NAMES = ["llama3:latest", "Org/Model:Q4", "plain", "both", "both:latest"]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("llama3:latest", "llama3:latest"),
        ("llama3", "llama3:latest"),
        ("LLAMA3", "llama3:latest"),
        ("org/model:q4", "Org/Model:Q4"),
        ("org/model", None),
        ("plain", "plain"),
        ("Plain", "plain"),
        ("plain:latest", None),
        ("both", "both"),
        ("BOTH:latest", "both:latest"),
        ("", None),
    ],
)
def test_a_name_means_what_it_says_then_whatever_its_case_then_with_a_tag(wanted: str, meant: str | None) -> None:
    assert known(wanted, NAMES) == meant


def test_only_what_stands_behind_the_last_slash_has_a_tag() -> None:
    assert [tagged(name) for name in ("m", "m:t", "o/m", "o/m:t")] == ["m:latest", "m:t", "o/m:latest", "o/m:t"]


@pytest.mark.parametrize("name", ["", "-m", "../m", "a b", "a:b:c", "m\n", "a//b", "/m"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        check(name, "model")
    assert (caught.value.code, caught.value.field) == ("invalid", "model")


ONE = Recipe("", (File("a" * 64, 1, "one.gguf"),))
SHARDS = Recipe("", (File("b" * 64, 1, "m-00001-of-00002.gguf"), File("c" * 64, 1, "m-00002-of-00002.gguf")))


def test_a_pin_is_a_name_and_a_sum_of_everything_that_decides() -> None:
    first = pinned(ONE, "m:latest", [])
    name, _, digits = first.pin.partition("@")
    assert (name, len(digits)) == ("m:latest", 8)
    assert pinned(replace(ONE, pin="whatever"), "m:latest", []).pin == first.pin
    for other in (replace(ONE, context=1), replace(ONE, threads=1), replace(ONE, adapters=(("a", ONE.files[0]),))):
        assert pinned(other, "m:latest", []).pin != first.pin


def test_equal_recipes_share_the_pin_that_came_first() -> None:
    first = pinned(ONE, "m", [])
    renamed = replace(ONE, files=(replace(ONE.files[0], name="two.gguf"),))
    assert pinned(renamed, "n", [first]) is first
    shards = pinned(SHARDS, "s", [first])
    moved = replace(SHARDS, files=tuple(replace(file, name="x" + file.name) for file in SHARDS.files))
    assert pinned(moved, "t", [first, shards]).pin.startswith("t@"), "shards are found by their names"

"""JSON values become dataclasses by their annotations, or are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from tropilla.common.records import record


@dataclass(frozen=True, slots=True)
class Leaf:
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class Tree:
    kind: Literal["oak", "ash"] = "oak"
    height: float = 0.0
    old: bool = False
    leaves: tuple[Leaf, ...] = ()
    pair: tuple[str, int] = ("", 0)
    only: Leaf | None = None
    text: str | Leaf = ""
    mixed: int | float | bool | str | tuple[str, ...] = 0
    either: Leaf | Branch | None = None
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    named: Mapping[str, str] | None = None
    tags: tuple[str, ...] = ()
    anything: Any = None


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({}, Tree()),
        ({"kind": "ash"}, Tree("ash")),
        ({"height": 2}, Tree(height=2.0)),
        ({"leaves": [{"size": 1}, {"size": 2, "name": "b"}]}, Tree(leaves=(Leaf(1), Leaf(2, "b")))),
        ({"pair": ["a", 1]}, Tree(pair=("a", 1))),
        ({"only": {"size": 1}}, Tree(only=Leaf(1))),
        ({"only": None}, Tree()),
        ({"text": "a"}, Tree(text="a")),
        ({"text": {"size": 1}}, Tree(text=Leaf(1))),
        ({"mixed": 1}, Tree(mixed=1)),
        ({"mixed": 1.5}, Tree(mixed=1.5)),
        ({"mixed": True}, Tree(mixed=True)),
        ({"mixed": "a"}, Tree(mixed="a")),
        ({"mixed": ["a", "b"]}, Tree(mixed=("a", "b"))),
        ({"either": {"size": 1}}, Tree(either=Leaf(1))),
        ({"either": {"leaf": {"size": 1}}}, Tree(either=Branch(Leaf(1)))),
        ({"by_name": {"a": {"size": 1}}}, Tree(by_name={"a": Leaf(1)})),
        ({"named": {"a": "b"}}, Tree(named={"a": "b"})),
        ({"named": None}, Tree()),
        ({"anything": [{"x": 1}]}, Tree(anything=[{"x": 1}])),
        ({"of a newer release": 1, "old": True}, Tree(old=True)),
    ],
)
def test_a_value_is_read_by_its_annotations(value: dict[str, Any], made: Tree) -> None:
    found = record(Tree, value)
    assert found == made
    # True == 1 == 1.0, and a reader should get what was written.
    assert type(found.mixed) is type(made.mixed)
    assert type(found.height) is float


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "a",
        {"kind": "elm"},
        {"height": "2"},
        {"height": True},
        {"old": 1},
        {"leaves": [1]},
        {"leaves": [{}]},
        {"leaves": 1},
        {"pair": ["a"]},
        {"pair": ["a", "b"]},
        {"only": 1},
        {"text": 1},
        {"mixed": None},
        {"mixed": [1]},
        {"by_name": {"a": 1}},
        {"by_name": []},
        {"tags": "ab"},
        {"leaves": [{"size": True}]},
    ],
)
def test_what_does_not_fit_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        record(Tree, value)

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import MODEL, WORKER
from tropilla.common.catalogue import Catalogue, Definition, Lane, State, Trouble, Worker, catalogue
from tropilla.common.recipes import File, Recipe

OTHER = replace(MODEL, name="a")


def test_only_workers_that_are_ready_can_answer() -> None:
    for state in ("loading", "draining"):
        seen = catalogue([replace(WORKER, state=state)])
        assert (seen.models, seen.find("m"), seen.flavours("m")) == ((), None, frozenset())


def test_each_model_is_listed_once_by_name_with_its_smallest_context() -> None:
    small = replace(MODEL, context_length=10)
    seen = catalogue(
        replace(WORKER, name=name, model=model) for name, model in zip("zyx", (MODEL, small, OTHER), strict=True)
    )
    assert seen.models == (OTHER, small)
    assert [worker.name for worker in seen.workers] == ["x", "y", "z"]


def test_a_request_may_name_the_adapters_that_all_ready_workers_of_its_model_have() -> None:
    def serving(*adapters: str, state: State = "ready", context: int = 100) -> Worker:
        return replace(WORKER, state=state, model=replace(MODEL, adapters=adapters, context_length=context))

    workers = [
        serving("a", "b", "c"),
        serving("c", "b", "d", context=50),
        serving("b", "c", context=70),
        serving(state="loading"),
        serving(state="draining"),
    ]
    (model,) = catalogue(workers).models
    assert (model.adapters, model.context_length) == (("b", "c"), 50)
    assert catalogue([*workers, serving()]).models[0].adapters == ()


def test_a_models_flavours_are_those_of_all_its_workers() -> None:
    seen = catalogue(
        [WORKER, replace(WORKER, name="g", flavour="gpu", slots=3), replace(WORKER, name="o", model=OTHER)]
    )
    assert seen.flavours("m") == {"cpu", "gpu"}


def test_nobody_serves_nothing() -> None:
    assert Catalogue().models == ()


# -- what can be loaded ------------------------------------------------------------------------------------------------

IDLE = replace(WORKER, name="idle", state="idle", model=None)
BUSY = replace(WORKER, name="busy", model=OTHER)


def definition(name: str, *, own: bool = False, hidden: bool = False, pin: str = "", **recipe: Any) -> Definition:
    file = File("1" * 64, 1, f"{name}.gguf", path=f"/{name}.gguf" if own else "")
    return Definition(replace(MODEL, name=name, pinned_as=pin), Recipe(pin or name, (file,), **recipe), hidden=hidden)


M, OWN = definition("m"), definition("own", own=True)
FAILED = Trouble("out_of_memory", "m takes 9 GB; 4 GB are free")
NOBODY = Trouble("no_worker", "no worker can load m")


def names(seen: Catalogue) -> list[str]:
    return [model.name for model in seen.models]


@pytest.mark.parametrize(
    ("workers", "listed"),
    [
        ([], False),
        ([IDLE], True),
        ([BUSY], True),
        ([replace(IDLE, state="draining")], False),
        ([replace(BUSY, state="draining")], False),
        ([replace(BUSY, state="draining", next_pin="m")], True),
        ([replace(BUSY, state="draining", next_pin="x")], True),
        ([replace(BUSY, state="draining", returns=True)], True),
        ([replace(WORKER, state="loading")], True),
        ([WORKER], True),
    ],
)
def test_a_model_is_listed_while_somebody_has_it_or_could_load_it(workers: list[Worker], listed: bool) -> None:
    seen = catalogue(workers, [M])
    assert ("m" in names(seen)) is listed
    assert (seen.find("m") is not None) is listed
    assert seen.trouble("m") == (None if listed else NOBODY)


def test_a_model_whose_every_candidate_has_failed_is_not_listed_and_says_why() -> None:
    one = catalogue([IDLE, BUSY], [M], failures={"m": {"idle": FAILED}})
    assert ("m" in names(one), one.candidates(M), one.trouble("m")) == (True, (BUSY,), None)
    both = catalogue([IDLE, BUSY], [M], failures={"m": {"idle": FAILED, "busy": FAILED}})
    assert ("m" in names(both), both.candidates(M), both.trouble("m")) == (False, (), FAILED)


def test_what_one_worker_has_is_listed_though_others_failed() -> None:
    seen = catalogue([WORKER, IDLE], [M], failures={"m": {"idle": FAILED, "w@host": FAILED}})
    assert names(seen) == ["m"]


@pytest.mark.parametrize(
    ("worker", "recipe", "may"),
    [
        (IDLE, M, True),
        (IDLE, definition("m", flavours=("cpu",)), True),
        (IDLE, definition("m", flavours=("gpu",)), False),
        (replace(IDLE, flavour="gpu"), definition("m", flavours=("gpu",)), True),
        (IDLE, definition("m", instruction_set="avx2"), False),
        (replace(IDLE, features=("avx", "avx2")), definition("m", instruction_set="avx2"), True),
        (IDLE, OWN, False),
        (replace(IDLE, own=OWN), OWN, True),
        (replace(IDLE, own=OWN), definition("else", own=True), False),
        (replace(IDLE, own=OWN), M, True),
    ],
)
def test_who_may_load_what(worker: Worker, recipe: Definition, may: bool) -> None:
    assert worker.may_load(recipe) is may


def test_what_a_worker_was_started_with_is_known_as_long_as_it_lives() -> None:
    seen = catalogue([replace(IDLE, own=OWN)])
    assert (names(seen), seen.define("own"), seen.trouble("own")) == (["own"], OWN, None)
    assert catalogue([replace(IDLE, name="other")]).define("own") is None


def test_the_stores_word_counts_before_a_workers() -> None:
    stored = replace(OWN, source="the store")
    assert catalogue([replace(IDLE, own=OWN)], [stored]).define("own") == stored


def test_names_that_share_a_pin_are_ready_together_with_what_the_worker_says() -> None:
    a, b = definition("a", pin="p"), definition("b", pin="p")
    pinned = replace(WORKER, model=replace(MODEL, name="a", pinned_as="p", context_length=7), ordered=True)
    seen = catalogue([pinned], [a, b, definition("c")])
    assert names(seen) == ["a", "b", "c"]
    assert [model.context_length for model in seen.models] == [7, 7, MODEL.context_length]
    assert seen.flavours("p") == {"cpu"}


def test_a_name_that_the_store_has_forgotten_is_gone_though_a_worker_has_it_still() -> None:
    ordered = replace(WORKER, ordered=True)
    assert names(catalogue([ordered])) == []
    assert names(catalogue([replace(ordered, ordered=False)])) == ["m"]


def test_what_is_hidden_is_not_listed_and_nothing_is_the_matter_with_it() -> None:
    for workers in ([WORKER], [IDLE], []):
        seen = catalogue([replace(worker, ordered=True) for worker in workers], [definition("m", hidden=True)])
        assert (names(seen), seen.trouble("m"), seen.troubled) == ([], None, {})
    told = catalogue([], [definition("m", hidden=True)], {"m": FAILED})
    assert told.troubled == {}


def test_what_has_no_files_yet_is_told_by_the_store() -> None:
    coming = Trouble("downloading", "40 %")
    seen = catalogue([IDLE], [M], {"m": coming, "n": coming})
    assert (names(seen), seen.troubled) == ([], {"m": coming, "n": coming})
    assert seen.trouble("unheard of") is None


def test_alone_there_is_no_other_model_and_no_other_trouble() -> None:
    seen = catalogue([WORKER, BUSY], [M, definition("n", flavours=("gpu",))], {"x": NOBODY}).alone(MODEL)
    assert (names(seen), seen.find("a"), seen.troubled) == (["m"], None, {})
    assert [worker.name for worker in seen.workers] == [WORKER.name]
    assert names(catalogue([IDLE, BUSY], [M]).alone(MODEL)) == ["m"]


@pytest.mark.parametrize(
    ("worker", "pulled"),
    [
        (WORKER, True),
        (replace(WORKER, state="loading"), True),
        (replace(BUSY, next_pin="m", state="draining"), True),
        (replace(WORKER, state="draining"), False),
        (replace(WORKER, next_pin="a", state="draining"), False),
        (IDLE, False),
        (BUSY, False),
    ],
)
def test_a_lane_is_pulled_by_who_has_the_pin_or_will(worker: Worker, pulled: bool) -> None:
    assert catalogue([worker]).pulled(Lane("m", "cpu")) is pulled
    assert catalogue([replace(worker, flavour="gpu")]).pulled(Lane("m", "cpu")) is pulled
    assert catalogue([replace(worker, flavour="gpu")]).pulled(Lane("m", "gpu")) is pulled
    assert not catalogue([worker]).pulled(Lane("m", "gpu"))

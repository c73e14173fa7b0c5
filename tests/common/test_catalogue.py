from __future__ import annotations

from dataclasses import replace

from fakes import MODEL, WORKER
from tropilla.common.catalogue import Catalogue, State, Worker, catalogue

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

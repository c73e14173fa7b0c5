from __future__ import annotations

from dataclasses import replace

from fakes import MODEL, WORKER
from tropilla.common.catalogue import Catalogue, catalogue

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


def test_a_models_flavours_are_those_of_all_its_workers() -> None:
    seen = catalogue(
        [WORKER, replace(WORKER, name="g", flavour="gpu", slots=3), replace(WORKER, name="o", model=OTHER)]
    )
    assert seen.flavours("m") == {"cpu", "gpu"}


def test_nobody_serves_nothing() -> None:
    assert Catalogue().models == ()

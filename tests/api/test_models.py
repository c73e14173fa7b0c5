"""Which model a request means that names none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import request
from scene import POCKET
from tropilla.api.models import adapted, default_model
from tropilla.api.surface import Surroundings
from tropilla.common.catalogue import Capability, Worker, catalogue
from tropilla.common.errors import UnknownModel
from tropilla.common.recipes import Overlay
from tropilla.common.settings import Settings

KINDS: dict[str, Capability] = {"bert": "embedding", "gemma": "completion", "llama": "completion", "nomic": "embedding"}


def surroundings(*names: str, chosen: str = "") -> Surroundings:
    models = [replace(POCKET, name=name, capabilities=(KINDS[name],)) for name in names]
    workers = [Worker(f"w{place}", "cpu", "ready", 8, model) for place, model in enumerate(models)]
    return Surroundings(catalogue(workers), Settings(default_model=chosen), 0.0)


@pytest.mark.parametrize(
    ("served", "chosen", "writes", "embeds"),
    [
        (("llama", "gemma"), "", "gemma", "gemma"),
        (("llama", "gemma"), "llama", "llama", "llama"),
        (("bert",), "", "bert", "bert"),
        (("nomic", "llama", "bert", "gemma"), "", "gemma", "bert"),
        (("nomic", "llama", "bert", "gemma"), "llama", "llama", "bert"),
        (("nomic", "llama", "bert", "gemma"), "nomic", "gemma", "nomic"),
    ],
)
def test_it_is_the_operators_or_the_first_that_is_able(
    served: tuple[str, ...], chosen: str, writes: str, embeds: str
) -> None:
    around = surroundings(*served, chosen=chosen)
    assert default_model(around).name == writes
    assert default_model(around, "embedding").name == embeds


@pytest.mark.parametrize(("served", "chosen"), [((), ""), ((), "llama"), (("gemma", "bert"), "llama")])
def test_nobody_stands_in_for_an_operators_model_that_is_not_served(served: tuple[str, ...], chosen: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        default_model(surroundings(*served, chosen=chosen), "embedding")
    assert caught.value.model == chosen


def test_a_model_that_always_has_an_adapter_asks_for_it() -> None:
    plain = request(model="gemma")
    poet = replace(POCKET, overlay=Overlay(parameters=(("adapter", "adapter"),)))
    assert adapted(plain, POCKET) is plain
    assert adapted(plain, poet).adapter == "adapter"
    assert adapted(replace(plain, adapter="cook"), poet).adapter == "cook"

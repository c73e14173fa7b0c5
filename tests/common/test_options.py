"""What a model's own parameters, in Ollama's words, become."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tropilla.api.surfaces.ollama.options import OPTIONS
from tropilla.common.generation import Sampling
from tropilla.common.options import IDLE, NAMES, read_parameters
from tropilla.common.recipes import MORE_PARAMETERS, Parameter


def test_every_name_is_one_of_an_overlay() -> None:
    assert set(NAMES.values()) <= {field.name for field in dataclasses.fields(Sampling)} | set(MORE_PARAMETERS)
    assert not IDLE & set(NAMES)


def test_requests_and_models_know_the_same_options() -> None:
    assert set(NAMES) <= set(OPTIONS.fields) <= IDLE | set(NAMES)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", 1, ("temperature", 1.0)),
        ("top_k", 40.7, ("top_k", 40)),
        ("num_predict", -1, ("max_tokens", -1)),
        ("num_keep", 24, ("keep", 24)),
        ("num_ctx", 8192, ("context", 8192)),
        ("stop", ["<|eot|>", "", "</s>"], ("stop", ("<|eot|>", "</s>"))),
        ("stop", "</s>", ("stop", ("</s>",))),
        ("seed", 7, ("seed", 7)),
        ("mirostat", 2, ("mirostat", 2)),
    ],
)
def test_a_parameter_is_read(name: str, value: Any, expected: tuple[str, Parameter]) -> None:
    (read,), strange = read_parameters({name: value})
    assert (read, type(read[1]), strange) == (expected, type(expected[1]), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", "hot"), ("temperature", float("nan")), ("top_k", True), ("top_k", 2**40), ("stop", [1]), ("stop", 5),
     ("typical", 1)],
)  # fmt: skip
def test_what_makes_no_sense_is_said(name: str, value: Any) -> None:
    assert read_parameters({name: value, "top_p": 0.5}) == ((("top_p", 0.5),), (name,))


def test_what_loads_a_model_elsewhere_is_passed_over() -> None:
    assert read_parameters({"num_gpu": 33, "use_mmap": None, "seed": -1}) == ((), ())

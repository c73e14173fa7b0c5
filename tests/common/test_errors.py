from __future__ import annotations

from typing import get_args

import pytest
from tropilla.common import errors
from tropilla.common.generation import Failed, FailureCode


def test_every_failure_code_has_its_exception() -> None:
    assert set(errors.CODES) == set(get_args(FailureCode))


@pytest.mark.parametrize("code", get_args(FailureCode))
def test_a_failed_event_and_its_exception_say_the_same(code: FailureCode) -> None:
    event = Failed(3, code, "because", {"context": 8})
    assert errors.to_failed(errors.from_failed(event), 3) == event


def test_a_code_of_a_newer_worker_is_a_plain_failure() -> None:
    error = errors.from_failed(Failed(0, "melted", "too hot"))  # type: ignore[arg-type]
    assert (type(error), error.status, error.message) == (errors.GenerationFailed, 500, "too hot")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    found = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.TropillaError)
    }
    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word in found}
    assert drawn == found

from __future__ import annotations

import pytest
from tropilla.common import names


@pytest.mark.parametrize("name", ["pocket", "llama3:8b", "o/r", "a/b/c/d:t", "Qwen2.5-0.5B_q8", "_x"])
def test_names_people_use_are_model_names(name: str) -> None:
    assert names.MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/../b", "/a", "a/", "a//b", "a:b:c", "a b", "a\n", "-a", "a:", ":a", "a/b/c/d/e", "ä"],
)
def test_names_a_shell_or_path_would_mind_are_none(name: str) -> None:
    assert names.MODEL_NAME.fullmatch(name) is None


def test_no_two_keys_of_a_request_are_the_same() -> None:
    makers = (
        names.state_key,
        names.journal_key,
        names.lease_key,
        names.cancel_key,
        names.inbox_channel,
        names.presence_key,
    )
    assert len({make("x") for make in makers}) == len(makers)

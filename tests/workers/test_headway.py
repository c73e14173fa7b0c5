from __future__ import annotations

import pytest
from tropilla.workers.headway import ABOUT_SECONDS, CROWDING_SECONDS, LEAST_BESIDE, PACE_SHARE, STALL_SECONDS, Headway


def headway(seconds: float) -> Headway:
    """A prompt's token takes so long."""
    known = Headway()
    known.took(["a"], tokens=100, chunks=1, seconds=100 * seconds)
    return known


@pytest.mark.parametrize(
    ("pace", "beside", "crowding"),
    [
        pytest.param(0.0, 512, 512, id="nothing is known"),
        pytest.param(STALL_SECONDS / 1000, 512, 200, id="as much as a step holds"),
        pytest.param(STALL_SECONDS / 200, 192, 40, id="what others can wait for"),
        pytest.param(1.0, LEAST_BESIDE, LEAST_BESIDE, id="but something"),
    ],
)
def test_what_a_prompt_may_have(pace: float, beside: int, crowding: int) -> None:
    assert STALL_SECONDS / CROWDING_SECONDS == 5, "as the numbers above have it"
    known = headway(pace)
    assert (known.beside(8, 512), known.crowding(512)) == (beside, crowding)
    assert (known.beside(8, 5), known.crowding(5)) == (5, 5), "never more than there is"


def test_the_pace_follows_the_steps_that_have_a_prompt_in_them() -> None:
    known = headway(0.01)
    known.took(["a"], tokens=100, chunks=1, seconds=2.0)
    assert known.seconds(1) == pytest.approx(0.01 + PACE_SHARE * 0.01)
    before = known.seconds(1)
    known.took(["a"], tokens=LEAST_BESIDE, chunks=1, seconds=9.0)
    assert known.seconds(1) == before


def test_a_key_is_about_for_some_seconds_of_computing_after_its_last_token() -> None:
    known = Headway()
    known.took(["a", "b"], tokens=2, chunks=2, seconds=1.0)
    known.took(["b"], tokens=1, chunks=1, seconds=ABOUT_SECONDS)
    assert known.about(["c"]) == {"a", "b", "c"}
    known.took(["b"], tokens=1, chunks=1, seconds=0.001)
    assert known.about([]) == {"b"}
    known.took([], tokens=1, chunks=1, seconds=ABOUT_SECONDS + 1)
    assert known.about([]) == set()

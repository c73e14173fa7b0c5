"""Counting in memory: what a tally hands over, and what it keeps when nobody takes it."""

from __future__ import annotations

from typing import Any

import pytest
from tropilla.common import codec
from tropilla.common.errors import DecodeError, StoreUnavailable
from tropilla.common.metrics import REST, SECONDS, SUM, Counts, Key, Load, Queued, Reading, Standing, Tally, hundredths


def taken(tally: Tally) -> dict[Key, float]:
    found: dict[Key, float] = {}
    tally.flush(found.update)
    return found


def test_a_count_grows_until_it_is_taken() -> None:
    tally = Tally()
    tally.count("a", "m")
    tally.count("a", "m", amount=2)
    tally.count("a", "m", label="x")
    assert taken(tally) == {Key("a", "m"): 3, Key("a", "m", "x"): 1}
    assert taken(tally) == {}


@pytest.mark.parametrize(
    ("value", "place"), [(0, "1.0"), (1, "1.0"), (1.001, "2.0"), (2, "2.0"), (2.5, REST), (1e9, REST)]
)
def test_an_observation_is_in_the_first_bucket_whose_bound_it_does_not_exceed(value: float, place: str) -> None:
    tally = Tally()
    tally.observe("a", value, (1.0, 2.0))
    assert taken(tally) == {Key("a", place=place): 1, Key("a", place=SUM): value}


def test_what_could_not_be_handed_over_is_kept_and_added_to() -> None:
    tally = Tally()

    def refuse(_: Counts) -> Any:
        tally.count("a")
        raise StoreUnavailable("down")

    tally.count("a")
    with pytest.raises(StoreUnavailable):
        tally.flush(refuse)
    assert taken(tally) == {Key("a"): 2}


def test_nothing_to_hand_over_asks_nobody() -> None:
    Tally().flush(lambda counts: pytest.fail("there is nothing"))


def test_the_bounds_are_upstreams() -> None:
    assert (len(SECONDS), SECONDS[0]) == (35, pytest.approx(0.00015))
    assert SECONDS[-1] == pytest.approx(0.0001 * 1.5**35)
    assert hundredths(200) == tuple(float(2 * k) for k in range(1, 101))


M, N = Queued("m", "cpu", "normal", 3, 1.5), Queued("n", "gpu", "batch", 5, 0.5)


def test_a_reading_can_be_one_models() -> None:
    both = Reading(
        {Key("a", "m"): 1, Key("a", "n"): 2, Key("a"): 4}, (M, N), (Load("m", 1, 2, 3), Load("n", 4, 5, 6)), Standing()
    )
    assert both.of("n") == Reading({Key("a", "n"): 2}, (N,), (Load("n", 4, 5, 6),))
    assert (both.waiting, both.of("x")) == (8, Reading())


def test_a_load_survives_the_wire() -> None:
    load = Load("m", 1, 20, 3, running=1, slots=4, used=300, cells=4096)
    assert codec.decode_load(codec.encode_load(load)) == load
    for rubbish in (b"", b"[]", b"{}", b'{"model": "m", "mood": 1}'):
        with pytest.raises(DecodeError):
            codec.decode_load(rubbish)

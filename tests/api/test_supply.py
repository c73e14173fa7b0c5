"""Who is lent how much of what a process has."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from tropilla.api.supply import Supply
from tropilla.common.errors import Overloaded


def test_a_key_has_three_for_each_that_it_leaves_free() -> None:
    supply = Supply("places", 8, wait_seconds=0)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(supply.lent(1, "a"))
        with pytest.raises(Overloaded, match="all places are taken"), supply.lent(1, "a"):
            pass
        held.enter_context(supply.lent(1, "b"))
    with supply.lent(6, "a"):
        pass


def test_what_is_more_than_there_is_is_lent_to_one_alone() -> None:
    supply = Supply("places", 8, wait_seconds=0)
    with supply.lent(9, "a"), pytest.raises(Overloaded), supply.lent(1, "b"):
        pass
    with supply.lent(1, "b"), pytest.raises(Overloaded), supply.lent(9, "a"):
        pass


def test_whoever_waits_is_lent_what_comes_back() -> None:
    supply = Supply("places", 4, wait_seconds=30)
    waits, has = threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        with supply.lent(3, "b"):
            has.set()

    with supply.lent(3, "a"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(10)
        assert not has.is_set()
    thread.join(10)
    assert has.is_set()


def test_it_comes_back_whatever_happens() -> None:
    supply = Supply("places", 4, wait_seconds=0)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), supply.lent(3, "a"):
            raise ZeroDivisionError

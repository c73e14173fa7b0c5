"""This process's counts on their way to the others' and back."""

from __future__ import annotations

import threading

import pytest
from tropilla.api.counters import Alone, Counters
from tropilla.common.errors import StoreUnavailable
from tropilla.common.metrics import Counts, Key, Load, Queued, Reading, Standing

QUEUED = Queued("m", "cpu", "normal", 3, 1.5)


class Shared(Alone):
    """A store of several processes."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.added = threading.Event()

    def add_counts(self, counts: Counts) -> None:
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        super().add_counts(counts)
        self.added.set()

    def loads(self) -> tuple[Load, ...]:
        return (Load("m", 1, 2, 3),)

    def queued(self) -> tuple[Queued, ...]:
        return (QUEUED,)

    def standing(self) -> Standing:
        return Standing(api_processes=2)


def test_processes_add_up_and_a_reader_sees_his_own_at_once() -> None:
    store = Shared()
    one = Counters(store)
    other = Counters(store, store)
    one.tally.count("a")
    one.flush()
    other.tally.count("a")
    assert other.read() == Reading({Key("a"): 2}, (QUEUED,), (Load("m", 1, 2, 3),), Standing(api_processes=2))


def test_counts_outlive_a_store_that_is_away() -> None:
    store = Shared()
    counters = Counters(store)
    counters.tally.count("a")
    store.down = True
    with pytest.raises(StoreUnavailable):
        counters.flush()
    counters.stop()
    store.down = False
    counters.flush()
    assert store.counts() == {Key("a"): 1}


def test_counts_leave_by_themselves_and_at_the_end() -> None:
    store = Shared()
    counters = Counters(store)
    counters.start()
    counters.tally.count("a")
    assert store.added.wait(10)
    counters.tally.count("a")
    counters.stop()
    assert store.counts() == {Key("a"): 2}


def test_a_process_on_its_own_has_itself() -> None:
    counters = Counters()
    counters.tally.count("a")
    assert counters.read() == Reading({Key("a"): 1}, standing=Standing(api_processes=1))

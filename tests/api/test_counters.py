"""This process's counts on their way to the others' and back."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from fakes import WORKER
from tropilla.api.counters import Alone, Counters
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import StoreUnavailable
from tropilla.common.metrics import Counts, Key, Load, Reading


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


def test_processes_add_up_and_a_reader_sees_his_own_at_once() -> None:
    store = Shared()
    one = Counters(store)
    other = Counters(store, lambda lanes: {lane: {"m.cpu": 2, "m.gpu": 1}[lane] for lane in lanes})
    one.tally.count("a")
    one.flush()
    other.tally.count("a")
    assert other.read(Catalogue((WORKER,))) == Reading({Key("a"): 2}, {"m": 3}, (Load("m", 1, 2, 3),))


def test_a_model_that_is_not_ready_has_no_queue_to_be_told() -> None:
    loading = dataclasses.replace(WORKER, state="loading")
    assert Counters(Shared()).read(Catalogue((loading,))).waiting == {}


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
    assert counters.read(Catalogue((WORKER,))) == Reading({Key("a"): 1}, {"m": 0}, ())

"""One errand from its ticket to its last word, with a bus and a registry that remember what they were told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from tropilla.common.errands import Delete, Done, Errand, Progress, Refused, Stop, Word
from tropilla.common.errors import StoreUnavailable
from tropilla.workers.store.desk import Desk
from tropilla.workers.store.pulling import Stopped
from tropilla.workers.store.refusals import Refusal

ERRAND = Delete("e1", "m")


class FakeLedger:
    """The bus and the registry in one."""

    def __init__(self) -> None:
        self.words: list[tuple[str, Word]] = []
        self.flights: list[str] = []
        self.passing: list[str] = []
        self.renewed: list[tuple[tuple[str, ...], float]] = []
        self.holder = ""
        self.wanted_to_stop: set[str] = set()
        self.down = False

    def tell(self, errand_id: str, word: Word, *, flight: str = "", passing: bool = False) -> None:
        if self.down:
            raise StoreUnavailable("Redis cannot serve")
        self.words.append((errand_id, word))
        if passing:
            self.passing.append(errand_id)
        if flight:
            self.flights.append(flight)

    def renew_tickets(self, tags: list[str], now: float) -> None:
        self.renewed.append((tuple(tags), now))

    def lead(self, office: str, who: str, *, seconds: float) -> bool:
        self.holder = self.holder or who
        return self.holder == who

    def resign(self, office: str, who: str, *, expect_seconds: float = 0.0) -> None:
        if self.holder == who:
            self.holder = "expected" if expect_seconds else ""

    def hear(self, errand_id: str) -> list[tuple[str, Word]]:
        return [(str(place), word) for place, (heard, word) in enumerate(self.words) if heard == errand_id]

    def stopped(self, errand_id: str) -> Stop | None:
        return "discard" if errand_id in self.wanted_to_stop else None

    def keep_flights(self, flights: Sequence[str]) -> None:
        self.kept_flights = list(flights)


class FakeShelves:
    def __init__(self, do: Callable[[Callable[[Word], None], Callable[[], bool]], Done]) -> None:
        self._do = do
        self.again: list[bool] = []

    def do(
        self, errand: Errand, say: Callable[[Word], None], stopped: Callable[[], bool], *, again: bool = False
    ) -> Done:
        self.again.append(again)
        return self._do(say, stopped)

    def dismiss(self) -> None:
        pass


def serve(do: Callable[[Callable[[Word], None], Callable[[], bool]], Done]) -> tuple[FakeLedger, str]:
    ledger = FakeLedger()
    desk = Desk(ledger, ledger, FakeShelves(do), leave=pytest.fail)  # type: ignore[arg-type]
    return ledger, desk.serve(ERRAND, "flight", "tag", again=False)


def raising(error: Exception) -> Callable[..., Done]:
    def do(*_: object) -> Done:
        raise error

    return do


def test_what_is_said_and_the_last_word_are_told_and_the_flight_is_free() -> None:
    def do(say: Callable[[Word], None], stopped: Callable[[], bool]) -> Done:
        say(Progress("on it"))
        return Done("m")

    ledger, outcome = serve(do)
    assert ledger.words == [("e1", Progress("on it")), ("e1", Done("m"))]
    assert (ledger.flights, outcome) == (["flight"], "done")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (Refusal("unknown", "no such model", "name"), Refused("unknown", "no such model", "name")),
        (Stopped(), Refused("cancelled", "the download was stopped")),
        (KeyError("bug"), Refused("failed", "the store could not do it: KeyError: 'bug'")),
    ],
)
def test_whatever_happens_there_is_a_last_word(error: Exception, word: Word) -> None:
    ledger, _ = serve(raising(error))
    assert ledger.words == [("e1", word)]
    assert ledger.flights == ["flight"]


def test_without_redis_the_ticket_is_to_come_back() -> None:
    ledger = FakeLedger()
    ledger.down = True
    desk = Desk(ledger, ledger, FakeShelves(lambda say, stopped: Done()), leave=pytest.fail)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        desk.serve(ERRAND, "flight", "tag", again=False)
    ledger.down = False
    assert desk.serve(ERRAND, "flight", "tag", again=True) == "done"


def test_what_has_had_its_last_word_is_not_done_again() -> None:
    ledger, _ = serve(lambda say, stopped: Done("m"))
    desk = Desk(ledger, ledger, FakeShelves(raising(AssertionError())), leave=pytest.fail)  # type: ignore[arg-type]
    assert desk.serve(ERRAND, "flight", "tag", again=True) == "done already"
    assert (len(ledger.words), len(ledger.flights)) == (1, 1)


def test_a_second_delivery_changes_nothing_and_leaving_makes_tickets_due() -> None:
    ledger = FakeLedger()

    def do(say: Callable[[Word], None], stopped: Callable[[], bool]) -> Done:
        assert desk.serve(ERRAND, "flight", "other tag", again=True) == "held: a second delivery"
        desk.close()
        return Done()

    shelves = FakeShelves(do)
    desk = Desk(ledger, ledger, shelves, leave=pytest.fail)  # type: ignore[arg-type]
    desk.serve(ERRAND, "flight", "tag", again=False)
    assert shelves.again == [False]
    assert ledger.renewed == [(("tag",), 0.0)]
    assert ledger.holder == ""


def test_a_store_that_is_back_in_a_moment_says_so() -> None:
    ledger = FakeLedger()
    desk = Desk(ledger, ledger, FakeShelves(raising(AssertionError())), leave=pytest.fail)  # type: ignore[arg-type]
    desk.open()
    desk.close(returns=True)
    assert ledger.holder == "expected"


def test_a_store_whose_office_is_another_ones_leaves() -> None:
    ledger = FakeLedger()
    why: list[str] = []
    left = threading.Event()

    def leave(reason: str) -> None:
        why.append(reason)
        left.set()

    desk = Desk(ledger, ledger, FakeShelves(lambda say, stopped: Done()), leave=leave)  # type: ignore[arg-type]
    desk.open()
    ledger.holder = "another"
    assert left.wait(10)
    assert why == ["another store has taken over"]
    assert ((), 0.0) in ledger.renewed


def test_a_wish_to_stop_reaches_the_errand_that_is_under_way() -> None:
    ledger = FakeLedger()

    def do(say: Callable[[Word], None], stopped: Callable[[], bool]) -> Done:
        assert not stopped()
        ledger.wanted_to_stop.add("e1")
        desk.open()
        while not stopped():
            pass
        raise Stopped

    desk = Desk(ledger, ledger, FakeShelves(do), leave=pytest.fail)  # type: ignore[arg-type]
    try:
        assert desk.serve(ERRAND, "flight", "tag", again=False) == "refused"
    finally:
        desk.close()
    assert ledger.words == [("e1", Refused("cancelled", "the download was stopped"))]
    assert ledger.renewed[0][0] == ("tag",)

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from tropilla.api.inbox import CLOSING, GAP, GONE, MAX_UNREAD, Inbox, Mailbox
from tropilla.common.bus import Delivered, Silent, split_message
from tropilla.common.errors import StoreUnavailable, WorkerLost


class FakeListener:
    """Hands over what is posted; an exception that is posted is raised."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.closed = False

    def read(self) -> bytes | None:
        try:
            item = self.posted.get(timeout=0.01)
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


class FakeRadio:
    """Gives out one listener after another."""

    def __init__(self, refusals: int = 0) -> None:
        self.listeners: queue.SimpleQueue[FakeListener] = queue.SimpleQueue()
        self.names: list[str] = []
        self.away = False
        #: What `away` was, whenever somebody subscribed.
        self.asked_while_away: list[bool] = []
        self._refusals = refusals

    def listen_inbox(self, inbox: str) -> Any:
        self.asked_while_away.append(self.away)
        if self._refusals:
            self._refusals -= 1
            raise StoreUnavailable("Redis cannot serve")
        self.names.append(inbox)
        listener = FakeListener()
        self.listeners.put(listener)
        return listener


@pytest.fixture
def radio() -> FakeRadio:
    return FakeRadio()


@pytest.fixture
def inbox(radio: FakeRadio) -> Iterator[Inbox]:
    inbox = Inbox(radio, "here")
    inbox.start()
    yield inbox
    inbox.stop()


def test_a_message_is_lines_of_request_index_and_payload() -> None:
    message = b'r1 0 ["t",0,1,"a b",0]\nr2 17 {"x": " "}'
    assert list(split_message(message)) == [
        Delivered("r1", 0, b'["t",0,1,"a b",0]'),
        Delivered("r2", 17, b'{"x": " "}'),
    ]


def test_each_request_gets_its_own_events_in_order() -> None:
    inbox = Inbox(FakeRadio())
    a, b = inbox.register("a"), inbox.register("b")
    inbox.dispatch(b"a 0 x\nb 0 y\na 1 z\nnobody 0 w")
    assert [a.get(0), a.get(0), a.get(0.001)] == [Delivered("a", 0, b"x"), Delivered("a", 1, b"z"), None]
    assert [b.get(0), b.get(0.001)] == [Delivered("b", 0, b"y"), None]


def test_a_forgotten_request_gets_nothing_and_is_not_counted() -> None:
    inbox = Inbox(FakeRadio())
    mailbox = inbox.register("a")
    assert inbox.open_requests == 1
    inbox.forget("a", mailbox)
    inbox.forget("a", mailbox)
    inbox.dispatch(b"a 0 x")
    assert (mailbox.get(0.001), inbox.open_requests) == (None, 0)


def test_several_callers_of_one_request_each_hear_all_of_it() -> None:
    inbox = Inbox(FakeRadio())
    one, other = inbox.register("a"), inbox.register("a")
    inbox.dispatch(b"a 0 x")
    inbox.forget("a", one)
    inbox.dispatch(b"a 1 y")
    inbox.close_all()
    assert [one.get(0), one.get(0.001)] == [Delivered("a", 0, b"x"), None]
    assert [other.get(0) for _ in range(3)] == [Delivered("a", 0, b"x"), Delivered("a", 1, b"y"), CLOSING]


def test_two_inboxes_have_different_names() -> None:
    assert Inbox(FakeRadio()).name != Inbox(FakeRadio()).name


def test_a_reader_that_is_too_far_behind_loses_events_and_no_marks() -> None:
    mailbox = Mailbox()
    for index in range(MAX_UNREAD + 50):
        mailbox.put(Delivered("a", index, b"x"))
    mailbox.mark(GONE)
    items = [mailbox.get(0) for _ in range(MAX_UNREAD + 1)]
    assert items[-2:] == [Delivered("a", MAX_UNREAD - 1, b"x"), GONE]
    assert mailbox.get(0.001) is None


def test_closing_reaches_every_open_request() -> None:
    inbox = Inbox(FakeRadio())
    mailboxes = [inbox.register(name) for name in "ab"]
    inbox.close_all()
    assert [mailbox.get(0) for mailbox in mailboxes] == [CLOSING, CLOSING]
    with pytest.raises(WorkerLost, match="shutting down"):
        inbox.register("c")


def test_what_is_published_reaches_the_mailbox(inbox: Inbox, radio: FakeRadio) -> None:
    mailbox = inbox.register("a")
    radio.listeners.get(timeout=5).posted.put(b"a 0 x")
    assert mailbox.get(5) == Delivered("a", 0, b"x")
    assert radio.names == ["here"]


@pytest.mark.parametrize("trouble", [StoreUnavailable("gone"), RuntimeError("a bug"), b"junk"])
def test_a_reader_that_breaks_starts_again_and_tells_of_the_gap(inbox: Inbox, radio: FakeRadio, trouble: Any) -> None:
    first = radio.listeners.get(timeout=5)
    mailbox = inbox.register("a")
    first.posted.put(trouble)
    assert mailbox.get(5) is GAP
    radio.listeners.get(timeout=5).posted.put(b"a 1 y")
    assert mailbox.get(5) == Delivered("a", 1, b"y")
    assert first.closed


def test_a_redis_that_refuses_the_subscription_is_away_until_it_grants_it() -> None:
    radio = FakeRadio(refusals=2)
    inbox = Inbox(radio)
    inbox.start()
    assert radio.asked_while_away == [False, True, True]
    assert not radio.away
    inbox.stop()


@pytest.mark.parametrize(("trouble", "away"), [(Silent("no answer"), True), (StoreUnavailable("cut"), False)])
def test_silence_means_that_redis_is_away_and_a_broken_connection_does_not(
    inbox: Inbox, radio: FakeRadio, trouble: StoreUnavailable, away: bool
) -> None:
    radio.listeners.get(timeout=5).posted.put(trouble)
    radio.listeners.get(timeout=5)
    assert radio.asked_while_away == [False, away]
    assert not radio.away


def test_starting_waits_for_the_subscription() -> None:
    radio = FakeRadio(refusals=1)
    inbox = Inbox(radio)
    inbox.start()
    assert radio.names == [inbox.name]
    inbox.stop()


def test_starting_without_a_subscription_is_an_error() -> None:
    inbox = Inbox(FakeRadio(refusals=10**9))
    with pytest.raises(StoreUnavailable):
        inbox.start(timeout_seconds=0.05)
    inbox.stop()


def test_marks_can_be_told_apart_in_a_log() -> None:
    assert [repr(mark) for mark in (GONE, CLOSING, GAP)] == ["GONE", "CLOSING", "GAP"]

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest
from tropilla.api.hangup import watch

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def let_it_look() -> None:
    """Greenlets that can run do."""
    for _ in range(3):
        gevent.sleep(0.001)


def test_a_client_that_leaves_is_noticed(pair: Pair) -> None:
    ours, theirs = pair
    told: list[str] = []
    watch({"gunicorn.socket": ours}, lambda: told.append("gone"))
    let_it_look()
    assert told == []
    theirs.close()
    let_it_look()
    assert told == ["gone"]


def test_a_client_that_sends_its_next_request_early_has_not_left(pair: Pair) -> None:
    ours, theirs = pair
    told: list[str] = []
    watch({"gunicorn.socket": ours}, lambda: told.append("gone"))
    theirs.send(b"GET / HTTP/1.1")
    let_it_look()
    assert told == []
    assert ours.recv(99) == b"GET / HTTP/1.1"


def test_nobody_is_told_after_watching_has_stopped(pair: Pair) -> None:
    ours, theirs = pair
    told: list[str] = []
    stop = watch({"gunicorn.socket": ours}, lambda: told.append("gone"))
    let_it_look()
    stop()
    theirs.close()
    let_it_look()
    assert told == []


def test_without_gunicorn_nothing_is_watched() -> None:
    watch({}, lambda: None)()

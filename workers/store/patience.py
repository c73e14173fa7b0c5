"""Trying again: how often, how long between, and not for somebody who does not want it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Stopped
from tropilla.workers.store.wire import Answer, Unreachable

_T = TypeVar("_T")

#: Of a transfer that has begun: about two minutes without a byte.
RETRIES = 6
#: Of a question to a server that nothing has come from yet: its name may be wrong as well.
FIRST_RETRIES = 2
#: How often a sleeper looks whether it is still wanted, in seconds.
GLANCE_SECONDS = 1.0


@contextmanager
def breaking_off(answer: Answer, stopped: Asked, beat: Callable[[], None]) -> Iterator[None]:
    """While its body is read: a line that says nothing for long keeps nobody who wants to stop; and `beat` is called."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(GLANCE_SECONDS):
            if stopped():
                answer.break_off()
                return
            beat()

    looking = threading.Thread(target=look, name="breaking off", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def backoff(turn: int, chance: float) -> float:
    """Seconds before the retry of number `turn`, from 0; by the jitter, those who lost one server do not return in step."""
    return float(2**turn) + chance


def wait(seconds: float, pulling: Pulling, stopped: Asked) -> None:
    """Raises `Stopped`."""
    until = pulling.clock() + seconds
    while (left := until - pulling.clock()) > 0:
        if stopped():
            raise Stopped
        pulling.sleep(min(left, GLANCE_SECONDS))


def patiently(ask: Callable[[], _T], pulling: Pulling, stopped: Asked) -> _T:
    """What a question to a server gives, after a few tries. Raises `FetchFailed` and `Stopped`."""
    for turn in range(FIRST_RETRIES):
        if stopped():
            raise Stopped
        try:
            return ask()
        except Unreachable as error:
            wait(max(backoff(turn, pulling.chance()), error.retry_after), pulling, stopped)
    try:
        return ask()
    except Unreachable as error:
        raise FetchFailed("download_failed", error.message) from error


def expect_patience(answer: Answer) -> None:
    """Raises `Unreachable` for a status that says that the next time may be better."""
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise Unreachable(f"{answer.host} answers with status {answer.status}", retry_after=answer.retry_after)

"""Ways a worker process ends: told to, by accident, or by turning into a fresh one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Any, NoReturn

from tropilla.workers.witness import Witness

log = logging.getLogger(__name__)

#: Leave, and a fresh process takes this one's place: whoever started it starts it again at once.
RESTART = signal.SIGUSR2
SIGNALS = (signal.SIGTERM, signal.SIGINT, RESTART)


#: Who sees this process end, if anybody does.
_witnesses: list[Witness] = []


class Stopped(BaseException):
    """A signal has told this process to leave; in its main thread."""


class Restarted(Stopped):
    """It leaves, and is back in a moment."""


def be_seen_by(witness: Witness) -> None:
    """From here on whatever this process holds is let go of when it ends, and it is told why where that is known."""
    _witnesses.append(witness)


def be_seen_no_more() -> None:
    """What follows is an orderly end."""
    while _witnesses:
        _witnesses.pop().dismiss()


def _confess(word: str) -> None:
    for witness in _witnesses:
        witness.accuse(word)


def hear_signals() -> None:
    """From here on they raise `Stopped`, also those that came while this process began anew."""
    for number in SIGNALS:
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def hear_restarts(restart: Callable[[], None]) -> None:
    """The signal calls this from here on, while Celery hears the others."""
    signal.signal(RESTART, lambda number, frame: restart())


def _stop(number: int, _: FrameType | None) -> None:
    for each in SIGNALS:
        # Once is enough: nothing is to interrupt the farewell.
        signal.signal(each, signal.SIG_IGN)
    raise Restarted if number == RESTART else Stopped


def begin_anew(flags: Sequence[str], *, without: Collection[str]) -> NoReturn:
    """This process turns into a fresh one of its own kind, with other flags and the same environment."""
    # Whoever tells it to leave meanwhile is heard by the fresh one: what is blocked stays blocked, and pending.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    be_seen_no_more()
    sys.stdout.flush()
    sys.stderr.flush()
    same = [argument for argument in sys.orig_argv[1:] if argument not in without]
    os.execve(sys.executable, [sys.executable, *same, *flags], os.environ)


def leave_quietly() -> NoReturn:
    """Also where another thread is in the middle of llama.cpp's loading, which nothing else ends."""
    be_seen_no_more()
    os._exit(0)


def after(seconds: float, act: Callable[[], None]) -> None:
    """Unless the process has left by then."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def leave_at_once() -> None:
    log.critical("leaving without a farewell")
    os._exit(75)


def leave_hanging(seconds: float) -> None:
    """Nothing inside a process ends a step that hangs; its leases expire, and others go on."""
    log.critical("a step has been running for %.0f s: leaving", seconds)
    _confess("a step hangs")
    os._exit(71)


def leave_deaf() -> NoReturn:
    """Whoever started this process starts it again, with a consumer that hears."""
    log.critical("leaving: tickets wait, and Celery's consumer does not pull them")
    os._exit(72)


def or_die(work: Any) -> None:
    """A worker whose loop or publisher has died must not look alive: leases expire, and callers are told."""
    try:
        work()
    except BaseException:
        log.critical("the worker cannot go on", exc_info=True)
        _confess("the worker cannot go on")
        os._exit(70)

from __future__ import annotations

import os
import select
import signal

from tropilla.compose.signals import Signals


def test_one_signal_is_one_request_to_stop_and_wakes_the_loop(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert select.select([signals], [], [], 5)[0]
    assert signals.requests == 1
    signals.drain()
    assert not select.select([signals], [], [], 0)[0]


def test_signals_at_the_same_moment_are_one_request() -> None:
    times = iter([0.0, 0.01, 0.02, 5.0])
    signals = Signals(clock=lambda: next(times))
    for _ in range(3):
        signals.request()
    assert signals.requests == 1
    signals.request()
    assert signals.requests == 2


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_under_nohup_a_closed_terminal_is_no_request() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_restart_is_no_request_to_stop(signals: Signals) -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGUSR2)
        assert select.select([signals], [], [], 5)[0]
        signals.drain()
    assert (signals.requests, signals.restarts) == (0, 2)

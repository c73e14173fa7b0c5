"""What happens when a process ends by itself: decided here, done by local.py."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Literal

from tropilla.compose.program import Role

#: `starting` until everything is up for the first time.
Phase = Literal["starting", "running"]
Decision = Literal["restart", "stop"]

#: A fault while starting is a wrong file, flag or machine: trying again for ever would hide it. Nothing works without
#: Redis, and what it holds must not be silently new. Flower only watches.
DECISIONS: Mapping[Role, Mapping[Phase, Decision]] = {
    "redis": {"starting": "stop", "running": "stop"},
    "api": {"starting": "stop", "running": "restart"},
    "worker": {"starting": "stop", "running": "restart"},
    "store": {"starting": "stop", "running": "restart"},
    "flower": {"starting": "restart", "running": "restart"},
}

#: What each is told when everything stops. An API process would take SIGTERM for a time to finish its streams, however long
#: they are.
FAREWELLS: Mapping[Role, signal.Signals] = {
    "redis": signal.SIGTERM,
    "api": signal.SIGINT,
    "worker": signal.SIGTERM,
    "store": signal.SIGTERM,
    "flower": signal.SIGTERM,
}
#: Tells a worker or the store to leave because it is started again at once, and `tropilla up` to do that to all.
RESTART = signal.SIGUSR2

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
#: A process that ran so long is no longer failing to start: the pauses begin anew.
STEADY_SECONDS = 60.0


def pause_seconds(failures: int) -> float:
    """How long to wait before the next start, after so many failures in a row before this one."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 16))


def failures_in_a_row(before: int, lived_seconds: float) -> int:
    """How many failures came directly before this one, given what there were when the process was started."""
    return 0 if lived_seconds >= STEADY_SECONDS else before


def exit_words(status: int) -> str:
    """A return code, as `subprocess` gives it, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"

"""Ways a worker process ends that it has not chosen."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


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
    os._exit(71)


def or_die(work: Any) -> None:
    """A worker whose loop or publisher has died must not look alive: leases expire, and callers are told."""
    try:
        work()
    except BaseException:
        log.critical("the worker cannot go on", exc_info=True)
        os._exit(70)

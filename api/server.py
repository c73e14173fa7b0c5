"""gunicorn's configuration, as a module: `gunicorn --config python:tropilla.api.server ...`. Every choice was measured.

SIGTERM, to the master or by it, is to leave when everything is answered, at the latest after `api_drain_seconds`; SIGINT,
at the latest after `drain_seconds`; a second SIGINT, now. Streams that are cut have their last words.

Imported by gunicorn's parent before it forks, so it imports nothing that opens sockets.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from tropilla.common import readiness
from tropilla.common.settings import Settings

_settings = Settings.from_environment()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.api_processes
# One greenlet per stream; threads collapse at a thousand.
worker_class = "gevent"
worker_connections = 2000
# Liveness of the process, not length of a stream.
timeout = 60
keepalive = 15
# Beyond the drain time: gunicorn cuts what is open then without running its clean-up, so that must have ended before.
graceful_timeout = int(_settings.api_drain_seconds) + 5
# No preload (sockets and greenlets must be made after the fork), no max_requests (new requests would stall meanwhile).
preload_app = False
max_requests = 0
accesslog = None
loglevel = "info"
proc_name = "tropilla-api"
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """The process can be used: from here on it answers, and watches for the word to leave."""

    departure = _departure(worker)
    departure.told = lambda: not worker.alive

    def watch() -> None:
        while worker.alive:
            time.sleep(0.1)
        # Another process goes on with the batches at once.
        worker.wsgi.extensions["tropilla"].hand_over()
        departure.drain(_settings.api_drain_seconds)

    threading.Thread(target=watch, name="departure", daemon=True).start()
    # The master is the one that was started.
    readiness.tell(os.getppid())


def worker_int(worker: Any) -> None:
    """Told to leave soon; gunicorn ends the process when this returns."""
    if _loaded(worker):
        departure = _departure(worker)
        departure.leave(0.0 if departure.begun else _settings.drain_seconds)


def pre_request(worker: Any, _: Any) -> None:
    _departure(worker).open += 1


def post_request(worker: Any, _: Any, __: Any, ___: Any) -> None:
    """Called when the last byte has been handed to the kernel, or cannot be."""
    _departure(worker).open -= 1


def worker_exit(_: Any, worker: Any) -> None:
    """The counts of the last second."""
    if _loaded(worker):
        worker.wsgi.extensions["tropilla"].counters.stop()


def _loaded(worker: Any) -> bool:
    """A process that is told to leave while it starts has no application yet."""
    return getattr(worker, "wsgi", None) is not None


def _departure(worker: Any) -> Any:
    return worker.wsgi.extensions["tropilla"].departure

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

from gunicorn.glogging import Logger
from tropilla.common import logs, readiness
from tropilla.common.settings import Settings

_settings = Settings.from_environment()
logs.begin(_settings, "api")

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
loglevel = logs.library_level(_settings).lower()
proc_name = "tropilla-api"
control_socket_disable = True


class _Lines(Logger):  # type: ignore[misc]
    """Its lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = _Lines


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
    """The counts, and the spans, of the last seconds."""
    if _loaded(worker):
        collaborators = worker.wsgi.extensions["tropilla"]
        collaborators.counters.stop()
        if collaborators.collector is not None:
            collaborators.collector.close()


def _loaded(worker: Any) -> bool:
    """A process that is told to leave while it starts has no application yet."""
    return getattr(worker, "wsgi", None) is not None


def _departure(worker: Any) -> Any:
    return worker.wsgi.extensions["tropilla"].departure

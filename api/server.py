"""gunicorn's configuration, as a module: `gunicorn --config python:tropilla.api.server ...`. Every choice was measured.

Imported by gunicorn's parent before it forks, so it imports nothing that opens sockets.
"""

from __future__ import annotations

import threading
import time
from typing import Any

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
graceful_timeout = int(_settings.drain_seconds) + 5
# No preload (sockets and greenlets must be made after the fork), no max_requests (new requests would stall meanwhile).
preload_app = False
max_requests = 0
accesslog = None
loglevel = "info"
proc_name = "tropilla-api"
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """gunicorn cuts open streams when the grace is over, without running their clean-up: end them before that."""

    def watch() -> None:
        while worker.alive:
            time.sleep(0.1)
        # Another process goes on with the batches at once.
        worker.wsgi.extensions["tropilla"].hand_over()
        time.sleep(_settings.drain_seconds)
        worker.wsgi.extensions["tropilla"].inbox.close_all()

    threading.Thread(target=watch, name="drain", daemon=True).start()


def worker_exit(_: Any, worker: Any) -> None:
    """The counts of the last second."""
    if worker.wsgi is not None:
        worker.wsgi.extensions["tropilla"].counters.stop()

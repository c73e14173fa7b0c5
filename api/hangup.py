"""Notices that a client has closed its connection, also while nothing is being written to it.

Without this a request that is queued, in prefill or not streamed is never known to be unwanted (measured: full work is
done). With it the worker hears of it within a millisecond. A client that shuts down only its sending side reads as gone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.socket import wait_read


def watch(environ: Mapping[str, Any], gone: Callable[[], None]) -> Callable[[], None]:
    """Calls `gone` once the client of this WSGI request has left. Answers a function that stops watching.

    Only under gunicorn, which hands out the socket; elsewhere nothing is watched.
    """
    client = environ.get("gunicorn.socket")
    if not isinstance(client, socket.socket):
        return lambda: None
    watcher = gevent.spawn(_wait, client, gone)
    return lambda: watcher.kill(block=False)


def _wait(client: socket.socket, gone: Callable[[], None]) -> None:
    try:
        wait_read(client.fileno())
        left = client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return
    except OSError:
        left = True
    if left:
        gone()
    # Anything else is the client's next request, sent early: it is served after this one, and tells us nothing.

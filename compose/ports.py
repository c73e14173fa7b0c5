"""Ports that are free before anything is started, and stay ours until whoever is to listen on them does."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from types import TracebackType

from tropilla.common.addresses import reachable_host
from tropilla.common.addresses import web_address as web_address
from tropilla.common.errors import ConfigurationError

#: What a port is for -> what changes it.
FLAGS = {"the API": "--port or TROPILLA_PORT", "Flower": "--flower-port or TROPILLA_FLOWER_PORT"}


class Reservations:
    """Bound sockets that never listen.

    A server that sets SO_REUSEADDR, as gunicorn, Flower and Redis do, may listen beside one; a second reservation of a
    port picked by the kernel is not given out, so two `tropilla up --port 0` at once cannot meet.
    """

    def __init__(self) -> None:
        self._sockets = ExitStack()
        self._by_port: dict[int, socket.socket] = {}
        self._taken: dict[int, str] = {}

    def __enter__(self) -> Reservations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sockets.close()

    def reserve(self, host: str, port: int, purpose: str) -> int:
        """The port, or a free one for 0. Raises `ConfigurationError`: in use, not allowed, no such address."""
        if port in self._taken:
            both = f"{self._taken[port]} and for {purpose}"
            raise ConfigurationError(f"port {port} cannot be both for {both}: choose another with {FLAGS[purpose]}")
        reserved = self._sockets.enter_context(_bound(host, port, purpose))
        number = int(reserved.getsockname()[1])
        self._taken[number] = purpose
        self._by_port[number] = reserved
        return number

    def descriptor(self, port: int) -> int:
        """The reservation itself, for a server to listen on: whoever listens on it next takes over the callers who wait."""
        return self._by_port[port].fileno()

    def release(self, port: int) -> None:
        """Whoever calls from here on is refused, unless somebody else listens."""
        self._by_port[port].close()


def _bound(host: str, port: int, purpose: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise ConfigurationError(sentence(host, port, purpose, error)) from error
    return reserved


def sentence(host: str, port: int, purpose: str, error: OSError) -> str:
    """Why a port cannot be had, and what to do."""
    flag = FLAGS.get(purpose, "--redis")
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host}, wanted for {purpose}, is in use: choose another with {flag}"
        case errno.EACCES:
            return f"port {port}, wanted for {purpose}, is not allowed to this user: choose one above 1023 with {flag}"
        case _:
            return f"{host}, wanted for {purpose}, is no address of this machine: choose another --host (TROPILLA_HOST)"


def accepts(host: str, port: int, *, timeout_seconds: float = 1.0) -> bool:
    """Somebody listens there."""
    try:
        with socket.create_connection((reachable_host(host), port), timeout=timeout_seconds):
            return True
    except OSError:
        return False

"""Being asked to stop: Ctrl-C, SIGTERM, a closed terminal; or to restart. Handlers only take notes; the loop reads them."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from tropilla.compose.restarts import RESTART

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: `timeout` and service managers send one signal to the process and to its group: that is asking once.
SAME_REQUEST_SECONDS = 0.3


class Signals:
    """How often a stop was requested, how often a restart, and a socket that becomes readable whenever a signal arrives, or
    the end of a child.

    While open; afterwards signals do what they did before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests = 0
        self.restarts = 0
        self._clock = clock
        self._last = float("-inf")

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in (signal.SIGCHLD, RESTART, *STOP_SIGNALS)}
        for number, handler in self._before.items():
            # Under nohup a closed terminal is no reason to stop.
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """For a selector."""
        return self._reader.fileno()

    def drain(self) -> None:
        """Empties the socket; the notes stay."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        if number == RESTART:
            self.restarts += 1
        elif number != signal.SIGCHLD:
            self.request()

    def request(self) -> None:
        """A stop is wanted. A second request means: at once."""
        now = self._clock()
        if now - self._last >= SAME_REQUEST_SECONDS:
            self.requests += 1
        self._last = now

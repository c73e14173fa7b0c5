"""The store's other door: looks come beside its queue, and are done beside everything that takes long.

They are taken from a list, and a look that is taken is nobody else's: where it gets lost, whoever waits for it is told so
by his own clock, and asks again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from tropilla.common.errands import Look
from tropilla.common.errors import DecodeError, StoreUnavailable

log = logging.getLogger(__name__)

#: Looks under way at once. Each is over after some seconds (looking.py).
LOOKS = 8
#: How long one question for the next look may last, and a pause after Redis could not be asked.
WAIT_SECONDS = 2.0


class Queue(Protocol):
    """What is needed of `registry.Registry`."""

    def next_look(self, *, wait_seconds: float) -> tuple[Look, str] | None: ...


class Looks:
    """Threads that take looks. `serve` does one, of a flight, to its last word, and may raise `StoreUnavailable`; `pause`
    waits for so many seconds.
    """

    def __init__(
        self, queue: Queue, serve: Callable[[Look, str], object], pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._queue, self._serve, self._pause = queue, serve, pause

    def open(self, threads: int = LOOKS) -> None:
        """They end with the process."""
        for number in range(threads):
            threading.Thread(target=self._take_all, name=f"looks-{number}", daemon=True).start()

    def take(self) -> None:
        """The next one, if there is one."""
        try:
            if found := self._queue.next_look(wait_seconds=WAIT_SECONDS):
                self._serve(*found)
        except StoreUnavailable as error:
            log.warning("no image is looked for: %s", error.message)
            self._pause(WAIT_SECONDS)
        except DecodeError as error:
            log.error("a look is dropped: %s", error.message)

    def _take_all(self) -> None:
        while True:
            self.take()

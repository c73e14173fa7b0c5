"""What Redis has still to be told when it is back: that nobody wants a request any more.

A client that leaves while Redis is away would otherwise be computed for to the end, since this process goes on listening.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tropilla.common.errors import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Owed:
    """`tell` says it of a request, and may raise `StoreUnavailable`; then it is tried again, in a thread that lives as long
    as anything is owed. It may be said twice where the answer was lost.
    """

    def __init__(self, tell: Callable[..., None], *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._tell, self._retry_seconds = tell, retry_seconds
        self._lock = threading.Lock()
        #: Guarded by the lock.
        self._owed: list[tuple[str, ...]] = []

    def tell(self, request_id: str, *more: str) -> None:
        """Now, or as soon as it can be done. more: what else `tell` is to know."""
        try:
            self._tell(request_id, *more)
        except StoreUnavailable as error:
            log.warning("request %s is cancelled later: %s", request_id, error.message)
            with self._lock:
                self._owed.append((request_id, *more))
                begins = len(self._owed) == 1
            if begins:
                threading.Thread(target=self._settle, name="owed", daemon=True).start()

    def _settle(self) -> None:
        rest = threading.Event()
        first: tuple[str, ...] | None = self._owed[0]
        while first:
            rest.wait(self._retry_seconds)
            try:
                while first:
                    self._tell(*first)
                    first = self._next()
            except StoreUnavailable:
                continue

    def _next(self) -> tuple[str, ...] | None:
        """The one after the one that was told; None when nothing is owed."""
        with self._lock:
            del self._owed[0]
            return self._owed[0] if self._owed else None

"""What one process has so much of and no more, lent to requests for a while: memory for bodies, places for images."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tropilla.common.errors import Overloaded

#: How long a request waits for its part, and when its caller may ask again; in seconds.
WAIT_SECONDS, RETRY_SECONDS = 10.0, 5
#: A key may have so much for each unit that it leaves free, as in a queue (common/admit.lua): nobody takes it all.
FOR_EACH_FREE = 3


class Supply:
    """Safe to share between threads. `what` is there are so many of: "... are taken"."""

    def __init__(self, what: str, units: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._what, self._units, self._wait_seconds = what, units, wait_seconds
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def lent(self, units: int, key: str) -> Iterator[None]:
        """So much of it, while the `with` lasts. Whoever wants more than there is waits until he is alone. Raises
        `Overloaded`.
        """
        with self._changed:
            if not self._changed.wait_for(functools.partial(self._fits, units, key), self._wait_seconds):
                raise Overloaded(f"all {self._what} are taken", retry_after_seconds=RETRY_SECONDS)
            self._taken[key] += units
        try:
            yield
        finally:
            with self._changed:
                self._taken[key] -= units
                # Counts only those that have something: whoever can name keys fills nothing.
                self._taken += Counter()
                self._changed.notify_all()

    def _fits(self, units: int, key: str) -> bool:
        free = self._units - self._taken.total() - units
        return not self._taken or self._taken[key] + units <= FOR_EACH_FREE * free

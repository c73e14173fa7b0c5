"""How an API process leaves: what it has begun to answer it finishes, in the time it is given, and then says good-bye.

gunicorn takes no new connections, and says `Connection: close` in answer to what still comes on old ones. An idle one it
leaves open for as long as ever (`keepalive`): to close it is to lose the request that is just on its way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LOOK_SECONDS = 0.05
#: For last words to be formed and written.
LAST_WORDS_SECONDS = 2.0


class Departure:
    """Of one process. `say_goodbye` ends every answer that is still open, in its dialect's words, and refuses new ones."""

    def __init__(
        self,
        say_goodbye: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        #: Somebody waits for it.
        self.begun = False
        #: Whether the process was told to leave, from the first moment.
        self.told: Callable[[], bool] = lambda: False
        #: Requests that are being answered.
        self.open = 0
        self._say_goodbye, self._clock, self._pause = say_goodbye, clock, pause
        self._until = math.inf
        self._said = False

    @property
    def foreseen(self) -> bool:
        """The process will not stay."""
        return self.begun or self.told()

    def drain(self, seconds: float) -> None:
        """Says good-bye after so many seconds. Till then whoever comes is answered; gunicorn ends the process before, as
        soon as nobody is connected any more.
        """
        self._begin(seconds)
        while self._clock() < self._until:
            self._pause(LOOK_SECONDS)
        self._end()

    def leave(self, seconds: float) -> None:
        """Until nothing is being answered, and no longer than `seconds` and some last words. While the process drains, or
        leaves already, that ends sooner, too.
        """
        self._begin(seconds)
        while self.open and self._clock() < self._until:
            self._pause(LOOK_SECONDS)
        self._end()
        while self.open and self._clock() < self._until + LAST_WORDS_SECONDS:
            self._pause(LOOK_SECONDS)

    def _begin(self, seconds: float) -> None:
        self.begun = True
        self._until = min(self._until, self._clock() + seconds)

    def _end(self) -> None:
        if not self._said:
            self._said = True
            self._say_goodbye()

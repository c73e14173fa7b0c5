"""Takes workers away at random moments, and says what they ran."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from cluster.herd import wait_for
from faults.checker import Loss
from faults.flock import Flock, Sheep, some

#: Between two losses: a random time within these bounds, in seconds.
BETWEEN_SECONDS = (0.2, 0.8)
#: Workers that are ready beside the one that is taken away.
OTHERS = 2
FROZEN_SECONDS = (2.5, 5.0)


class Killer:
    """`others`: so many workers are ready beside the victim when its hour comes."""

    def __init__(
        self,
        flock: Flock,
        chance: random.Random,
        *,
        between: tuple[float, float] = BETWEEN_SECONDS,
        others: int = OTHERS,
        frozen: tuple[float, float] = FROZEN_SECONDS,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._flock, self._chance, self._say = flock, chance, say
        self._between, self._others, self._frozen = between, others, frozen
        self.losses: list[Loss] = []
        #: How long those that were told to leave took for it, in seconds.
        self.leaving: list[float] = []

    def kill(self, count: int) -> None:
        """So many times: kill -9, and a new worker in its place."""
        for number in range(count):
            victim = self._victim()
            at = time.monotonic()
            self._flock.kill(victim)
            self._note(at, victim)
            self._flock.fork()
            if (number + 1) % 50 == 0:
                self._say(f"{number + 1} of {count} killed")

    def tell(self, count: int) -> None:
        """So many times: SIGTERM, and a new worker in its place."""
        for _ in range(count):
            victim = self._victim()
            at = time.monotonic()
            self._note(at, victim)
            self._flock.fork()
            self._flock.kill(victim, signal.SIGTERM)
            wait_for(lambda gone=victim: self._flock.gone(gone), f"{victim.name} to leave")
            self.leaving.append(time.monotonic() - at)

    def freeze(self, count: int) -> None:
        """So many times: SIGSTOP, and after its requests have gone on elsewhere, SIGCONT."""
        for _ in range(count):
            victim = self._victim()
            at = time.monotonic()
            self._flock.kill(victim, signal.SIGSTOP)
            self._note(at, victim)
            time.sleep(self._chance.uniform(*self._frozen))
            self._flock.kill(victim, signal.SIGCONT)

    def _victim(self) -> Sheep:
        time.sleep(self._chance.uniform(*self._between))
        found: list[Sheep | None] = []

        def look() -> bool:
            found[:] = [some(self._chance, self._flock, of=self._others + 1)]
            return found[0] is not None

        wait_for(look, f"{self._others + 1} ready workers")
        assert found[0] is not None
        return found[0]

    def _note(self, at: float, victim: Sheep) -> None:
        self.losses.append(Loss(at, victim.name, tuple(self._flock.holding().get(victim.name, ()))))

"""A rolling restart: every process of ours makes way for a fresh one, one after the other, and nobody who asks notices it.

API processes: a second master listens on the same socket; when all of its processes can be used the first one is told to
leave, and answers what it has begun. (gunicorn's own SIGHUP stops the old ones before the new ones can be used, and keeps
the modules that its master has imported.) Workers and the store: one leaves, having said that it is back in a
moment, and is started again; what it had begun goes on at another worker, or waits in its lane. Redis holds everybody's
requests and Flower only watches: they stay.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from tropilla.common.errors import TropillaError
from tropilla.compose.prepare import Cluster
from tropilla.compose.program import Program
from tropilla.compose.readiness import Readiness
from tropilla.compose.restarts import RESTART
from tropilla.compose.supervisor import Supervisor

#: A fresh API process before it has the old one's place, and the old one while it answers what it has begun.
NEW, OLD = "api-new", "api-old"
#: Whatever loads no model can be used by then, or never.
START_SECONDS = 60.0
#: Beyond its grace: by then a process has ended itself, or cannot.
LEAVE_SECONDS = 15.0
SAY_EVERY_SECONDS = 10.0


class RollFailed(TropillaError):
    """A fresh process could not be used: those that were not replaced yet go on as they are."""


class Rolling:
    """One restart of all. `turn` goes on with everything else for a moment; `changed` is called when a process has been
    replaced.
    """

    def __init__(
        self,
        cluster: Cluster,
        supervisor: Supervisor,
        readiness: Readiness,
        *,
        turn: Callable[[], None],
        say: Callable[[str], None],
        changed: Callable[[], None],
        patience_seconds: float = LEAVE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._cluster, self._supervisor, self._readiness = cluster, supervisor, readiness
        self._turn, self._say, self._changed = turn, say, changed

    def run(self) -> None:
        """Raises `RollFailed`."""
        began = time.monotonic()
        self._roll_api(self._cluster.api)
        for worker in self._cluster.workers:
            # A model may take minutes to be loaded.
            self._roll(worker, math.inf)
        self._roll(self._cluster.store, START_SECONDS)
        self._say(f"everything was restarted in {time.monotonic() - began:.0f} s")

    def _roll_api(self, api: Program) -> None:
        settings = self._cluster.settings
        self._check(api.name)
        if OLD in self._supervisor.pids:
            self._say(f"waiting for {OLD}, which still answers what it had begun")
            self._gone(OLD, settings.api_drain_seconds + self._patience_seconds)
        self._say(f"{api.name}: starting a fresh one beside it")
        self._readiness.forget()
        self._supervisor.start(replace(api, name=NEW), mended=False)
        try:
            self._usable(NEW, self._supervisor.pids[NEW], settings.api_processes, START_SECONDS)
        except RollFailed:
            self._gone(NEW, 0.0)
            raise
        self._supervisor.rename(api.name, OLD)
        self._supervisor.rename(NEW, api.name)
        self._supervisor.let_go(OLD, signal.SIGTERM)
        self._changed()
        self._say(f"{api.name}: the fresh one answers; the old one finishes what it has begun")

    def _roll(self, program: Program, most_seconds: float) -> None:
        began, name = time.monotonic(), program.name
        self._check(name)
        self._say(f"{name}: restarting")
        self._supervisor.let_go(name, RESTART)
        self._gone(name, self._cluster.settings.drain_seconds + self._patience_seconds)
        self._readiness.forget()
        self._supervisor.start(program)
        self._usable(name, self._supervisor.pids[name], 1, most_seconds)
        self._changed()
        self._say(f"{name}: can be used again after {time.monotonic() - began:.1f} s")

    def _check(self, name: str) -> None:
        if name not in self._supervisor.pids:
            raise RollFailed(f"{name} is not running")

    def _gone(self, name: str, most_seconds: float) -> None:
        """Waits until it has left, and helps where it does not."""
        if not self._wait(lambda: name not in self._supervisor.pids, most_seconds, f"{name} to leave"):
            self._supervisor.let_go(name, signal.SIGKILL)
            self._wait(lambda: name not in self._supervisor.pids, math.inf, f"{name} to end")

    def _usable(self, name: str, pid: int, times: int, most_seconds: float) -> None:
        def over() -> bool:
            return self._readiness.count(pid) >= times or self._supervisor.pids.get(name) != pid

        if not self._wait(over, most_seconds, f"{name} to be ready"):
            raise RollFailed(f"{name} could not be used within {most_seconds:.0f} s")
        if self._supervisor.pids.get(name) != pid:
            raise RollFailed(f"{name} ended before it could be used: {self._supervisor.last_words(name)}")

    def _wait(self, done: Callable[[], bool], most_seconds: float, what: str) -> bool:
        """Whether it happened in time."""
        began = said = time.monotonic()
        while not done():
            now = time.monotonic()
            if now - began >= most_seconds:
                return False
            if now - said >= SAY_EVERY_SECONDS:
                self._say(f"waiting for {what}, {now - began:.0f} s")
                said = now
            self._turn()
        return True

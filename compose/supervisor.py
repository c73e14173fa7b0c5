"""Keeps processes going until somebody wants them to stop, then stops them in order. Decisions are in restarts.py."""

from __future__ import annotations

import signal
import time
from collections.abc import Set

from tropilla.common.errors import TropillaError
from tropilla.compose.herd import Exit, Herd
from tropilla.compose.log import Log
from tropilla.compose.program import Program
from tropilla.compose.restarts import DECISIONS, FAREWELLS, Phase, exit_words, failures_in_a_row, pause_seconds
from tropilla.compose.signals import Signals

#: The one that the others say goodbye to, so it stops last.
LAST = "redis"
LAST_PATIENCE_SECONDS = 10.0


class StopRequested(Exception):
    """Somebody wants everything to stop: the way out of the loop, not an error."""


class ClusterFailed(TropillaError):
    """A process without which nothing goes on ended by itself."""


class Supervisor:
    """The loop: wait for something to happen, decide, do. `phase` is `starting` until its owner says otherwise."""

    def __init__(self, herd: Herd, log: Log, signals: Signals) -> None:
        self.phase: Phase = "starting"
        self._herd = herd
        self._log = log
        self._signals = signals
        self._failures: dict[str, int] = {}
        #: Processes that are not started again when they end, and the last words of those that have ended.
        self._unmended: set[str] = set()
        self._last_words: dict[str, str] = {}
        self._due: dict[str, tuple[float, Program]] = {}

    @property
    def pids(self) -> dict[str, int]:
        return self._herd.pids

    @property
    def restarts(self) -> int:
        """How often somebody has wanted everything to be restarted."""
        return self._signals.restarts

    def start(self, program: Program, *, mended: bool = True) -> None:
        """mended: it is started again when it ends by itself."""
        if not mended:
            self._unmended.add(program.name)
        self._herd.start(program)

    def rename(self, name: str, new_name: str) -> None:
        """By its new name it is started again when it ends by itself."""
        self._unmended.discard(name)
        self._herd.rename(name, new_name)

    def let_go(self, name: str, number: signal.Signals) -> None:
        """Tells a process to leave: this time its end is no reason to start it again."""
        self._unmended.add(name)
        self._herd.send(number, {name})

    def last_words(self, name: str) -> str:
        """How a process ended, and what it said last."""
        return self._last_words.get(name, "")

    def turn(self, at_most_seconds: float | None) -> bool:
        """One step of the loop; answers whether the processes are others now. Raises `StopRequested`, `ClusterFailed`."""
        exits = self._herd.turn(self._until_due(at_most_seconds))
        if self._signals.requests or self._log.gone:
            # A service manager may have told the children too: that they end is no surprise.
            raise StopRequested
        for exited in exits:
            self._react(exited)
        return self._restart_due() or bool(exits)

    def stop(self, patience_seconds: float) -> None:
        """Asks all, waits, kills; one request to stop more than there were ends the patience."""
        enough = self._signals.requests
        others = self._herd.names - {LAST}
        if others:
            self._log.say(f"stopping {', '.join(sorted(others))} (Ctrl-C again kills at once)")
        self._stop(others, patience_seconds, enough)
        self._stop(self._herd.names, LAST_PATIENCE_SECONDS, enough)
        self._log.say("stopped")

    def _until_due(self, at_most_seconds: float | None) -> float | None:
        waits = [max(0.0, due - time.monotonic()) for due, _ in self._due.values()]
        return min(waits if at_most_seconds is None else [*waits, at_most_seconds], default=None)

    def _react(self, exited: Exit) -> None:
        program, words = exited.program, exit_words(exited.status)
        self._last_words[program.name] = f"{words}, {exited.last_words}" if exited.last_words else words
        if program.name in self._unmended:
            self._unmended.discard(program.name)
            self._log.say(f"{program.name} has left ({words})")
            return
        if DECISIONS[program.role][self.phase] == "stop":
            if self.phase == "running":
                raise ClusterFailed(f"{program.name} ended ({words}), so everything was stopped")
            said = f": {exited.last_words}" if exited.last_words else ""
            raise ClusterFailed(f"{program.name} ended while starting ({words}), so everything was stopped{said}")
        failures = failures_in_a_row(self._failures.get(program.name, 0), exited.lived_seconds)
        pause = pause_seconds(failures)
        self._failures[program.name] = failures + 1
        self._due[program.name] = (time.monotonic() + pause, program)
        self._log.say(f"{program.name} ended ({words}); it is started again in {pause:.0f} s")

    def _restart_due(self) -> bool:
        now = time.monotonic()
        due = [(name, program) for name, (when, program) in self._due.items() if when <= now]
        for name, program in due:
            del self._due[name]
            self._herd.start(program)
        return bool(due)

    def _stop(self, names: Set[str], patience_seconds: float, enough: int) -> None:
        for name in names & self._herd.names:
            self._herd.send(FAREWELLS[self._herd.role(name)], {name})
        deadline = time.monotonic() + patience_seconds
        killed = False
        while left := names & self._herd.names:
            remaining = deadline - time.monotonic()
            if not killed and (remaining <= 0 or self._signals.requests > enough):
                self._log.say(f"killing {', '.join(sorted(left))}")
                self._herd.send(signal.SIGKILL, left)
                killed = True
            self._herd.turn(None if killed else remaining)

"""The running processes: started, listened to, stopped. Which ones and when is decided in local.py.

Theory of operation. One thread, one selector: it wakes for output of a child, for a signal, and for the end of a child
(SIGCHLD). Every child leads a process group of its own, so Ctrl-C reaches only us and we choose the order of the stop,
and is tied to us by tether.py, so kill -9 of us kills it. A dead child's group is killed before the child is reaped: as
long as it is unreaped, its number cannot belong to anybody else.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from tropilla.compose.log import Lines
from tropilla.compose.program import Program, Role
from tropilla.compose.signals import Signals

#: For so long after its end others may still speak for a process: a worker's witness says what it has seen of that.
ECHO_SECONDS = 15.0
TETHER = Path(__file__).with_name("tether.py")
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that ended. `status` is as in `subprocess`, `last_words` its last line with a word in it."""

    program: Program
    status: int
    lived_seconds: float
    last_words: str


class Child:
    """One process and what it says."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.last_words = ""
        self._lines = Lines()
        self._started_at = time.monotonic()
        tether, self._leash = os.pipe()
        self._process = subprocess.Popen(
            (sys.executable, "-I", "-S", str(TETHER), str(tether), *program.argv),
            env=dict(program.environment),
            # Not where the person stands: a file there must not be taken for a module.
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(tether, *program.inherits),
        )
        os.close(tether)
        assert self._process.stdout is not None
        self.output = self._process.stdout
        os.set_blocking(self.output.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> list[str] | None:
        """The lines that came; None when there will be no more."""
        data = self._available()
        return None if data == b"" else self._remembered(self._lines.feed(data or b""))

    def read_rest(self) -> list[str]:
        """Everything a dead process left to read."""
        rest: list[str] = []
        while data := self._available():
            rest += self._lines.feed(data)
        return self._remembered(rest + self._lines.flush())

    def _available(self) -> bytes | None:
        """Empty at the end of the output, None when there is nothing yet."""
        try:
            return os.read(self.output.fileno(), READ_BYTES)
        except BlockingIOError:
            return None

    def _remembered(self, lines: list[str]) -> list[str]:
        self.last_words = next((line for line in reversed(lines) if any(map(str.isalnum, line))), self.last_words)
        return lines

    @property
    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal_group(self, number: signal.Signals) -> None:
        """To the process and whoever it started. Only before `reap`."""
        # macOS refuses to signal a group of zombies.
        with suppress(PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> Exit:
        status = self._process.wait()
        os.close(self._leash)
        return Exit(self.program, status, time.monotonic() - self._started_at, self.last_words)


class Herd:
    """All children. `on_line` is given every line with the name of who said it."""

    def __init__(self, folder: Path, signals: Signals, on_line: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._signals = signals
        self._on_line = on_line
        self._children: dict[str, Child] = {}
        #: Dead ones to whose output somebody has the other end, and until when that is listened to.
        self._echoes: dict[Child, float] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)

    def __enter__(self) -> Herd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever happened: nobody is left."""
        self.send(signal.SIGKILL, self._children)
        while self._children:
            self.turn(timeout_seconds=1.0)
        for child in list(self._echoes):
            self._silence(child)
        self._selector.close()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._children)

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    def start(self, program: Program) -> None:
        # One of the kernel's promises in tether.py is about the thread that starts, not the process.
        assert threading.current_thread() is threading.main_thread()
        assert program.name not in self._children
        child = Child(program, self._folder)
        self._children[program.name] = child
        self._selector.register(child.output, selectors.EVENT_READ, child)

    def rename(self, name: str, new_name: str) -> None:
        """The process goes on, called otherwise: its name is free for another one."""
        assert new_name not in self._children
        child = self._children.pop(name)
        child.program = replace(child.program, name=new_name)
        self._children[new_name] = child

    def role(self, name: str) -> Role:
        return self._children[name].program.role

    def send(self, number: signal.Signals, names: Iterable[str]) -> None:
        """SIGKILL goes to the whole group, everything else to the process: it knows how to stop its own."""
        for name in [name for name in names if name in self._children]:
            child = self._children[name]
            if number == signal.SIGKILL:
                child.signal_group(number)
            elif not child.ended:
                os.kill(child.pid, number)

    def turn(self, timeout_seconds: float | None) -> list[Exit]:
        """Waits for something to happen, for ever with None; relays what was said, and tells who ended."""
        for key, _ in self._selector.select(timeout_seconds):
            if key.data is None:
                self._signals.drain()
            else:
                self._relay(key.data)
        for child in [child for child, until in self._echoes.items() if time.monotonic() > until]:
            self._silence(child)
        return [self._bury(child) for child in list(self._children.values()) if child.ended]

    def _relay(self, child: Child) -> None:
        lines = child.read()
        if lines is None:
            self._silence(child)
            return
        for line in lines:
            self._on_line(child.program.name, line)

    def _silence(self, child: Child) -> None:
        """Nobody has the other end of its output any more, or is listened to."""
        self._selector.unregister(child.output)
        if child in self._echoes:
            del self._echoes[child]
            child.output.close()

    def _bury(self, child: Child) -> Exit:
        child.signal_group(signal.SIGKILL)
        for line in child.read_rest():
            self._on_line(child.program.name, line)
        if child.output in {key.fileobj for key in self._selector.get_map().values()}:
            self._echoes[child] = time.monotonic() + ECHO_SECONDS
        else:
            child.output.close()
        del self._children[child.program.name]
        return child.reap()

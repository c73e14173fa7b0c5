"""A process beside the worker that sees it end, however it does, and says so at once.

A worker that is killed says nothing any more, and what it held would wait for its leases to run out. Its witness, a fork
with nothing open but one end of a pipe, reads the end of that pipe when the worker's end is gone, lets the requests wait
again, and puts their tickets into the lanes. Where nobody saw the worker end, because a whole machine or container was
lost, there are still the leases.

The witness also tells a crash from a kill. A fatal signal inside the worker (SIGSEGV, an assertion of llama.cpp's) makes
faulthandler write the stacks into the pipe first, and the worker itself writes a word when a step hangs; SIGKILL
from outside leaves nothing, unless the kernel's out-of-memory killer sent it, which counts as a crash. Only for a crash
are requests to blame.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tropilla.common.bus import Bus
from tropilla.common.errors import StoreUnavailable
from tropilla.common.generation import new_request_id
from tropilla.common.room import Room
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

log = logging.getLogger(__name__)

#: The worker leaves in order: whatever it held has been given back.
BYE = b"bye\n"
#: Redis may be away, too; then the leases run out. What a successor of the same name takes meanwhile is taken from it, and
#: goes on.
BURY_SECONDS = 10
READ_BYTES = 65536
#: What `ps -o comm` shows of it: 15 characters are all it has.
NAME = b"witness"
PR_SET_NAME = 15


class Witness:
    """The worker's end of the pipe. Only one process may have it: the worker must not fork any more."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid, self._pipe = pid, pipe

    def accuse(self, word: str) -> None:
        """The worker is about to end itself over what it computes. Never raises: it ends in any case."""
        self._say(f"{word}\n".encode())

    def dismiss(self) -> None:
        """Nothing is to be done when this process ends, or turns into another one."""
        faulthandler.disable()
        self._say(BYE)
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _say(self, word: bytes) -> None:
        try:
            os.write(self._pipe, word)
        except OSError:
            # Somebody has killed the witness.
            return


#: What there is to do at the end of a worker; True: it was killed from outside.
Bury = Callable[[bool], None]


def post(prepare: Callable[[], Bury]) -> Witness:
    """Forks the witness. What it prepares there is called when this process ends without having dismissed it."""
    read, write = os.pipe()
    gc.freeze()
    pid = os.fork()
    if not pid:
        _watch(read, prepare)
    os.close(read)
    faulthandler.enable(file=write)
    return Witness(pid, write)


def burying(settings: Settings, worker: str, life: str) -> Bury:
    """For the worker of that name and life (`Bus.announce`). Connects now: on a busy machine that may take longer than a
    lease.
    """
    bus = Bus.connect(settings.redis_url, settings)
    room, celery = Room(bus), create_celery(settings)
    with suppress(StoreUnavailable):
        bus.ping()

    def bury(killed: bool) -> None:
        lanes = room.bury(worker, killed=killed, life=life)
        for lane in lanes:
            submit(celery, lane.name, ticket=new_request_id(), shown=lane.pin)
        if lanes or not killed:
            said = "was killed" if killed else "has crashed"
            log.warning("%s %s: %d requests wait again", worker, said, len(lanes))

    return bury


def _watch(pipe: int, prepare: Callable[[], Bury]) -> NoReturn:
    """In the fork, to its end. It shares nothing with the worker: no signal to a group, no socket, no terminal."""
    try:
        gc.disable()
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.closerange(3, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        ctypes.CDLL(None).prctl(PR_SET_NAME, NAME)
        killed_for_memory = out_of_memory_kills()
        bury = prepare()
        said = b""
        while not said.endswith(BYE) and (some := os.read(pipe, READ_BYTES)):
            said += some
            if not said.endswith(BYE):
                _tell(some)
        if not said.endswith(BYE):
            signal.alarm(BURY_SECONDS)
            bury(not said and out_of_memory_kills() == killed_for_memory)
        os._exit(0)
    finally:
        os._exit(1)


def _tell(word: bytes) -> None:
    """At once: when the worker is gone, whoever has started it may not read its errors any more."""
    with suppress(OSError):
        os.write(2, word)


def out_of_memory_kills() -> int:
    """How many processes of this one's control group the kernel has killed for want of memory; 0 where it does not say."""
    try:
        group = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        events = Path(f"/sys/fs/cgroup{group}/memory.events").read_text().split()
        return int(events[events.index("oom_kill") + 1])
    except (OSError, StopIteration, ValueError, IndexError):
        return 0

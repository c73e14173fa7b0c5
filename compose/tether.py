"""Runs a command that dies with the process at the other end of a pipe: `python -I -S tether.py PIPE COMMAND...`

PIPE is the number of the reading end, and nobody but the one who started us holds the writing end. The kernel is asked
to send SIGKILL to our whole process group when something happens to the pipe, and what happens is that the writer dies:
so even kill -9 of `tropilla up` leaves nobody, nor the processes that ours started. A command that closes files it does
not know is killed by the death of its parent all the same (prctl). Both promises outlive exec.

A script of its own because code between fork and exec (preexec_fn) is not safe in a process with threads; it imports
nothing of ours, so that it costs milliseconds. Elsewhere than on Linux it promises nothing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys

#: <linux/prctl.h>, <linux/fcntl.h>
PR_SET_PDEATHSIG = 1
F_SETSIG = 10
#: Exit status of a command that cannot be started, as in a shell.
CANNOT_START = 127
#: One open file per client connection; the usual soft limit of 1024 is less than one API process serves.
OPEN_FILES = 65_536


def tie(pipe: int) -> None:
    """Die with the writer. One that died before the kernel was asked is found by the end of the pipe."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The group that we lead: refused with an error if we lead none.
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(pipe, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.set_blocking(pipe, False)
    try:
        os.read(pipe, 1)
    except BlockingIOError:
        return
    os._exit(0)


def raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    pipe, command = int(sys.argv[1]), sys.argv[2:]
    tie(pipe)
    raise_open_files()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()

"""`tropilla restart`: asks the running `tropilla up` of a home folder for a rolling restart, and shows how it goes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TextIO

from tropilla.common.errors import TropillaError
from tropilla.compose.client.errors import Unreachable
from tropilla.compose.home import owner
from tropilla.compose.restarts import RESTART
from tropilla.compose.wishes import told, wish_file

LOOK_SECONDS = 0.1


class NotRestarted(TropillaError):
    """Some processes are what they were before."""


def restart(folder: Path, output: TextIO) -> int:
    """Answers the exit status when everything was restarted. Raises `Unreachable` where no cluster runs, `NotRestarted`."""
    folder = folder.expanduser().absolute()
    pid = owner(folder)
    if pid is None:
        raise Unreachable(f"no `tropilla up` runs with the home folder {folder}")
    path = wish_file(folder)
    try:
        with path.open("w+", encoding="utf-8") as wish:
            os.kill(pid, RESTART)
            _follow(wish, folder, pid, output)
    except OSError as error:
        raise NotRestarted(f"process {pid} cannot be asked to restart: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)
    return 0


def _follow(wish: TextIO, folder: Path, pid: int, output: TextIO) -> None:
    while True:
        # In this order: what it says before it ends is heard.
        alive = owner(folder) == pid
        for line in told(wish):
            if line["over"]:
                if line["failure"]:
                    raise NotRestarted(f"the restart has stopped: {line['failure']}")
                return
            print(line["said"], file=output, flush=True)
        if not alive:
            raise NotRestarted("`tropilla up` has ended")
        time.sleep(LOOK_SECONDS)

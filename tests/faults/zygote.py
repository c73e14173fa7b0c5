"""A process that has imported everything a worker needs, and forks one on demand: a tenth of a second instead of two.

It has one thread and nothing open, so that a fork is a worker as if it had been started anew. On its standard input come
lines `NAME KEY=VALUE...`, a worker's name and more of its environment; it answers each with the worker's process id.
`OLDER=1` makes it one of the release before this one, as far as messages go. Workers die with it; it ends with its input.

`python -m faults.zygote --log FILE [--step-ms N]`: with a step they run the script, without one llama.cpp.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import os
import signal
import sys
from typing import NoReturn

from tropilla.common import codec
from tropilla.workers import __main__ as worker

#: What Celery imports when a worker starts.
LATER = (
    "celery.apps.worker",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.task",
    "celery.app.trace",
    "celery.backends",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "redis.asyncio",
)
PR_SET_PDEATHSIG = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m faults.zygote", description=__doc__)
    parser.add_argument("--log", required=True)
    parser.add_argument("--step-ms", type=float, default=0.0)
    flags = parser.parse_args()
    for module in LATER:
        importlib.import_module(module)
    if flags.step_ms:
        from faults.scripted import take_the_place_of_llama

        take_the_place_of_llama(flags.step_ms / 1000)
    log = os.open(flags.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # Nobody waits for the dead.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        name, *more = line.split()
        variables = dict(pair.split("=", 1) for pair in more)
        child = os.fork()
        if not child:
            begin(name, variables, log)
        print(child, flush=True)


def begin(name: str, variables: dict[str, str], log: int) -> NoReturn:
    """In the fork: a worker, to its end."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    codec.VERSION -= int(variables.pop("OLDER", 0))
    os.environ.update(variables, TROPILLA_WORKER_NAME=name)
    sys.argv = ["worker"]
    try:
        os._exit(worker.main())
    except SystemExit as ending:
        os._exit(ending.code if isinstance(ending.code, int) else 1)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()

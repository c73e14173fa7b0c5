"""`python -m tropilla.workers`: one worker process, configured by TROPILLA_* variables.

Without a flag it loads the model of its settings, its own, and serves that. `--idle`: it starts without a model, has none
of its own, and loads what it is told to. `--own`, beside it, is what a worker says to itself when it begins anew: it has a
model of its own, which is not to be loaded before somebody asks.

One sentence when the model or the settings cannot be served, exit status 2; 1 for what comes between later.
"""

from __future__ import annotations

import argparse
import functools
import os
import socket
import sys
from pathlib import Path

from tropilla.common import logs, tracing
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Definition, Flavour
from tropilla.common.errors import ConfigurationError, TropillaError
from tropilla.common.generation import new_request_id
from tropilla.common.gguf import read_header
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.workers import leaving, witness
from tropilla.workers.charge import is_still_there, own_definition
from tropilla.workers.life import Life
from tropilla.workers.llama.library import check_flavour
from tropilla.workers.store.facts import information

IDLE, OWN = "--idle", "--own"


def main() -> int:
    flags = _flags()
    try:
        leaving.hear_signals()
        settings = Settings.from_environment()
        logs.begin(settings, "worker", settings.worker_name)
        tracing.check(settings)
        flavour: Flavour = "gpu" if settings.flavour == "gpu" else "cpu"
        name = f"{settings.worker_name or f'{flavour}-{os.getpid()}'}@{socket.gethostname()}"
        life = new_request_id()
        # While there are no threads and no connections yet.
        leaving.be_seen_by(witness.post(lambda: witness.burying(settings, name, life)))
        bus = Bus.connect(settings.redis_url, settings)
        bus.check()
        check_flavour(flavour)
        own = None if flags.idle and not flags.own else _own(settings, bus, name, anew=flags.own)
        again = [IDLE, OWN] if own else [IDLE]
        begin_anew = functools.partial(leaving.begin_anew, again, without=(IDLE, OWN))
        status = Life(settings, bus, name=name, life=life, own=own, again=begin_anew).run(idle=flags.idle)
    except TropillaError as error:
        print(f"tropilla worker: {error.message}", file=sys.stderr)
        status = 2 if isinstance(error, ConfigurationError) else 1
    except leaving.Stopped:
        status = 0
    # What else ends it is no orderly end: the witness sees to what it holds.
    leaving.be_seen_no_more()
    return status


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tropilla.workers", description="One worker process.")
    parser.add_argument(IDLE, action="store_true", help="start without a model, and load what this worker is told to")
    parser.add_argument(OWN, action="store_true", help="with --idle: keep offering the model of the settings")
    return parser.parse_args()


def _own(settings: Settings, bus: Bus, name: str, *, anew: bool) -> Definition:
    """The model of the settings. anew: this process has announced it a moment ago, and need not read the file again."""
    announced = [worker.own for worker in bus.catalogue().workers if worker.name == name and worker.own] if anew else []
    if announced and is_still_there(announced[0]):
        return announced[0]
    own = own_definition(settings)
    for file in filter(None, (own.recipe.files[0], own.recipe.projector)):
        Registry(bus).inform(file.digest, information(read_header(Path(file.path))))
    return own


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tropilla.workers.store`: the one process that changes which models there are, configured by TROPILLA_*
variables.

One sentence when it cannot run here, exit status 2; 1 for what comes between later.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from pathlib import Path

from tropilla.common import logs
from tropilla.common.blobs import Blobs
from tropilla.common.bus import Bus
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.gauges import Gauges
from tropilla.common.pictures import Pictures
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery
from tropilla.workers import leaving
from tropilla.workers.store import app, disk
from tropilla.workers.store.desk import Desk
from tropilla.workers.store.fetch import fetch
from tropilla.workers.store.looking import Looking
from tropilla.workers.store.looks import LOOKS, Looks
from tropilla.workers.store.pulling import Pulling
from tropilla.workers.store.settling import settle
from tropilla.workers.store.shelves import Shelves
from tropilla.workers.store.stock import Stock

log = logging.getLogger(__name__)

HOME_SAYS_WHERE = "TROPILLA_HOME says where it is"


def main() -> int:
    try:
        settings = Settings.from_environment()
        logs.begin(settings, "store")
        bus = Bus.connect(settings.redis_url, settings)
        bus.check()
        registry = Registry(bus)
        stock = _stock(settings, registry)
        report = functools.partial(disk.report, Gauges(bus), settings.home)
        looking = Looking.of(settings, Pictures(bus, settings).keep)
        shelves = Shelves(stock, _pulling(settings), fetch, looking.look)
        desk = Desk(bus, registry, shelves, leave=_leave, report=report)
        desk.open()
        # Not before: what is under way in a store that still holds the office has not been interrupted.
        settle(stock)
        # Where images are not fetched, one thread says so to whoever asks all the same.
        Looks(registry, functools.partial(desk.serve, tag="", again=False)).open(LOOKS if looking.on else 1)
    except (ConfigurationError, StoreUnavailable) as error:
        print(f"tropilla store: {error.message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    celery = create_celery(settings)
    app.register(celery, desk, _leave)

    def restart() -> None:
        desk.close(returns=True)
        _leave("a fresh store comes")

    leaving.hear_restarts(restart)
    try:
        celery.worker_main(app.arguments(desk, logs.library_level(settings)))
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    return 0


def _stock(settings: Settings, registry: Registry) -> Stock:
    """Raises `ConfigurationError` for a home folder that cannot be written to."""
    blobs = Blobs.below(settings.home)
    try:
        blobs.prepare()
    except OSError as error:
        raise ConfigurationError(f"{blobs.folder} cannot be made: {error.strerror} ({HOME_SAYS_WHERE})") from error
    if not os.access(blobs.folder, os.W_OK):
        raise ConfigurationError(f"{blobs.folder} cannot be written to ({HOME_SAYS_WHERE})")
    return Stock(registry, blobs, context=settings.context, clock=time.time)


def _pulling(settings: Settings) -> Pulling:
    folders = [Path(part.strip()).expanduser() for part in settings.import_folders.split(",") if part.strip()]
    return Pulling(
        settings.home,
        hosts=settings.pull_hosts,
        bare_repo="ollama" if settings.bare_repo == "ollama" else "hf",
        environment=os.environ,
        roots=tuple(folders) or (settings.home,),
    )


def _leave(why: str) -> None:
    """In the middle of things: what is under way is begun again by whoever gets its ticket, and goes on from the disk."""
    log.info("leaving: %s", why)
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

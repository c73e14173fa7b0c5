"""How much room there is for models, said to whoever measures."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from tropilla.common.gauges import Gauges

log = logging.getLogger(__name__)


def report(gauges: Gauges, folder: Path) -> None:
    """Of the disk that the folder is on. Raises `StoreUnavailable`."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError as error:
        log.warning("the disk of %s is not known: %s", folder, error.strerror)
        return
    gauges.report_disk(free=disk.free, total=disk.total)

"""`python -m tropilla.workers`: one worker process, configured by TROPILLA_* variables.

Exit status 1 with one sentence when the model or the settings cannot be served.
"""

from __future__ import annotations

import gc
import logging
import sys

from tropilla.common.bus import Bus
from tropilla.common.errors import ConfigurationError, TropillaError
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from tropilla.workers import app
from tropilla.workers.pin import Pin


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        settings = Settings.from_environment()
        bus = Bus.connect(settings.redis_url)
        bus.check()
        pin = Pin(settings, bus)
    except ConfigurationError as error:
        print(f"tropilla worker: {error.message}", file=sys.stderr)
        return 1
    celery = create_celery(settings)
    app.register(celery, pin)
    # What is there now stays: no collection has to look at it again.
    gc.freeze()
    pin.start(lambda request, lane: submit(celery, request, lane=lane))
    try:
        celery.worker_main(app.arguments(pin))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    finally:
        try:
            pin.close()
        except TropillaError as error:
            print(f"tropilla worker: {error.message}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Celery's side of the store: the errand task, and the command line that serves it."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_shutting_down
from tropilla.common import codec, names
from tropilla.common.errors import DecodeError, NewerMessage, StoreUnavailable
from tropilla.workers.consumer import HastyConsumer
from tropilla.workers.store.desk import Desk

log = logging.getLogger(__name__)

#: Errands under way at once. A pull takes hours and does nothing but wait; what is quick should not wait behind it.
ERRANDS = 16
#: How long a ticket that cannot be served now is kept back.
PUT_BACK_SECONDS = 1.0


def register(celery: Celery, desk: Desk, leave: Callable[[str], None]) -> None:
    """Makes the application do errands. leave: told to stop, the process ends there and then."""
    # It warns root of pickled messages, which nobody here accepts (common/tasks.py).
    warnings.filterwarnings("ignore", category=SecurityWarning)
    celery.conf.worker_consumer = HastyConsumer

    @celery.task(name=names.ERRAND_TASK, bind=True)  # type: ignore[untyped-decorator]
    def errand(task: Any, payload: str, flight: str) -> str:
        try:
            asked = codec.decode_errand(payload.encode())
            delivery = task.request.properties
            again = bool((task.request.delivery_info or {}).get("redelivered"))
            return desk.serve(asked, flight, str(delivery["delivery_tag"]), again=again)
        except (NewerMessage, StoreUnavailable) as error:
            # Not ours to lose: a newer store may come, Redis may come back. Not at once, or this would spin.
            log.warning("errand %s goes back: %s", task.request.id, error.message)
            time.sleep(PUT_BACK_SECONDS)
            raise Reject(error.message, requeue=True) from error
        except DecodeError as error:
            log.error("errand %s is dropped: %s", task.request.id, error.message)
            desk.give_up(str(task.request.id), flight, error.message)
            return "unreadable"

    def stop(**_: object) -> None:
        desk.close()
        leave("told to stop")

    def quiet(**_: object) -> None:
        """Celery leaves logging alone where anybody listens to this."""

    # Held by the application, since Celery's signals keep no strong reference.
    celery.tropilla_stop, celery.tropilla_quiet = stop, quiet
    worker_shutting_down.connect(stop)
    setup_logging.connect(quiet)


def arguments(desk: Desk, level: str) -> list[str]:
    """The command line of `celery worker` for the store."""
    return [
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={ERRANDS}",
        f"--queues={names.STORE_QUEUE}",
        f"--hostname=store-{desk.who}",
        "--without-gossip",
        "--without-mingle",
        "--task-events",
        f"--loglevel={level}",
    ]

"""Celery's side of a worker: the generate task, a ticket holder that does no inference itself."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from celery.worker import state
from tropilla.common import names
from tropilla.common.errors import NewerMessage, StoreUnavailable
from tropilla.workers.consumer import HastyConsumer
from tropilla.workers.outcome import Outcome
from tropilla.workers.pin import Pin

log = logging.getLogger(__name__)

#: How long a ticket that cannot be served here is kept from the others.
PUT_BACK_SECONDS = 1.0


def register(celery: Celery, pin: Pin) -> None:
    """Makes the application serve tickets with the pinned model."""
    # It warns root of pickled messages, which nobody here accepts (common/tasks.py).
    warnings.filterwarnings("ignore", category=SecurityWarning)
    celery.conf.worker_consumer = HastyConsumer

    @celery.task(name=names.GENERATE_TASK, bind=True)  # type: ignore[untyped-decorator]
    def generate(task: Any, *_: Any) -> str:
        with pin.hearing.ticket():
            return serve(task.request)

    def serve(about: Any) -> str:
        began = time.monotonic()
        try:
            outcome = pin.serve(about.delivery_info["routing_key"], about.id, str(about.properties["delivery_tag"]))
        except (NewerMessage, StoreUnavailable) as error:
            # Not ours to lose: a newer worker may come, Redis may come back. Not at once, or this would spin.
            log.warning("ticket %s goes back: %s", about.id, error.message)
            time.sleep(PUT_BACK_SECONDS)
            raise Reject(error.message, requeue=True) from error
        if outcome.kind != "done":
            announce(about.id, outcome, time.monotonic() - began)
            raise Ignore
        return outcome.text

    def drain(**_: object) -> None:
        # Only signals come by here, not `stop_taking`.
        pin.drain()

    def begin(**_: object) -> None:
        pin.hearing.begin()

    def quiet(**_: object) -> None:
        """Celery leaves logging alone where anybody listens to this."""

    # Held by the application, since Celery's signals keep no strong reference.
    celery.tropilla_drain, celery.tropilla_begin, celery.tropilla_quiet = drain, begin, quiet
    worker_shutting_down.connect(drain)
    worker_ready.connect(begin)
    setup_logging.connect(quiet)


def announce(ticket: str, outcome: Outcome, seconds: float) -> None:
    """Tells Flower of a ticket whose request was not answered. To Celery it is done with: the ticket is acknowledged as any
    other, and what became of the request stands in its journal; a task that raised would fill the log with what is no
    fault of the worker's.
    """
    request = state.requests.get(ticket)
    if request is None:
        return
    told = {"result": outcome.text, "runtime": seconds}
    if outcome.kind == "failed":
        request.send_event("task-failed", exception=outcome.text, traceback="", **told)
    else:
        request.send_event("task-revoked", terminated=False, signum=None, expired=outcome.expired, **told)


def run(celery: Celery, pin: Pin) -> int:
    """Serves tickets until a signal or `stop_taking`, and until those at hand are done with; answers the exit status."""
    try:
        celery.worker_main(arguments(pin, logging.getLevelName(logging.getLogger().level)))
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    return 0


def stop_taking() -> None:
    """No new tickets, and `run` ends when those at hand are done with: what Celery does on SIGTERM, and nothing else."""
    state.should_stop = 0


def arguments(pin: Pin, level: str) -> list[str]:
    """The command line of `celery worker` for a pinned model."""
    return [
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={pin.holders}",
        f"--queues={','.join(pin.lanes)}",
        f"--hostname={pin.worker.name}",
        "--without-gossip",
        "--without-mingle",
        "--task-events",
        f"--loglevel={level}",
    ]

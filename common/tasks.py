"""Celery: the queue of tickets. Popping a ticket is the right to take whoever is next in its lane (room.py), no more.

The settings are measured (ARCHITECTURE.md): late acknowledgement with a short visibility timeout, so that a ticket popped
by a worker that dies comes back; nothing prefetched, so that no worker sits on work another could do; no result backend,
since results travel through the journal; and fixed argument texts, since Flower would show prompts.
"""

from __future__ import annotations

import kombu
from celery import Celery
from kombu.exceptions import OperationalError
from tropilla.common import codec, names
from tropilla.common.errands import Errand
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.settings import Settings

#: Older versions stall a full thread pool 1.3 s whenever a slot is refilled.
MINIMUM_KOMBU = (5, 7)
#: Handing out again what was not acknowledged takes some milliseconds.
RESTORE_SECONDS = 5
#: Redis has not answered by then: it will not.
ANSWER_SECONDS = 5.0


def create_celery(settings: Settings) -> Celery:
    """The application that API and workers share. Connects lazily."""
    if tuple(int(part) for part in kombu.__version__.split(".")[:2]) < MINIMUM_KOMBU:
        raise ConfigurationError(f"kombu is {kombu.__version__}; 5.7 or newer is needed")
    celery = Celery("tropilla", broker=settings.redis_url, set_as_current=False)
    celery.conf.update(
        broker_transport_options={
            "visibility_timeout": settings.visibility_seconds,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            # Who looks for unacknowledged tickets holds this lock; kombu's own 300 s are how long nobody else does so after
            # a worker was killed over it.
            "unacked_mutex_expire": RESTORE_SECONDS,
            # add_consumer takes effect when the current blocking pop ends.
            "polling_interval": 0.2,
            "health_check_interval": 10,
            "socket_connect_timeout": 3,
            # kombu's own is for ever: a Redis that goes without a word would keep the thread that pulls tickets, and every
            # caller whose ticket is being put into a lane.
            "socket_timeout": ANSWER_SECONDS,
            "socket_keepalive": True,
        },
        # Each takes some 20 ms of this process to make: two hundred callers at once are served 10 times as fast by ten of
        # them as by one each.
        broker_pool_limit=10,
        broker_connection_retry_on_startup=True,
        # Redis may be away for as long as it likes. And a command that it refuses, as it does at its maxmemory, is no
        # reason for a worker to end: the next connection begins with nothing to acknowledge.
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        # What is pulled is what a thread is free for, whichever connection the tickets at hand came by. Celery's own way
        # after a lost connection is to pull that many fewer until a *new* ticket is done with: one slot in use of eight.
        worker_disable_prefetch=True,
        worker_enable_prefetch_count_reduction=False,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_send_sent_event=False,
        worker_send_task_events=True,
        worker_disable_rate_limits=True,
        worker_hijack_root_logger=False,
        task_create_missing_queues=True,
    )
    return celery


def submit(celery: Celery, lane: str, *, ticket: str, shown: str) -> None:
    """Puts a ticket into a lane: `ticket` is its id, and `shown` what Flower shows of it: a model, never a prompt. Raises
    `StoreUnavailable`.
    """
    _send(celery, names.GENERATE_TASK, ticket, (), queue=lane, shown=f"({shown!r})")


def submit_errand(celery: Celery, errand: Errand, flight: str) -> None:
    """Puts an errand into the store's queue. Raises `StoreUnavailable`."""
    payload, shown = codec.encode_errand(errand).decode(), f"({type(errand).__name__.lower()!r}, {flight!r})"
    _send(celery, names.ERRAND_TASK, errand.id, (payload, flight), queue=names.STORE_QUEUE, shown=shown)


def _send(celery: Celery, task: str, task_id: str, args: tuple[str, ...], *, queue: str, shown: str) -> None:
    try:
        celery.send_task(
            task,
            args=args,
            task_id=task_id,
            queue=queue,
            ignore_result=True,
            argsrepr=shown,
            kwargsrepr="{}",
            # One try: the caller is waiting, and a second one could enqueue twice.
            retry=False,
        )
    except OperationalError as error:
        raise StoreUnavailable(f"Redis cannot take the ticket: {error}") from error

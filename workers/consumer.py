"""Celery's consumer, which pulls tickets, and what it does when Redis goes: it looks for it every second, and lets go of
the tickets at hand. What it finds in a lane that is no message at all it passes over.

Celery's own waits two seconds longer each time, up to thirty, and cannot be told otherwise: a Redis that was away for a
minute would have its workers back after another half. And it gives tickets back, or acknowledges them, over the connection
that is lost: depending on what it was just waiting for, that ends the worker (kombu 5.7: 'NoneType' object has no attribute
'hostname').
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from celery.worker.consumer import Consumer

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


class HastyConsumer(Consumer):  # type: ignore[misc]
    """`celery.conf.worker_consumer`."""

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=RECONNECT_SECONDS, interval_step=0, interval_max=RECONNECT_SECONDS
        )
        connected = super().ensure_connected(conn)
        _pass_over_junk(connected.default_channel)
        return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if self.task_consumer is not None:
            _abandon(self.task_consumer.channel)
        super().on_connection_error_after_connected(exc)


def _pass_over_junk(channel: Any) -> None:
    """kombu reads what it pops before anybody is asked: bytes that are no envelope would end the process."""
    read = channel.handlers["BRPOP"]

    def read_or_drop(**options: Any) -> Any:
        try:
            return read(**options)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Not what came over it is at fault, but the connection, which is lost: so kombu may say that, too.
            if getattr(channel.client.connection, "_sock", None) is None:
                raise
            log.error("what lay in a lane is no ticket, and is dropped: %s: %.200s", type(error).__name__, error)
            return None

    channel.handlers["BRPOP"] = read_or_drop


def _abandon(channel: Any) -> None:
    """Its tickets are no longer ours to answer for: they come back when their time is over, and find nobody waiting."""
    channel.do_restore = False
    channel.basic_ack = channel.basic_reject = lambda *_, **__: None

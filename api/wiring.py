"""The application of one process, wired to its Redis: who is there, and who knows whom."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from flask import Flask
from tropilla.api.app import Collaborators, create_app
from tropilla.api.asking import Asking
from tropilla.api.auth import Guard
from tropilla.api.batches.answering import Answering
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.book import Book, Held
from tropilla.api.batches.foreman import Foreman
from tropilla.api.batches.run import Run
from tropilla.api.blobs import arrays_reader
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.counters import Counters
from tropilla.api.departure import Departure
from tropilla.api.inbox import Inbox
from tropilla.api.keyring import Keyring
from tropilla.api.listening import looker
from tropilla.api.liveness import Liveness
from tropilla.api.relay import Relay
from tropilla.api.showing import Showing
from tropilla.api.steward import Steward
from tropilla.api.streams import Streams
from tropilla.api.surfaces.openai import OPENAI
from tropilla.common import tracing
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errands import Errand, Look
from tropilla.common.gauges import Gauges
from tropilla.common.generation import Request, new_request_id
from tropilla.common.gguf import read_arrays
from tropilla.common.keystore import Keystore
from tropilla.common.pictures import Pictures
from tropilla.common.registry import Registry
from tropilla.common.room import Room
from tropilla.common.settings import Settings
from tropilla.common.survey import Survey
from tropilla.common.tasks import create_celery, submit, submit_errand

log = logging.getLogger(__name__)


def from_environment() -> Flask:
    """The application of this process, wired to its Redis. What gunicorn loads."""
    settings = Settings.from_environment()
    bus = Bus.connect(settings.redis_url, settings)
    bus.check()
    celery = create_celery(settings)
    registry = Registry(bus)
    room, inbox = Room(bus), Inbox(bus)
    cluster = Cluster(registry, room)

    def replace_ticket(lane: Lane) -> None:
        submit(celery, lane.name, ticket=new_request_id(), shown=lane.pin)

    steward = _steward(settings, registry, room, Survey(bus, registry, room), inbox.name, replace_ticket)

    def put(asked: Request, lane: Lane) -> None:
        submit(celery, lane.name, ticket=asked.id, shown=asked.model)
        if not cluster.pulled(lane):
            steward.wake()

    def ask(errand: Errand, flight: str) -> None:
        if isinstance(errand, Look):
            registry.queue_look(errand, flight)
        else:
            submit_errand(celery, errand, flight)

    pictures = Pictures(bus, settings)
    relay = Relay(bus, room, inbox, put, cluster.look_again, settings, renew=pictures.renew)
    counters = Counters(bus, Gauges(bus))
    book = Book(bus)
    keystore = Keystore(bus)
    keyring = Keyring(keystore)
    errands = Errands(registry, ask, cluster.forget, lambda: inbox.closed)
    showing = Showing(settings, cluster.catalogue, pictures, looker(errands, settings.max_image_bytes))
    foreman = _foreman(settings, registry, book, cluster, relay, inbox.name, keyring, showing)
    if settings.keys_on:
        keyring.start()
    inbox.start()
    counters.start()
    steward.start()
    foreman.start()
    return create_app(
        Collaborators(
            settings,
            cluster,
            relay,
            inbox,
            registry,
            errands,
            Streams(bus),
            book,
            pictures,
            counters,
            Departure(inbox.close_all),
            Guard(keyring if settings.keys_on else None, keystore.internal_secret),
            _liveness(inbox, counters, steward, keyring if settings.keys_on else None),
            tracing.collector(settings, "api"),
            foreman.stop,
        )
    )


def _liveness(inbox: Inbox, counters: Counters, steward: Steward, keyring: Keyring | None) -> Liveness:
    """keyring: one that stands still would take revoked keys for ever; None where there are none."""
    turns: dict[str, Callable[[], float]] = {
        "inbox": lambda: inbox.turned_at,
        "counters": lambda: counters.turned_at,
        "steward": lambda: steward.turned_at,
    }
    if keyring is not None:
        turns["keyring"] = lambda: keyring.turned_at
    return Liveness(turns)


def _steward(
    settings: Settings,
    registry: Registry,
    room: Room,
    survey: Survey,
    name: str,
    replace_ticket: Callable[[Lane], None],
) -> Steward:
    """Whoever has models loaded in the cluster, when it is this process's turn."""

    def sweep(lane: str) -> int:
        return room.sweep(lane, journal_seconds=settings.journal_seconds)

    def look_after_the_lost() -> None:
        for lane in room.put_back_all_lost():
            replace_ticket(lane)

    return Steward(registry, survey, sweep, look_after_the_lost, name, swap_seconds=settings.swap_seconds)


def _foreman(
    settings: Settings,
    registry: Registry,
    book: Book,
    cluster: Cluster,
    relay: Relay,
    name: str,
    keyring: Keyring,
    showing: Showing,
) -> Foreman:
    """Whoever runs batches in this process, when it is its turn."""
    archive = Archive.below(settings.home)
    asking = Asking(settings, cluster, registry, arrays_reader(settings, read_arrays), showing)

    def answering() -> Answering:
        return Answering(OPENAI, asking, relay, limits=keyring.limits)

    def refusal(key: str) -> str:
        # Where none are asked for nobody looks at them, revoked or not.
        return keyring.refusal(key, time.time()) if settings.keys_on else ""

    def begin(held: Held, window: Callable[[], int]) -> Run:
        return Run(held, book, archive, answering(), settings, window, refusal=refusal)

    def sweep(todo: Collection[str]) -> None:
        batches = [batch for batch_id in todo if (batch := book.find(batch_id)) is not None]
        used = {each for batch in batches for each in batch.files}
        if gone := archive.sweep(used, todo):
            log.info("%d files of batches were over and are gone", gone)

    return Foreman(registry, book, name, begin, cluster.catalogue, sweep)

"""What a worker keeps up while it lives: its leases, its tickets, its presence, its ear for cancels and arrivals.

Threads of the process, not of Celery's consumer: those stop on SIGTERM while requests are still being finished, and the
requests would be handed to somebody else.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tropilla.common import names
from tropilla.common.bus import Bus, Lease
from tropilla.common.catalogue import State, Worker
from tropilla.common.errors import StoreUnavailable
from tropilla.common.pictures import Pictures
from tropilla.workers import leaving

log = logging.getLogger(__name__)

#: Presence is announced and cancels are looked for this often; leases at least three times within their life.
BEAT_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
#: The images of running requests are renewed so often within their life.
IMAGES_RENEWED = 4
#: A process that begins anew in its own place is silent while it does, and still there, in milliseconds.
ANEW_MS = 15_000


@dataclass(frozen=True, slots=True)
class Held:
    """One request in this process: its lease, the tag under which Celery's transport knows its ticket, and the digests of
    its images.
    """

    lease: Lease
    tag: str
    images: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.lease.request_id, self.lease.attempt


class Ward(Protocol):
    """What is pinned and runs here."""

    def cancel(self, request_id: str) -> None:
        """Nobody wants the request."""

    def fence(self, request_id: str, attempt: int) -> None:
        """The request is somebody else's now."""

    def arrived(self, notice: bytes) -> None:
        """A request has begun to wait somewhere; see room.lua."""

    def described(self, worker: Worker) -> Worker:
        """With what is to be said of it at this moment."""

    def report(self) -> None:
        """Called at every beat; may raise `StoreUnavailable`."""


class Nothing:
    """The ward of a worker that has no model, or not yet."""

    def cancel(self, request_id: str) -> None:
        pass

    def fence(self, request_id: str, attempt: int) -> None:
        pass

    def arrived(self, notice: bytes) -> None:
        pass

    def described(self, worker: Worker) -> Worker:
        return worker

    def report(self) -> None:
        pass


class Keeper:
    """Of one process, from its start to its end; what it is about changes with `become` and `mind`."""

    def __init__(
        self, bus: Bus, worker: Worker, *, lease_seconds: float, pictures: Pictures, image_seconds: float
    ) -> None:
        """image_seconds: how long an image is kept that nobody renews."""
        self._bus, self._pictures = bus, pictures
        self._images_pause = image_seconds / IMAGES_RENEWED
        #: When each one's images were renewed. The thread's that beats.
        self._images_renewed: dict[tuple[str, int], float] = {}
        self._worker = worker
        self._ward: Ward = Nothing()
        self._lease_seconds = lease_seconds
        #: By request and attempt: a ticket may come back to the worker that lost it.
        self._held: dict[tuple[str, int], Held] = {}
        #: When Redis could not be reached the last time.
        self._missed_at = float("-inf")
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=leaving.or_die, args=(self._beat,), name="keeper", daemon=True),
            threading.Thread(target=leaving.or_die, args=(self._listen,), name="cancels", daemon=True),
        ]

    @property
    def worker(self) -> Worker:
        """What is announced, but for what the ward says."""
        return self._worker

    @property
    def settled(self) -> bool:
        """Redis has answered for as long as a lease lasts: one that is gone now did not run out while Redis was away."""
        return time.monotonic() - self._missed_at > self._lease_seconds

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, returns: bool = False) -> None:
        """Ends. From here on this worker is not known any more; unless it returns in a moment, by the same name."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        try:
            self._ward.report()
            if returns:
                self._bus.announce(self._worker, milliseconds=ANEW_MS)
            else:
                self._bus.leave(self._worker.name)
        except StoreUnavailable as error:
            log.warning("could not take leave: %s", error.message)

    def mind(self, ward: Ward) -> None:
        """From here on there is a model."""
        self._ward = ward

    def become(self, state: State, **changes: Any) -> None:
        """Announces a new state, and what else changes of the worker, at once."""
        self._worker = dataclasses.replace(self._worker, state=state, **changes)
        self.tell()

    def tell(self) -> None:
        """Announces the worker at once; where that cannot be done the next beat does."""
        try:
            self._announce()
        except StoreUnavailable as error:
            log.warning("state %s is not announced yet: %s", self._worker.state, error.message)

    def progress(self, done: float) -> None:
        """How much of a model that is loading is there, 0 to 1: for the next beat."""
        self._worker = dataclasses.replace(self._worker, progress=done)

    def _announce(self) -> None:
        self._bus.announce(self._ward.described(self._worker))

    def hold(self, held: Held) -> None:
        """Renews the request's lease and ticket until `let_go`."""
        self._held[held.key] = held

    def let_go(self, held: Held) -> None:
        self._held.pop(held.key, None)

    def _holds(self, request_id: str) -> bool:
        return any(held_id == request_id for held_id, _ in list(self._held))

    def _beat(self) -> None:
        pause = min(BEAT_SECONDS, self._lease_seconds / 3)
        while not self._stopping.is_set():
            try:
                self._renew()
            except StoreUnavailable as error:
                self._missed_at = time.monotonic()
                log.warning("leases are not renewed: %s", error.message)
            self._stopping.wait(pause)

    def _renew(self) -> None:
        held = list(self._held.values())
        for lease in self._bus.renew([one.lease for one in held], lease_seconds=self._lease_seconds):
            if (lease.request_id, lease.attempt) in self._held:
                log.warning("the lease of request %s is lost", lease.request_id)
                self._ward.fence(lease.request_id, lease.attempt)
        for request_id in self._bus.cancelled([one.lease.request_id for one in held]):
            self._ward.cancel(request_id)
        self._announce()
        self._ward.report()
        self._renew_images(held)
        # Last: at its maxmemory Redis refuses this one, and a ticket that comes back finds nobody waiting.
        self._bus.renew_tickets([one.tag for one in held], time.time())

    def _renew_images(self, held: Iterable[Held]) -> None:
        """So that whoever goes on with a request finds them; of one that has just come at once."""
        now, before = time.monotonic(), self._images_renewed
        pictured = {one.key: one for one in held if one.images}
        due = {key: one for key, one in pictured.items() if now - before.get(key, -math.inf) >= self._images_pause}
        self._pictures.renew({digest for one in due.values() for digest in one.images})
        self._images_renewed = {key: now if key in due else before[key] for key in pictured}

    def _listen(self) -> None:
        """Hears of cancels and arrivals within a millisecond; what is missed while reconnecting, `_renew` finds."""
        while not self._stopping.is_set():
            try:
                listener = self._bus.listen_as_worker()
                try:
                    while not self._stopping.is_set():
                        match listener.hear(timeout_seconds=0.2):
                            case (names.ARRIVALS_CHANNEL, notice):
                                self._ward.arrived(notice)
                            case (_, message) if self._holds(message.decode()):
                                self._ward.cancel(message.decode())
                finally:
                    listener.close()
            except StoreUnavailable as error:
                log.warning("cancels and arrivals are not heard: %s", error.message)
                self._stopping.wait(RECONNECT_SECONDS)

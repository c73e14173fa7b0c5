"""One request's way through the cluster, seen from the API: register, submit, yield events in order, cancel.

Leaving the generator early, for whatever reason, cancels the request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from tropilla.api.inbox import Mailbox
from tropilla.api.watch import Pulse, Store, Watch
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import Overloaded, StoreUnavailable
from tropilla.common.generation import Embedded, Event, Loaded, Request, Tokenized
from tropilla.common.settings import Settings

log = logging.getLogger(__name__)

#: What a waiting place is assumed to cost, in seconds, where nothing better is known.
SECONDS_PER_WAITING = 0.25


class Mailboxes(Protocol):
    """What the relay needs of `inbox.Inbox`."""

    name: str

    def register(self, request_id: str) -> Mailbox: ...
    def forget(self, request_id: str) -> None: ...


class Relay:
    """`submit` puts the ticket into a lane; `look_again` says of a model's name and the lane where a request waits for it
    where it should go on waiting, or why it should not.
    """

    def __init__(
        self,
        store: Store,
        inbox: Mailboxes,
        submit: Callable[[Request, Lane], None],
        look_again: Callable[[str, Lane], Lane | Trouble],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._submit = submit
        self._look_again = look_again
        self._settings = settings
        self._clock = clock

    def run(
        self, request: Request, lane: Lane, opened: Callable[[Mailbox], None] = lambda mailbox: None
    ) -> Iterator[Event | Pulse]:
        """Events in index order, the last one terminal; `PULSE` when there is nothing to tell for a while.

        opened: gets the mailbox, to post `GONE` into it. Raises `Overloaded` or `StoreUnavailable` before the first
        event, `ClientGone` any time. To be closed.
        """
        mailbox = self._inbox.register(request.id)
        watch = Watch(
            request,
            lane,
            mailbox,
            self._store,
            lambda lane: self._submit(request, lane),
            self._look_again,
            self._settings,
            self._clock,
        )
        admitted = False
        try:
            opened(mailbox)
            self._admit(request, lane)
            admitted = True
            self._submit(request, lane)
            yield from watch.events()
        finally:
            self._inbox.forget(request.id)
            if admitted:
                self._leave(request.id, watch)

    def _admit(self, request: Request, lane: Lane) -> None:
        # The state outlives the deadline, so that even the last second's events find it.
        lifetime = self._settings.deadline_seconds + self._settings.journal_seconds
        name, bound = self._inbox.name, self._settings.max_queue
        waiting = self._store.admit(request.id, inbox=name, lane=lane.name, bound=bound, lifetime_seconds=lifetime)
        if waiting is None:
            raise Overloaded(
                f"{bound} requests are waiting for {request.model}",
                retry_after_seconds=max(1, round(bound * SECONDS_PER_WAITING)),
            )

    def _leave(self, request_id: str, watch: Watch) -> None:
        try:
            if not watch.ended:
                self._store.cancel(request_id, seconds=self._settings.deadline_seconds)
            elif isinstance(watch.last, Embedded | Tokenized | Loaded):
                # Nobody reads them a second time, and two thousand vectors are megabytes.
                self._store.release(request_id)
        except StoreUnavailable as error:
            log.warning("request %s could not be cancelled or freed: %s", request_id, error.message)

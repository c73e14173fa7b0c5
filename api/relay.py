"""One request's way through the cluster, seen from the API: register, submit, yield events in order, cancel.

Leaving the generator early, for whatever reason, cancels the request: unless somebody else listens, or its caller has a
word for it (idempotency.py) and may come back, or this process leaves itself and another one may be asked for the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tropilla.api import admission, idempotency
from tropilla.api.books import Room, Store
from tropilla.api.inbox import GAP, Mailbox
from tropilla.api.owed import Owed
from tropilla.api.watch import Pulse, Watch
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import StoreUnavailable, UnknownStream
from tropilla.common.generation import Embedded, Event, Loaded, Request, Tokenized
from tropilla.common.room import Admitted
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Bounds, Terms

log = logging.getLogger(__name__)


class AskedBefore(Exception):
    """The very same was asked for before, by the same word, as this request: not an error any dialect has words for."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Caller:
    """Who hears a request. `opened` gets the mailbox, to post `GONE` into it; `admitted` hears of the place it got.
    `places`: while it waits, pulses say where it stands. `resumable`: another process can be asked for the rest.
    """

    opened: Callable[[Mailbox], None] = lambda mailbox: None
    admitted: Callable[[Admitted], None] = lambda admitted: None
    places: bool = False
    resumable: bool = False


ANYBODY = Caller()


class Mailboxes(Protocol):
    """What the relay needs of `inbox.Inbox`."""

    name: str

    def register(self, request_id: str) -> Mailbox: ...
    def forget(self, request_id: str, mailbox: Mailbox) -> None: ...


class Relay:
    """`submit` puts a ticket for a request into a lane; `look_again` says of a model's name and the lane where a request
    waits for it where it should go on waiting, or why it should not.
    """

    def __init__(
        self,
        store: Store,
        room: Room,
        inbox: Mailboxes,
        submit: Callable[[Request, Lane], None],
        look_again: Callable[[str, Lane], Lane | Trouble],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        renew: Callable[[Iterable[str]], None] = lambda digests: None,
    ) -> None:
        """renew: keeps images, by their digests, for the request that waits."""
        self._store, self._room = store, room
        self._inbox = inbox
        self._submit = submit
        self._look_again = look_again
        self._settings = settings
        self._clock, self._renew = clock, renew
        self._left, self._cancelled = Owed(self._hang_up), Owed(self._cancel)

    def run(
        self, request: Request, lane: Lane, caller: Caller = ANYBODY, terms: Terms = NO_TERMS, call: bytes = b""
    ) -> Iterator[Event | Pulse]:
        """Events in index order, the last one terminal; a `Pulse` when there is nothing to tell for a while.

        call: what is kept of it for whoever tells its answer again. Raises `Overloaded`, `Conflict`, `AskedBefore` or
        `StoreUnavailable` before the first event, `ClientGone` any time. To be closed.
        """
        begin = partial(self._admitted, call=call, told=caller.admitted)
        return self._told(request, lane, caller, terms, begin, shared=bool(terms.digest))

    def resume(
        self, request: Request, lane: Lane, caller: Caller = ANYBODY, terms: Terms = NO_TERMS
    ) -> Iterator[Event | Pulse]:
        """As `run`, of a request that was admitted before, here or at another process, from its first event on. Raises
        `UnknownStream` when nothing is known of it any more, or nobody wanted it.
        """
        return self._told(request, lane, caller, terms, self._joined, shared=True)

    def attend(
        self, request: Request, lane: Lane, caller: Caller = ANYBODY, terms: Terms = NO_TERMS
    ) -> Iterator[Event | Pulse]:
        """As `run`, of a request that goes on when nobody listens: leaving it, or being killed, does not cancel it. One of
        this id that is known already is listened to from its first event on. Its journal is to be let go of with `forget`.
        """
        return self._told(request, lane, caller, terms, self._attended, shared=True)

    def cancel(self, request_id: str) -> None:
        """Nobody wants it: for those that leaving does not cancel."""
        self._cancelled.tell(request_id)

    def forget(self, request_id: str) -> None:
        """Nobody will ask again what was said of a request that is over. Raises `StoreUnavailable`."""
        self._store.release(request_id)

    def _told(
        self,
        request: Request,
        lane: Lane,
        caller: Caller,
        terms: Terms,
        begin: Callable[[Request, Lane, Terms, Mailbox], float | None],
        *,
        shared: bool,
    ) -> Iterator[Event | Pulse]:
        """shared: others may listen to the request, now or later. begin: answers how many seconds one has left that was
        admitted before.
        """
        mailbox = self._inbox.register(request.id)
        watch = Watch(
            request,
            lane,
            mailbox,
            self._store,
            self._room,
            lambda lane: self._submit(request, lane),
            self._look_again,
            self._settings,
            self._clock,
            self._deadline(terms),
            self._renew,
            places=caller.places,
        )
        begun = False
        try:
            caller.opened(mailbox)
            left = begin(request, lane, terms, mailbox)
            begun = True
            if left is not None:
                watch.expires_in(left)
            yield from watch.events()
        finally:
            self._inbox.forget(request.id, mailbox)
            # Left to itself, a worker drops it when nobody has asked for the rest for a while.
            if begun and not (caller.resumable and watch.interrupted):
                self._leave(request.id, mailbox, watch, shared=shared)

    def _deadline(self, terms: Terms) -> float:
        most = self._settings.deadline_seconds
        return most if terms.deadline_seconds is None else min(most, terms.deadline_seconds)

    def _admitted(
        self,
        request: Request,
        lane: Lane,
        terms: Terms,
        mailbox: Mailbox,
        *,
        call: bytes,
        told: Callable[[Admitted], None],
    ) -> None:
        try:
            told(self._admit(request, lane, terms, mailbox, call))
            self._submit(request, lane)
        except StoreUnavailable:
            # It may have got there all the same.
            self._left.tell(request.id, mailbox.listener)
            raise

    def _attended(self, request: Request, lane: Lane, terms: Terms, mailbox: Mailbox) -> float | None:
        left = self._join(request, mailbox)
        if left is None:
            self._admit(request, lane, terms, None)
            self._join(request, mailbox)
            # One that does not get there is missed by its watch.
            self._submit(request, lane)
        mailbox.mark(GAP)
        return left

    def _joined(self, request: Request, _lane: Lane, _terms: Terms, mailbox: Mailbox) -> float:
        left = self._join(request, mailbox)
        if left is None:
            raise UnknownStream(request.id)
        # What was said before stands in the journal.
        mailbox.mark(GAP)
        return left

    def _join(self, request: Request, mailbox: Mailbox) -> float | None:
        return self._room.join(request.id, inbox=self._inbox.name, listener=mailbox.listener)

    def _admit(
        self, request: Request, lane: Lane, terms: Terms, mailbox: Mailbox | None, call: bytes = b""
    ) -> Admitted:
        """mailbox: None where it goes on when nobody listens."""
        settings = self._settings
        deadline_seconds = self._deadline(terms)
        per_key = terms.limits.max_queue or settings.max_queue_per_key
        bounds = Bounds(settings.max_queue, per_key, settings.max_queue_in_all)
        admitted = self._room.admit(
            request,
            lane,
            terms,
            inbox=self._inbox.name if mailbox else "",
            bounds=bounds,
            deadline_seconds=deadline_seconds,
            kept_seconds=settings.journal_seconds,
            call=call,
            listener=mailbox.listener if mailbox else "",
        )
        if admitted.outcome == "joined":
            raise AskedBefore(admitted.request_id)
        if admitted.outcome == "conflict":
            raise idempotency.conflict()
        refusal = admission.refusal(
            admitted.outcome,
            admitted.number,
            admitted.wait,
            model=request.model,
            deadline_seconds=deadline_seconds,
        )
        if refusal is not None:
            raise refusal
        return admitted

    def _hang_up(self, request_id: str, listener: str) -> None:
        """Cancels it unless somebody else listens. Raises `StoreUnavailable`."""
        if not self._room.leave(request_id, inbox=self._inbox.name, listener=listener):
            self._cancel(request_id)

    def _cancel(self, request_id: str) -> None:
        self._room.cancel(
            request_id, seconds=self._settings.deadline_seconds, journal_seconds=self._settings.journal_seconds
        )

    def _leave(self, request_id: str, mailbox: Mailbox, watch: Watch, *, shared: bool) -> None:
        if not watch.ended:
            self._left.tell(request_id, mailbox.listener)
            return
        try:
            if isinstance(watch.last, Embedded | Tokenized | Loaded) and not shared:
                # Nobody reads them a second time, and two thousand vectors are megabytes.
                self._store.release(request_id)
        except StoreUnavailable as error:
            log.warning("request %s could not be freed: %s", request_id, error.message)

"""The reading side of one request, and its supervision, on the API's side.

When nothing has come for `stall_seconds` it looks into the journal (a message may have been lost), then at the lease. Gone
means that the worker died, and another ticket is submitted: whoever takes it raises the attempt number, which fences the
dead, and goes on behind what is in the journal.

A request that nobody has taken yet waits as long as somebody could: while its model is loaded, or others have their turn.
Hundreds may wait in a process, and each looks every second, beside streams that run: so one question has to do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from tropilla.api.books import Room, Store
from tropilla.api.inbox import CLOSING, GONE, Mailbox
from tropilla.api.places import PLACE_SECONDS, Places
from tropilla.common import codec
from tropilla.common.bus import Delivered
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import DecodeError, StoreUnavailable
from tropilla.common.generation import Event, Failed, FailureCode, Finished, Last, Request, images_of
from tropilla.common.room import Position
from tropilla.common.settings import Settings
from tropilla.common.terms import ending

log = logging.getLogger(__name__)

#: How long a queued request waits for a worker to come back when none is left that could load its model, in seconds.
ABANDONED_SECONDS = 10.0
#: A ticket that is in no lane and has made nobody take its request for so long is lost, in seconds.
LOST_TICKET_SECONDS = 2.0
#: Redis lets a key go this much after its time, in seconds.
EXPIRY_SECONDS = 0.02


Found = TypeVar("Found")


class ClientGone(Exception):
    """Nobody is there to answer: not an error any dialect has words for."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Nothing has been said for a while, and the request still lives. `before`: it waits, and so many go before it, which
    takes about so many `seconds` where that is known.
    """

    before: int | None = None
    seconds: float | None = None


PULSE: Final = Pulse()


class Watch:
    """The reading side of one request."""

    def __init__(
        self,
        request: Request,
        lane: Lane,
        mailbox: Mailbox,
        store: Store,
        room: Room,
        submit: Callable[[Lane], None],
        look_again: Callable[[str, Lane], Lane | Trouble],
        settings: Settings,
        clock: Callable[[], float],
        deadline_seconds: float,
        renew: Callable[[Iterable[str]], None] = lambda digests: None,
        places: bool = False,
    ) -> None:
        self._request, self._lane, self._mailbox, self._store, self._room = request, lane, mailbox, store, room
        self._submit, self._look_again, self._deadline_seconds = submit, look_again, deadline_seconds
        #: Whether Redis could not be reached when it was last asked, and when it was back after that.
        self._missed, self._back_at = False, -math.inf
        #: How long the lease that was looked at last had left.
        self._lapse = math.inf
        self._settings, self._clock = settings, clock
        self._next = 0
        self.last: Event | None = None
        self._open = request.choices
        self._given_up = False
        #: This process leaves, and has ended a stream that it had begun to tell.
        self.interrupted = False
        #: When somebody was last seen to hold the request, or to come for it.
        self._attended = clock()
        self._places = Places(clock()) if places else None
        #: As far as is known, nobody has taken it yet: there is no journal and no lease to be looked at.
        self._untaken = True
        self._heard = self._pulsed = self._answered = self._put_at = clock()
        self._until = self._heard + deadline_seconds
        self._images, self._renew = tuple(dict.fromkeys(image.digest for image in images_of(request))), renew
        self._renewed = self._heard
        #: The request has more time than its listener here gives it.
        self._outlives = False

    def expires_in(self, seconds: float) -> None:
        """It was admitted before: so long it has left, whatever was asked for here. Whoever gives it less only leaves."""
        expires = self._clock() + seconds
        self._outlives = self._until < expires
        self._until = min(self._until, expires)

    @property
    def ended(self) -> bool:
        """The request itself is over: there is nothing to cancel."""
        return self._open == 0

    @property
    def _over(self) -> bool:
        return self.ended or self._given_up

    @property
    def _late(self) -> bool:
        return self._clock() >= self._until

    @property
    def _patience(self) -> float:
        """Until the lease is looked at, a sign of life or a place is due, or its time is over."""
        now = self._clock()
        due = self._pulsed + self._settings.heartbeat_seconds - now
        stall = min(self._settings.stall_seconds, PLACE_SECONDS) if self._places else self._settings.stall_seconds
        return min(stall, self._lapse, max(0.0, due), self._until - now if now < self._until else math.inf)

    def events(self) -> Iterator[Event | Pulse]:
        while not self._over:
            item = self._mailbox.get(self._patience)
            self._lapse = math.inf
            if item is GONE:
                raise ClientGone("the client has closed its connection")
            if item is CLOSING:
                self.interrupted = self.last is not None
                yield self._end_here("shutting_down", "the server is shutting down")
            elif not isinstance(item, Delivered) or item.index > self._next or self._late:
                # Silence, or messages were lost: the journal has what they said, this one included.
                yield from self._look()
            elif item.index == self._next:
                yield self._accept(item)

    def _accept(self, item: Delivered) -> Event:
        try:
            event = codec.decode_event(item.index, item.payload)
        except DecodeError as error:
            log.error("request %s: event %d cannot be read: %s", item.request_id, item.index, error.message)
            return self._end_here("internal", "a part of the answer could not be read")
        if isinstance(event, Finished) and event.reason == "cancelled":
            # Not by this listener, who would not be here: its worker has heard for too long that there is none.
            event = Failed(item.index, "worker_lost", "it was given up while nobody could be told of it")
        self._next = item.index + 1
        self._heard = self._pulsed = self._answered = self._clock()
        self.last = event
        if isinstance(event, Failed):
            self._open = 0
        elif isinstance(event, Last):
            self._open -= 1
        return event

    def _from_journal(self) -> Iterator[Event]:
        for item in self._read():
            if item.index != self._next:
                # Redis has lost what it had acknowledged: say so, rather than skip.
                log.error("request %s: event %d is missing in the journal", self._request.id, self._next)
                yield self._end_here("worker_lost", "a part of the answer was lost in the queue")
                return
            yield self._accept(item)
            if self._over:
                return

    def _read(self) -> list[Delivered]:
        """What the journal has beyond what was told."""
        return self._first_asked(lambda: self._store.read_journal(self._request.id, self._next))

    def _place(self) -> Position | None:
        """Where it waits, if nobody has taken it yet; None also where that is not known to be so."""
        if not self._untaken or self._next or self._late:
            return None
        found = self._first_asked(lambda: self._room.position(self._request.id))
        self._untaken = found is not None and found.attempts == 0
        return found if self._untaken else None

    def _first_asked(self, question: Callable[[], Found]) -> Found:
        """What Redis answers, which may have been away."""
        try:
            found = question()
        except StoreUnavailable:
            self._missed = True
            raise
        if self._missed:
            self._missed, self._back_at = False, self._clock()
        return found

    def _look(self) -> Iterator[Event | Pulse]:
        now = self._clock()
        try:
            if (place := self._place()) is not None:
                yield from self._queue(now, 0, place)
            else:
                yield from self._from_journal()
                if not self._over and (self._heard < now or self._late):
                    yield from self._supervise(now)
            self._answered = self._clock()
        except StoreUnavailable as error:
            if (away := now - self._answered) > self._settings.outage_seconds:
                log.error("request %s is given up: %s", self._request.id, error.message)
                yield self._end_here("worker_lost", f"the request queue could not be reached for {away:.0f} s")
        # By now: Redis may have let it wait.
        if not self._over and self._clock() - self._pulsed >= self._settings.heartbeat_seconds:
            self._pulsed = self._clock()
            yield PULSE

    def _supervise(self, now: float) -> Iterator[Event | Pulse]:
        """Whether somebody still works for this request."""
        if self._late:
            yield from self._expire()
            return
        # In this order: whoever takes the request between the two questions is seen to hold it.
        attempts = self._store.attempts(self._request.id)
        held_for = self._store.held_for(self._request.id)
        if held_for is not None:
            self._attended = now
            # A dead worker's lease runs out: look again the moment it has.
            self._lapse = held_for + EXPIRY_SECONDS
        elif attempts is None:
            yield self._end_here("worker_lost", "the request was lost in the queue")
        elif attempts and (early := self._back_at + self._settings.lease_seconds - self._clock()) > 0:
            # Its lease ran out while Redis was away: whoever held it has as long to renew it as he always has.
            self._lapse = early + EXPIRY_SECONDS
        elif attempts and (lanes := self._room.put_back(self._request.id)):
            log.warning(
                "request %s: its worker was lost; another one goes on at event %d", self._request.id, self._next
            )
            for lane in lanes:
                self._put(lane)
        else:
            yield from self._queue(now, attempts, None)

    def _expire(self) -> Iterator[Event]:
        text = f"no answer within {self._deadline_seconds:g} s"
        if not self._outlives:
            yield from self._conclude("expired", text, None)
            asked, kept = self._request.id, self._settings.journal_seconds
            self._room.cancel(asked, seconds=self._deadline_seconds, journal_seconds=kept)
        if not self._over:
            # Also where Redis knows nothing of it any more, and there is nobody to end.
            yield self._end_here("expired", text)

    def _queue(self, now: float, attempts: int, place: Position | None) -> Iterator[Event | Pulse]:
        """Whether somebody will come for a request that nobody holds, and to which lane. place: None where it was not asked
        for yet.
        """
        if self._images and now - self._renewed >= self._settings.image_seconds / 3:
            self._renewed = now
            self._renew(self._images)
        found = self._look_again(self._request.model, self._lane)
        if isinstance(found, Lane):
            self._attended = now
            if found != self._lane:
                if self._room.move(self._request.id, found):
                    log.warning("request %s: nobody comes to %s; it waits in %s", self._request.id, self._lane, found)
                    self._lane = found
                    self._put(found)
            elif now - self._put_at >= LOST_TICKET_SECONDS and not self._tickets(place):
                self._replace_ticket()
            if self._places and self._places.due(now):
                place = place or self._room.position(self._request.id)
                if self._places.is_news(now, place) and place:
                    self._pulsed = now
                    yield Pulse(place.before, place.wait)
        # A worker that died is being replaced; what else is the matter stays so for a while.
        elif found.code != "no_worker" or now - max(self._heard, self._attended) > ABANDONED_SECONDS:
            yield from self._conclude("model_unavailable", found.message, attempts)

    def _tickets(self, place: Position | None) -> int:
        """How many nobody has popped in its lane."""
        if place is not None and place.lane == self._lane:
            return place.tickets
        return self._room.tickets(self._lane.name)

    def _replace_ticket(self) -> None:
        """Redis gave it to a worker that was just killed, and who cannot say so. One too many does no harm."""
        position = self._room.position(self._request.id)
        if position is not None:
            # A worker that left may have given it back to the other flavour's.
            self._lane = position.lane
            log.warning("request %s: its ticket is lost; there is another one", self._request.id)
        self._put(self._lane)

    def _put(self, lane: Lane) -> None:
        self._submit(lane)
        self._put_at = self._clock()

    def _conclude(self, code: FailureCode, message: str, attempt: int | None) -> Iterator[Event]:
        """Ends the request for everybody, then tells what the journal says: a worker may have been faster."""
        failed, kept = Failed(self._next, code, message), self._settings.journal_seconds
        payload = codec.encode_event(failed)
        self._store.conclude(self._request.id, payload, outcome=ending(failed), attempt=attempt, journal_seconds=kept)
        yield from self._from_journal()

    def _end_here(self, code: FailureCode, message: str) -> Failed:
        """Ends the caller's stream without a word in the journal: the request itself goes on until it is cancelled."""
        failed = Failed(self._next, code, message)
        self._next += 1
        self._given_up = True
        return failed

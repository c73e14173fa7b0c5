"""One errand from its ticket to its last word; and everything that is kept up meanwhile, in a thread of the process.

A ticket is renewed while its errand is done, so that it comes back only when this process is gone. Told to leave, the
process makes all its tickets due at once and ends in the middle of things: whatever it does, it can be killed in.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tropilla.common import names, readiness
from tropilla.common.bus import Bus
from tropilla.common.errands import Done, Errand, Look, Refused, Stop, Word
from tropilla.common.errors import StoreUnavailable
from tropilla.common.registry import Registry
from tropilla.workers.store.pulling import Stopped
from tropilla.workers.store.refusals import Refusal
from tropilla.workers.store.shelves import Shelves

log = logging.getLogger(__name__)

#: Tickets and the office are renewed, and wishes to stop looked for, this often.
BEAT_SECONDS = 1.0
#: A store that has said nothing for so long is gone. A restart takes less, and nobody notices it.
OFFICE_SECONDS = 5.0
#: Workers are told to let go of what no name stands for every so many beats: an order may find one that has another. And
#: so often the store says how it is.
DISMISSAL_BEATS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """One errand that is being done. `tag`: under which Celery's transport knows its ticket, "" for one without."""

    errand: Errand
    tag: str
    flight: str
    stop: threading.Event = field(default_factory=threading.Event)
    #: Set before `stop` where nobody will go on with it.
    discard: threading.Event = field(default_factory=threading.Event)

    def heed(self, wish: Stop | None) -> None:
        if wish == "discard":
            self.discard.set()
        if wish is not None:
            self.stop.set()


class Desk:
    """leave: called when the office is somebody else's; it does not return. report: called now and then; may raise
    `StoreUnavailable`.
    """

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        shelves: Shelves,
        *,
        leave: Callable[[str], None],
        report: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._report = report
        self._registry = registry
        self._shelves = shelves
        self._leave = leave
        self.who = f"{socket.gethostname()}-{os.getpid()}"
        self._held: dict[str, Held] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="desk", daemon=True)

    def open(self) -> None:
        """Waits for the office, which a store that was killed still holds for some seconds; one that lives, for ever."""
        waits = False
        while not self._registry.lead(names.STORE_OFFICE, self.who, seconds=OFFICE_SECONDS):
            if not waits:
                log.info("another store is running or has just ended: waiting for it to be gone")
            waits = True
            time.sleep(BEAT_SECONDS / 2)
        self._thread.start()
        readiness.tell()

    def close(self, *, returns: bool = False) -> None:
        """Nothing is begun any more; tickets of what is under way are handed out again as soon as somebody asks.

        returns: a fresh store comes in a moment, and errands may wait for it.
        """
        self._closing.set()
        try:
            self._bus.renew_tickets(_tickets(self._held.values()), 0.0)
            self._registry.resign(names.STORE_OFFICE, self.who, expect_seconds=OFFICE_SECONDS if returns else 0.0)
        except StoreUnavailable as error:
            log.warning("tickets come back only when their time is over: %s", error.message)

    def serve(self, errand: Errand, flight: str, tag: str, *, again: bool) -> str:
        """Answers what came of it, in a few words. Raises `StoreUnavailable`, and the ticket is to come back."""
        if again and any(isinstance(word, Done | Refused) for _, word in self._registry.hear(errand.id)):
            # Whoever did it was gone before its ticket was: the flight may be somebody else's by now.
            return "done already"
        held = Held(errand, tag, flight)
        if self._held.setdefault(errand.id, held) is not held:
            return "held: a second delivery"
        kind = type(errand).__name__.lower()
        log.info("%s %s%s", kind, errand.id, " is taken up again" if again else "")
        try:
            # It may have been stopped while it waited.
            held.heed(self._registry.stopped(errand.id))
            word = self._done(held, again=again)
            self._registry.tell(errand.id, word, flight=flight, passing=isinstance(errand, Look))
        finally:
            del self._held[errand.id]
        outcome = type(word).__name__.lower()
        log.info("%s %s is %s%s", kind, errand.id, outcome, f": {word.message}" if isinstance(word, Refused) else "")
        return outcome

    def give_up(self, errand_id: str, flight: str, why: str) -> None:
        """On an errand that cannot be read. Who waits for it is told."""
        try:
            self._registry.tell(errand_id, Refused("failed", f"the store cannot read it: {why}"), flight=flight)
        except StoreUnavailable as error:
            log.warning("nobody was told: %s", error.message)

    def _done(self, held: Held, *, again: bool) -> Done | Refused:
        errand = held.errand

        def say(word: Word) -> None:
            self._registry.tell(errand.id, word)

        try:
            return self._shelves.do(errand, say, held.stop.is_set, again=again)
        except Refusal as error:
            return error.word
        except Stopped as error:
            if held.discard.is_set():
                error.discard()
            return Refused("cancelled", error.message)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("errand %s of %s failed", type(errand).__name__.lower(), errand.id)
            return Refused("failed", f"the store could not do it: {type(error).__name__}: {error}")

    def _beat(self) -> None:
        beats = 0
        while not self._closing.is_set():
            try:
                self._renew()
                if beats % DISMISSAL_BEATS == 0:
                    self._shelves.dismiss()
                    self._report()
            except StoreUnavailable as error:
                log.warning("tickets are not renewed: %s", error.message)
            beats += 1
            self._closing.wait(BEAT_SECONDS)

    def _renew(self) -> None:
        if not self._registry.lead(names.STORE_OFFICE, self.who, seconds=OFFICE_SECONDS):
            self.close()
            self._leave("another store has taken over")
        held = list(self._held.values())
        self._bus.renew_tickets(_tickets(held), time.time())
        self._registry.keep_flights([one.flight for one in held if one.tag])
        for one in held:
            one.heed(self._registry.stopped(one.errand.id))


def _tickets(held: Iterable[Held]) -> list[str]:
    """Under their tags. A list of its own: errands come and go meanwhile."""
    return [one.tag for one in list(held) if one.tag]

"""The one subscriber of this process, handing events to the requests that wait for them.

Subscribed since start-up, so the subscription is older than every request and no first token can be missed. Whatever is
missed all the same (a dropped connection, a full mailbox) is a gap in the indices, and `relay` fills gaps from the
journal: this file never has to be right, only fast.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from typing import Final, Protocol

from tropilla.common.bus import Delivered, Listener, Silent, split_message
from tropilla.common.errors import StoreUnavailable, WorkerLost

log = logging.getLogger(__name__)

#: Events a request may leave unread; beyond that they are dropped here and read from the journal later.
MAX_UNREAD = 1024
RECONNECT_SECONDS = 0.2


class _Mark:
    """Something that happened to a request besides an event."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: The client has closed its connection.
GONE: Final = _Mark("GONE")
#: This process is about to exit.
CLOSING: Final = _Mark("CLOSING")
#: Messages may have been lost: look into the journal.
GAP: Final = _Mark("GAP")


class Mailbox:
    """What waits for one request, in order of arrival. `listener` is what Redis knows the caller by who reads it."""

    def __init__(self) -> None:
        self.listener = secrets.token_hex(4)
        self._items: queue.SimpleQueue[Delivered | _Mark] = queue.SimpleQueue()

    def put(self, item: Delivered) -> None:
        """Dropped when the reader is too far behind: its next read finds the gap."""
        if self._items.qsize() < MAX_UNREAD:
            self._items.put(item)

    def mark(self, mark: _Mark) -> None:
        self._items.put(mark)

    def get(self, timeout_seconds: float) -> Delivered | _Mark | None:
        """None when nothing came in time."""
        try:
            return self._items.get(timeout=timeout_seconds)
        except queue.Empty:
            return None


class Subscribable(Protocol):
    """What is needed of `bus.Bus`."""

    #: Whether Redis is known to be away, so that nobody else waits for it.
    away: bool

    def listen_inbox(self, inbox: str) -> Listener: ...


class Inbox:
    """`start` it once; `name` is what requests are registered under."""

    def __init__(self, bus: Subscribable, name: str = "") -> None:
        self.name = name or secrets.token_hex(8)
        self._bus = bus
        #: By request: of each caller that waits for it here. Changed under the lock, read without.
        self._mailboxes: dict[str, tuple[Mailbox, ...]] = {}
        self._lock = threading.Lock()
        #: Everything here was told to end.
        self.closed = False
        #: When its thread has come by last, on the clock that only goes forward.
        self.turned_at = time.monotonic()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    @property
    def open_requests(self) -> int:
        return len(self._mailboxes)

    def start(self, timeout_seconds: float = 10.0) -> None:
        """Returns once subscribed. Raises `StoreUnavailable` when that takes too long."""
        self._thread.start()
        if not self._ready.wait(timeout_seconds):
            raise StoreUnavailable(f"no subscription within {timeout_seconds:.0f} s")

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def register(self, request_id: str) -> Mailbox:
        """Before the request is submitted, or joined. Raises `WorkerLost` once everything here was told to end."""
        if self.closed:
            raise WorkerLost("the server is shutting down", code="shutting_down")
        mailbox = Mailbox()
        with self._lock:
            self._mailboxes[request_id] = (*self._mailboxes.get(request_id, ()), mailbox)
        return mailbox

    def forget(self, request_id: str, mailbox: Mailbox) -> None:
        with self._lock:
            left = tuple(each for each in self._mailboxes.get(request_id, ()) if each is not mailbox)
            if left:
                self._mailboxes[request_id] = left
            else:
                self._mailboxes.pop(request_id, None)

    def close_all(self) -> None:
        """Tells every open request that this process is about to exit. From here on there is no new one."""
        self.closed = True
        self._mark_all(CLOSING)

    def dispatch(self, message: bytes) -> None:
        for delivered in split_message(message):
            for mailbox in self._mailboxes.get(delivered.request_id, ()):
                mailbox.put(delivered)

    def _mark_all(self, mark: _Mark) -> None:
        for mailboxes in list(self._mailboxes.values()):
            for mailbox in mailboxes:
                mailbox.mark(mark)

    def _run(self) -> None:
        """Supervised: a reader that dies would hang every stream of the process."""
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            try:
                listener = self._listen()
                try:
                    self._ready.set()
                    self._mark_all(GAP)
                    self._read(listener)
                finally:
                    listener.close()
            except Silent as error:
                # Nobody else in this process is to find that out for himself, a few seconds each.
                self._bus.away = True
                log.warning("events do not arrive: %s", error.message)
            except StoreUnavailable as error:
                # A connection may break without anything being the matter with Redis: the next one tells.
                log.warning("events do not arrive: %s", error.message)
                self._stopping.wait(RECONNECT_SECONDS)
            except Exception:
                log.exception("the inbox reader broke and starts again")
                self._stopping.wait(RECONNECT_SECONDS)

    def _listen(self) -> Listener:
        """This process's ear is also how it knows whether Redis is there."""
        try:
            listener = self._bus.listen_inbox(self.name)
        except StoreUnavailable:
            self._bus.away = True
            raise
        self._bus.away = False
        return listener

    def _read(self, listener: Listener) -> None:
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            message = listener.read()
            if message is not None:
                self.dispatch(message)

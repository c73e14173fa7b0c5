"""One line of a batch -> what its route would answer, with its request in the last class.

A line is run as a request that goes on when nobody listens, under an id that follows from the batch and the line: so the
process that takes the batch over finds what was asked before, waiting, running or done. What passes by itself, a full queue
or a model that nobody serves for a moment, is waited for; what ended without an answer that counts is asked once more,
under the next id.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, cast

from tropilla.api import placement
from tropilla.api.asking import Asking, Body
from tropilla.api.batches import lines
from tropilla.api.batches.lines import Line
from tropilla.api.batches.records import Asked, Tokens
from tropilla.api.batches.rendering import Rendering, Told
from tropilla.api.batches.segments import Row
from tropilla.api.inbox import GONE, Mailbox
from tropilla.api.relay import Caller, Relay
from tropilla.api.surface import Dialect
from tropilla.api.watch import ABANDONED_SECONDS, ClientGone, Pulse
from tropilla.common.errors import (
    ModelUnavailable,
    Overloaded,
    RequestError,
    StoreUnavailable,
    TropillaError,
    UnknownModel,
    from_failed,
)
from tropilla.common.generation import Event, Failed, FailureCode, Finished, Request, Token
from tropilla.common.keys import NO_LIMITS, Limits
from tropilla.common.terms import Terms

log = logging.getLogger(__name__)

#: How long it is waited for what passes by itself, in seconds, before the next try.
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.5, 10.0
#: A request that ends so is asked again, however often: nothing was computed, or nobody is to blame.
PASSING: frozenset[FailureCode] = frozenset({"model_unavailable", "shutting_down", "expired"})
#: One that ends so is asked again so often: it may have been the machine's fault.
SUSPICIOUS: frozenset[FailureCode] = frozenset({"worker_lost", "internal"})
MOST_TRIES = 3
TIMEOUT = ("request_timeout", "The request took longer than one request may.")


class _Wait(Exception):
    """The same may be tried again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class _Again(Exception):
    """The request ended without an answer that counts; `error`: which becomes one, after so many tries."""

    def __init__(self, error: TropillaError | None = None) -> None:
        self.error = error


class _TooLate(Exception):
    """It was being computed when its time was over."""


class Answering:
    """For one run of one batch. `dialect` has the routes that lines name; `answer` is called in many threads at once."""

    def __init__(
        self,
        dialect: Dialect,
        asking: Asking,
        relay: Relay,
        clock: Callable[[], float] = time.time,
        *,
        limits: Callable[[str], Limits] = lambda key: NO_LIMITS,
        most_wait_seconds: float = MOST_WAIT_SECONDS,
    ) -> None:
        """limits: of an API key; a line waits where they are reached, but for those of a minute, which no batch minds."""
        self._limits = limits
        self._most_wait_seconds = most_wait_seconds
        self._rendering = Rendering(dialect, asking, clock)
        self._asking, self._relay, self._clock = asking, relay, clock
        self._left, self._cancelled = threading.Event(), False
        self._mailboxes: dict[str, Mailbox] = {}
        #: Line -> the request that has answered it.
        self._requests: dict[int, str] = {}
        #: Requests that are not even in the queue: for a limit, a full queue, or a model that nobody serves.
        self._waiting: set[str] = set()
        #: Model -> when it was first found that nobody knows it.
        self._unknown: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """How many lines wait for what passes by itself."""
        return len(self._waiting)

    def cancel(self) -> None:
        """Nobody wants the answers that are still awaited."""
        self._cancelled = True
        self.abandon()

    def forsake(self, asked: Asked, numbers: Iterable[int]) -> None:
        """As `cancel`, of lines that another process may have under way."""
        for number in numbers:
            for attempt in range(MOST_TRIES):
                self._relay.cancel(lines.request_id(asked.id, number, attempt))

    def abandon(self) -> None:
        """Somebody else awaits them from now on."""
        self._left.set()
        for mailbox in list(self._mailboxes.values()):
            mailbox.mark(GONE)

    def settled(self, line: int) -> None:
        """The line's answer is kept: its request need not be told again."""
        try:
            self._relay.forget(self._requests.pop(line))
        except StoreUnavailable as error:
            log.warning("the request of line %d could not be freed: %s", line, error.message)

    def answer(self, asked: Asked, line: Line, data: bytes) -> Row | None:
        """None once this process has left, or nobody wants it."""
        tries = 0
        for attempt in itertools.count():
            request_id = self._requests[line.number] = lines.request_id(asked.id, line.number, attempt)
            try:
                told = self._awaited(asked, request_id, data)
            except ClientGone:
                return None
            except _TooLate:
                return Row(line.number, False, Tokens(), lines.failed(request_id, line.custom_id, *TIMEOUT))
            except _Again as again:
                tries += 1
                if again.error is None or tries < MOST_TRIES:
                    self._pause(LEAST_WAIT_SECONDS)
                    continue
                told = self._rendering.fault(again.error)
            text = lines.answered(request_id, line.custom_id, told.reply.status, told.reply.body)
            return Row(line.number, told.reply.status == 200, told.tokens, text)
        raise AssertionError("counting never ends")

    def _awaited(self, asked: Asked, request_id: str, data: bytes) -> Told:
        """Raises `_Again`, `_TooLate`, or `ClientGone` once this process has left."""
        try:
            return self._tried(asked, request_id, data)
        finally:
            self._waiting.discard(request_id)

    def _tried(self, asked: Asked, request_id: str, data: bytes) -> Told:
        while not self._left.is_set():
            try:
                return self._told(asked, request_id, data)
            except _Wait as wait:
                self._waiting.add(request_id)
                self._pause(wait.seconds)
            except (_Again, _TooLate, ClientGone):
                raise
            except RequestError as error:
                return self._rendering.fault(error)
            except Exception:
                # As HTTP would have it: a bug of ours costs this line, and no other.
                log.exception("request %s of batch %s broke", request_id, asked.id)
                return self._rendering.fault(TropillaError("internal error"))
        raise ClientGone

    def _pause(self, seconds: float) -> None:
        self._left.wait(min(self._most_wait_seconds, max(LEAST_WAIT_SECONDS, seconds)))

    def _told(self, asked: Asked, request_id: str, data: bytes) -> Told:
        """Raises the error that is the line's answer; or else as `_awaited`, or `_Wait`."""
        try:
            body = Body(lines.body_of(data), len(data) - lines.ENVELOPE_BYTES)
            found = self._rendering.understood(asked.endpoint, body, request_id, asked.key)
            return found if isinstance(found, Told) else found.tell(self._events(asked, found.request))
        except Overloaded as error:
            raise _Wait(error.retry_after_seconds) from error
        except StoreUnavailable as error:
            raise _Wait(LEAST_WAIT_SECONDS) from error
        except ModelUnavailable as error:
            if error.retry_after_seconds is None:
                raise
            raise _Wait(error.retry_after_seconds) from error
        except UnknownModel as error:
            # Its only worker may be about to come back.
            since = self._unknown.setdefault(error.model, self._clock())
            if self._clock() - since >= ABANDONED_SECONDS:
                raise
            raise _Wait(LEAST_WAIT_SECONDS) from error

    def _events(self, asked: Asked, request: Request) -> Iterator[Event]:
        """Of a request that ends well. Raises what it failed with, `_Again` or `_TooLate`."""
        cluster, spill_backlog = self._asking.cluster, self._asking.settings.spill_backlog
        lane = placement.lane(cluster.catalogue(), request.model, cluster.backlog, spill_backlog)
        left = max(1.0, asked.expires_at - self._clock())
        limits = replace(self._limits(asked.key), requests_per_minute=0)
        terms = Terms(asked.key, "batch", left, limits=limits)
        events = self._relay.attend(request, lane, Caller(self._opened(request.id)), terms)
        began = False
        try:
            for event in events:
                self._waiting.discard(request.id)
                if isinstance(event, Failed):
                    raise _failure(event, began=began)
                if isinstance(event, Finished) and event.reason == "cancelled":
                    raise _Again
                if not isinstance(event, Pulse):
                    began = began or isinstance(event, Token)
                    yield event
        except ClientGone:
            if self._cancelled:
                self._relay.cancel(request.id)
            raise
        finally:
            cast(Any, events).close()
            self._mailboxes.pop(request.id, None)

    def _opened(self, request_id: str) -> Callable[[Mailbox], None]:
        def opened(mailbox: Mailbox) -> None:
            self._mailboxes[request_id] = mailbox
            if self._left.is_set():
                mailbox.mark(GONE)

        return opened


def _failure(event: Failed, *, began: bool) -> Exception:
    if event.code == "expired" and began:
        return _TooLate()
    if event.code in PASSING:
        return _Again()
    error = from_failed(event)
    return _Again(error) if event.code in SUSPICIOUS else error

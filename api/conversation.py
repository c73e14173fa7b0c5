"""One request's answer over HTTP: its events awaited, its client's socket watched, its body streamed or whole."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, cast

from flask import Response, request
from tropilla.api import hangup, overlays
from tropilla.api.account import Account
from tropilla.api.diary import Entry
from tropilla.api.framing import compact
from tropilla.api.inbox import GONE, Mailbox
from tropilla.api.relay import Caller, Relay
from tropilla.api.surface import Call, Fold, Reply, Surface
from tropilla.api.watch import Pulse
from tropilla.common.catalogue import Lane
from tropilla.common.errors import TropillaError, from_failed
from tropilla.common.generation import Completion, Embedded, Event, Failed, Loaded, Request, Token, Tokenized
from tropilla.common.recipes import UNPOLISHED
from tropilla.common.room import Admitted
from tropilla.common.settings import Settings
from tropilla.common.terms import Terms

log = logging.getLogger(__name__)

#: Of every stream: the id by which it can be asked for again.
STREAM_HEADER = "x-stream-id"
#: Where a WSGI environment keeps how many requests went before its own when that was admitted.
PLACE = "tropilla.place"
#: What the kernel may hold of a stream that its client does not read; left to itself it is some megabytes.
UNREAD_BYTES = 128 << 10


class Conversation:
    """The events of one request together with the watch over its client's socket, and the account that is kept of it.
    To be closed.
    """

    def __init__(
        self,
        relay: Relay,
        settings: Settings,
        asked: Request,
        lane: Lane,
        terms: Terms,
        account: Account | None = None,
        *,
        kept: bytes = b"",
        resumed: bool = False,
        resumable: bool = False,
        places: bool = False,
        entry: Entry | None = None,
    ) -> None:
        """kept: as `Relay.run` has `call`. resumed: the request was admitted before. entry: what is written down of the
        HTTP request; None where it is nobody's.
        """
        self.asked, self.account = asked, account
        self._entry, self._key, self._resumed = entry, terms.key, resumed
        if entry is not None and entry.place is not None:
            terms = replace(terms, trace=entry.traceparent)
        #: What is done to a whole answer's text; streams have gone out by then.
        self.polish = UNPOLISHED
        #: A stream never says nothing for longer.
        self.heartbeat_seconds = settings.heartbeat_seconds
        self.says_places = settings.stream_ids == "yes"
        self._environ = request.environ
        self._mailbox: Mailbox | None = None
        self._abandoned = False
        self._stop_watching: Callable[[], None] = lambda: None
        caller = Caller(self._opened, self._admitted, places=places, resumable=resumable or resumed)
        if resumed:
            self.events = relay.resume(asked, lane, caller, terms)
        else:
            self.events = relay.run(asked, lane, caller, terms, kept)
        client = self._environ.get("gunicorn.socket")
        if client is not None:
            # A client that takes nothing for so long is gone too; the write fails and the stream is closed.
            client.settimeout(settings.write_seconds)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)

    def _opened(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._stop_watching = hangup.watch(self._environ, lambda: mailbox.mark(GONE))
        if self._abandoned:
            mailbox.mark(GONE)

    def _admitted(self, admitted: Admitted) -> None:
        # Of several for one call, the one that waits longest.
        self._environ[PLACE] = max(admitted.number, self._environ.get(PLACE, 0))

    def heard(self, *, streams: bool = False) -> Iterator[Event | Pulse]:
        """The events, for whoever answers with them."""
        if self._entry is None:
            return self.events
        self._entry.streams = streams
        self._entry.ask(self.asked, self._key, joins=self._resumed)
        return self._noted(self._entry)

    def _noted(self, entry: Entry) -> Iterator[Event | Pulse]:
        for event in self.events:
            entry.hear(event, self.asked)
            yield event

    def fail(self, error: BaseException) -> None:
        """Its answer breaks off with this."""
        if self._entry is not None:
            self._entry.fail(error)
        if self.account is not None:
            self.account.fail(error)

    def completion(self) -> Completion:
        """What it comes to once it is over. Raises the `GenerationFailed` it ended with, or `ClientGone`."""
        fold = Fold(self.asked.choices)
        try:
            for event in self.heard():
                if not isinstance(event, Pulse):
                    fold.feed(event)
                    if self.account is not None and self.account.waits and isinstance(event, Token):
                        self.account.hear(event)
        finally:
            self.close()
        completion = fold.completion()
        if self.account is not None:
            for choice in completion.choices:
                self.account.hear(choice.finished)
        return overlays.polished(completion, self.polish)

    def run(self) -> None:
        """Sees to it that the request runs to its end, which nobody waits for, in a thread of its own."""
        self._environ = {}
        threading.Thread(target=self._run, name=f"unwatched {self.asked.id}", daemon=True).start()

    def _run(self) -> None:
        try:
            for event in self.events:
                if isinstance(event, Failed):
                    log.warning("request %s, which nobody waits for, failed: %s", self.asked.id, event.code)
        except TropillaError as error:
            log.warning("request %s, which nobody waits for, failed: %s", self.asked.id, type(error).__name__)
        finally:
            self.close()

    def abandon(self) -> None:
        """Nobody wants the answer: whoever waits for it, or is about to, is told so."""
        self._abandoned = True
        if self._mailbox is not None:
            self._mailbox.mark(GONE)

    def close(self) -> None:
        self._stop_watching()
        cast(Any, self.events).close()


def whole(surface: Surface, call: Call, conversation: Conversation) -> Response:
    return respond(surface.whole(call, conversation.completion(), time.time()))


def together(conversations: Sequence[Conversation]) -> tuple[Completion, ...]:
    """What each comes to, all of them at once: each in a thread of its own (a greenlet, under gevent). Raises what the
    first one that fails raises, and gives up the others.
    """
    with ThreadPoolExecutor(len(conversations)) as threads:
        futures = [threads.submit(conversation.completion) for conversation in conversations]
        ended, going = wait(futures, return_when=FIRST_EXCEPTION)
        for future, conversation in zip(futures, conversations, strict=True):
            if future in going:
                conversation.abandon()
    failures = [error for future in futures if future in ended and (error := future.exception())]
    if failures:
        raise failures[0]
    return tuple(future.result() for future in futures)


def answers(conversation: Conversation) -> tuple[Embedded | Tokenized | Loaded, ...]:
    """One for each prompt, in their order."""
    found: dict[int, Embedded | Tokenized | Loaded] = {}
    try:
        for event in conversation.heard():
            if isinstance(event, Failed):
                raise from_failed(event)
            if isinstance(event, Embedded | Tokenized | Loaded):
                found[event.choice] = event
    finally:
        conversation.close()
    return tuple(found[choice] for choice in sorted(found))


def respond(reply: Reply) -> Response:
    """Text goes out as text, None as an empty body, everything else as JSON."""
    headers = dict(reply.headers)
    if reply.body is None:
        body, kind = b"", "text/plain; charset=utf-8"
    elif isinstance(reply.body, str):
        body, kind = reply.body.encode(), "text/plain; charset=utf-8"
    else:
        body, kind = compact(reply.body), "application/json"
    headers.setdefault("Content-Type", kind)
    return Response(body, status=reply.status, headers=headers)

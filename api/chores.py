"""Errands seen from the API: registered, put into the store's queue, and listened to until their last word."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from flask import Response, request
from tropilla.api import hangup
from tropilla.api.conversation import respond
from tropilla.api.framing import Framing
from tropilla.api.surface import Chore, ErrandCall, Frame
from tropilla.common import names
from tropilla.common.errands import Done, Errand, Refused, Word
from tropilla.common.errors import StoreClosed, StoreUnavailable, TropillaError, WorkerLost

log = logging.getLogger(__name__)

#: How long one question to Redis waits for the next word.
LISTEN_SECONDS = 1.0


class Book(Protocol):
    """What is needed of `registry.Registry`."""

    def staffed(self, office: str) -> bool: ...
    def begin(self, errand: Errand, flight: str) -> str: ...
    def hear(self, errand_id: str, after: str = "0", *, wait_seconds: float = 0.0) -> list[tuple[str, Word]]: ...
    def attend(self, errand_id: str, more: int) -> int: ...
    def stop_errand(self, errand_id: str, *, discard: bool) -> None: ...
    def paused(self, errand_id: str) -> bool: ...


class Errands:
    """`submit` puts an errand and its flight into the store's queue. `changed` is told of every errand that is done.
    closing: whether this process is about to exit, and nobody hears an errand to its end here.
    """

    def __init__(
        self,
        book: Book,
        submit: Callable[[Errand, str], None],
        changed: Callable[[], None] = lambda: None,
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._book = book
        self._submit = submit
        self._changed = changed
        self.closing = closing

    def begin(self, call: ErrandCall) -> str:
        """Answers the id of the errand that does it: this one, or one that was under way for the same.

        Raises `StoreClosed` at once where nobody would do it: a queue is no answer to who waits.
        """
        if not self._book.staffed(names.STORE_OFFICE):
            raise StoreClosed("the store is not running: models cannot be changed now (tropilla store starts it)")
        for errand_id in call.instead_of:
            self._book.stop_errand(errand_id, discard=True)
        flight = call.flight or call.errand.id
        errand_id = self._book.begin(call.errand, flight)
        if errand_id == call.errand.id:
            self._submit(call.errand, flight)
        return errand_id

    def words(self, errand_id: str, gone: Callable[[], bool]) -> Iterator[Word | None]:
        """What the store says, to the last word; None when it has said nothing for a while. Ends early once `gone`;
        raises `WorkerLost` once this process is about to exit.
        """
        after = "0"
        while not gone():
            if self.closing():
                raise WorkerLost("the server is shutting down", code="shutting_down")
            heard = self._book.hear(errand_id, after, wait_seconds=LISTEN_SECONDS)
            if not heard:
                yield None
            for after, word in heard:  # noqa: B007 (the place of the last one)
                if isinstance(word, Done):
                    self._changed()
                yield word
                if isinstance(word, Done | Refused):
                    return

    def stop(self, errand_id: str) -> None:
        """For good."""
        self._book.stop_errand(errand_id, discard=True)

    def paused(self, errand_id: str) -> bool:
        """Whether its caller has left, and whoever asks for the same goes on where it was."""
        return self._book.paused(errand_id)

    def attend(self, errand_id: str) -> None:
        """Somebody listens from now on."""
        self._book.attend(errand_id, 1)

    def leave(self, errand_id: str, *, stops: bool) -> None:
        """Somebody listens no more. stops: the errand pauses, if nobody else does."""
        if self._book.attend(errand_id, -1) <= 0 and stops:
            self._book.stop_errand(errand_id, discard=False)


def answer(errands: Errands, chore: Chore, call: ErrandCall) -> Response:
    """Streamed, whole, or at once where nobody waits for the end."""
    errand_id = errands.begin(call)
    if not call.wait:
        return respond(chore.whole(replace(call, errand=replace(call.errand, id=errand_id)), ()))
    hearing = _Hearing(errands, call, errand_id)
    if call.stream and chore.frames is not None:
        return _streamed(chore, call, hearing)
    try:
        said = tuple(word for word in hearing.words if word is not None)
    finally:
        hearing.close()
    return respond(chore.whole(call, said)) if hearing.over else Response(status=499)


def _streamed(chore: Chore, call: ErrandCall, hearing: _Hearing) -> Response:
    """What is refused before anything else was said has a real status: so the first word is awaited here."""
    try:
        first = next(hearing.words, None)
    except BaseException:
        hearing.close()
        raise
    if isinstance(first, Refused):
        hearing.close()
        return respond(chore.whole(call, (first,)))
    assert chore.frames is not None
    body = told(chore.framing, itertools.chain((first,), hearing.words), chore.frames(call))
    response = Response(body, headers=chore.framing.headers)
    # Not in the generator's own clean-up: that does not run when the client leaves before the first byte.
    response.call_on_close(hearing.close)
    return response


class _Hearing:
    """An errand's words, listened to until the last one or until the client leaves. To be closed: a caller that leaves
    pauses an errand of his own that asks for it (`stops`), unless others listen too.
    """

    def __init__(self, errands: Errands, call: ErrandCall, errand_id: str) -> None:
        self._errands, self._call = errands, call
        self._listen_to(errand_id)
        self._left: list[bool] = []
        self._unwatch = hangup.watch(request.environ, lambda: self._left.append(True))
        self.over = False
        self.words = self._words()

    def _listen_to(self, errand_id: str) -> None:
        self._errand_id, self._joined = errand_id, errand_id != self._call.errand.id
        self._stops = self._call.stops and not self._joined
        self._errands.attend(errand_id)

    def _words(self) -> Iterator[Word | None]:
        for word in self._errands.words(self._errand_id, lambda: bool(self._left)):
            if isinstance(word, Refused) and self._joined and self._errands.paused(self._errand_id):
                # Whoever had asked for it left just before this one came, who wants it.
                self._errands.leave(self._errand_id, stops=False)
                self._listen_to(self._errands.begin(self._call))
                yield from self._words()
                return
            self.over = isinstance(word, Done | Refused)
            yield word

    def close(self) -> None:
        self._unwatch()
        # Of a process that exits itself nobody can say whether its caller wants no more.
        stops = self._stops and not self.over and not self._errands.closing()
        try:
            self._errands.leave(self._errand_id, stops=stops)
        except StoreUnavailable as error:
            log.warning("errand %s could not be left: %s", self._errand_id, error.message)


def told(framing: Framing, words: Iterable[Word | None], feed: Callable[[Word], Iterable[Frame]]) -> Iterator[bytes]:
    """What goes out for each word; a sign of life where nothing does, or nothing was said."""
    try:
        for word in words:
            frames = () if word is None else feed(word)
            yield b"".join(framing.frame(each.data, each.event) for each in frames) or framing.heartbeat
    except TropillaError as error:
        yield b"".join(framing.frame(each.data, each.event) for each in feed(Refused("failed", error.message)))

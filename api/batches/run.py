"""One batch at the process that has taken it: its file is looked through, its lines are answered, its files are written.

Theory of operation. Everything that this process decides is written down under its term (`book`), and is refused once
another process has taken the batch: from the first refusal on this one only leaves. Lines are run as requests whose ids
follow from the batch and the line, so that whoever takes the batch next goes on listening to what is under way. Answers go
to the disk first, and count when Redis knows of them (`segments`). An ending is written down before the files are, which
are the same whoever writes them.

    validating -> failed
               -> in_progress -> finalizing -> completed, or expired
               -> cancelling                -> cancelled
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from tropilla.api.batches import book
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.book import Held
from tropilla.api.batches.lines import MOST_LINES, Line, Review
from tropilla.api.batches.records import Asked, Batch, Ending, Objection, Status, new_file_id
from tropilla.api.batches.results import write_results
from tropilla.api.batches.segments import Row, Segments
from tropilla.common.settings import Settings

log = logging.getLogger(__name__)

#: How long nothing may come before it is asked whether the batch is still wanted, and whose it is, in seconds.
LOOK_SECONDS = 0.25
#: Bytes of a file that are worked through before others have their turn: the process has streams to serve.
PIECE_BYTES = 256 << 10


class Writing(Protocol):
    """What is needed of `book.Book`."""

    def write(self, held: Held, fields: Mapping[str, Any], *, during: Collection[Status]) -> Status | None: ...


class Answering(Protocol):
    """What is needed of `answering.Answering`: `answer` is called in many threads at once."""

    def answer(self, asked: Asked, line: Line, data: bytes) -> Row | None: ...
    def settled(self, line: int) -> None: ...
    def cancel(self) -> None: ...
    def forsake(self, asked: Asked, numbers: Iterable[int]) -> None: ...
    def abandon(self) -> None: ...


class Lost(Exception):
    """The batch is another process's now."""


class Run:
    """`run` it once. `window`: how many lines may be under way now."""

    def __init__(
        self,
        held: Held,
        writing: Writing,
        archive: Archive,
        answering: Answering,
        settings: Settings,
        window: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._held, self._writing, self._archive, self._answering = held, writing, archive, answering
        self._settings, self._window, self._clock = settings, window, clock
        self._asked = held.batch.asked
        self._input = archive.path(self._asked.input_file_id)
        self._status = held.batch.status
        self._underway: set[int] = set()
        self._rows: queue.SimpleQueue[tuple[int, Row | None]] = queue.SimpleQueue()
        self._left = self._cancelled = False

    def leave(self) -> None:
        """Another process goes on with it; what is under way is left under way."""
        self._left = True
        self._answering.abandon()

    def run(self) -> None:
        """To the end, or until it is another's. Raises `StoreUnavailable` and `OSError`: it is to be taken once more."""
        try:
            self._run()
        except Lost:
            log.warning("batch %s goes on at another process", self._asked.id)
        finally:
            self._answering.abandon()

    def _run(self) -> None:
        review = self._reviewed()
        if review.objections:
            fields = {**book.reached("failed", self._now), **book.objected(review.objections)}
            self._write(fields, "validating", "in_progress", "finalizing", "cancelling")
            return
        if self._held.batch.status == "validating":
            fields = {**book.reached("in_progress", self._now), "total": len(review.lines)}
            self._write(fields, "validating")
        segments = Segments(self._archive.bench(self._asked.id), self._held.term, self._held.counted)
        try:
            batch = self._held.batch
            if batch.ending is None:
                batch = self._answered(review.lines, segments)
            assert batch.ending is not None
            write_results(self._archive, batch, review.lines, segments)
            self._write(book.reached(batch.ending, self._now), "finalizing", "cancelling")
        finally:
            segments.close()
        segments.remove()

    # -- the file -----------------------------------------------------------------------------------------------------

    def _reviewed(self) -> Review:
        """Of a batch that goes on here it finds the same as before."""
        settings = self._settings
        review = Review(
            self._asked.endpoint, max_lines=settings.max_batch_lines, max_body_bytes=settings.most_body_bytes
        )
        try:
            self._look_through(review)
        except FileNotFoundError:
            text = "The input file is not there any more."
            review.objections.append(Objection("file_not_found", text, "input_file_id"))
        review.done()
        return review

    def _look_through(self, review: Review) -> None:
        number = start = breath = 0
        with self._input.open("rb") as file:
            while not review.hopeless and (data := file.readline(review.longest)):
                number += 1
                review.see(number, start, data)
                start += len(data)
                while not data.endswith(b"\n") and (data := file.readline(review.longest)):
                    # The rest of a line that is too long.
                    start += len(data)
                if start - breath >= PIECE_BYTES:
                    breath = start
                    time.sleep(0)
                    self._stay()

    # -- the answers --------------------------------------------------------------------------------------------------

    def _answered(self, lines: list[Line], segments: Segments) -> Batch:
        """Until each has an answer, or nobody waits for the others; the batch as it ends."""
        pending = deque(line for line in lines if line.number not in segments.places)
        while True:
            how = self._ending(pending)
            if how in ("cancelled", "expired"):
                self._cancelled = True
                self._answering.cancel()
                # Whoever had the batch before took its lines in their order.
                theirs = islice(pending, MOST_LINES if self._held.term > 1 else 0)
                self._answering.forsake(self._asked, [line.number for line in theirs])
                while self._underway:
                    self._collect(segments, len(lines))
            if how is not None and (batch := self._closed(how, len(lines), segments)):
                return batch
            while pending and len(self._underway) < self._window():
                self._begin(pending.popleft())
            self._collect(segments, len(lines))

    def _ending(self, pending: deque[Line]) -> Ending | None:
        if self._status == "cancelling":
            return "cancelled"
        if self._clock() >= self._asked.expires_at:
            return "expired"
        return None if pending or self._underway else "completed"

    def _closed(self, how: Ending, total: int, segments: Segments) -> Batch | None:
        """From here on no other answer counts. None: somebody has cancelled the batch in this very moment."""
        segments.sync()  # Whoever writes the files finds them all.
        tally = segments.tally(total, closed=True)
        now = self._clock()
        output = new_file_id(now) if tally.completed else ""
        error = new_file_id(now) if tally.failed else ""
        fields = {
            **book.progress(self._held.term, segments.length, tally),
            **book.ending(how, output, error),
        }
        if how == "cancelled":
            self._write(fields, "cancelling")
        else:
            self._write({**fields, **book.reached("finalizing", self._now)}, "in_progress")
            if self._status != "finalizing":
                return None
        return Batch(self._asked, self._status, ending=how, output_file_id=output, error_file_id=error)

    def _begin(self, line: Line) -> None:
        def answer() -> None:
            row = None
            try:
                with self._input.open("rb") as file:
                    file.seek(line.start)
                    data = file.read(line.length)
                row = self._answering.answer(self._asked, line, data)
            finally:
                self._rows.put((line.number, row))

        self._underway.add(line.number)
        threading.Thread(target=answer, name=f"{self._asked.id} line {line.number}", daemon=True).start()

    def _collect(self, segments: Segments, total: int) -> None:
        """Writes down what came; where nothing does for a moment, only asks whose the batch is and whether it is wanted."""
        added = []
        for number, row in self._come():
            self._underway.discard(number)
            if row is not None:
                segments.add(row)
                added.append(number)
            elif not self._left and not self._cancelled:
                raise RuntimeError(f"line {number} of batch {self._asked.id} broke")
        fields = book.progress(self._held.term, segments.length, segments.tally(total))
        self._write(fields, "in_progress", "cancelling")
        for number in added:
            self._answering.settled(number)

    def _come(self) -> Iterator[tuple[int, Row | None]]:
        """Everything that is there, once anything is."""
        try:
            yield self._rows.get(timeout=LOOK_SECONDS)
            while True:
                yield self._rows.get_nowait()
        except queue.Empty:
            return

    # -- whose it is --------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return int(self._clock())

    def _stay(self) -> None:
        if self._left:
            raise Lost

    def _write(self, fields: Mapping[str, Any], *during: Status) -> None:
        self._stay()
        status = self._writing.write(self._held, fields, during=during)
        if status is None:
            raise Lost
        self._status = status

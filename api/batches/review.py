"""A batch's file, looked through from its first line to its last, while its process has streams to serve."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tropilla.api.batches.lines import Review
from tropilla.api.batches.records import Asked, Objection
from tropilla.common.settings import Settings

#: Bytes of a file that are worked through before others have their turn.
PIECE_BYTES = 256 << 10


def looked_through(asked: Asked, path: Path, settings: Settings, stay: Callable[[], None]) -> Review:
    """stay: called now and then, and may raise."""
    review = Review(asked.endpoint, max_lines=settings.max_batch_lines, max_body_bytes=settings.most_body_bytes)
    try:
        _look_through(review, path, stay)
    except FileNotFoundError:
        text = "The input file is not there any more."
        review.objections.append(Objection("file_not_found", text, "input_file_id"))
    review.done()
    return review


def _look_through(review: Review, path: Path, stay: Callable[[], None]) -> None:
    number = start = breath = 0
    with path.open("rb") as file:
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
                stay()

"""What a batch leaves its caller: a file of the lines that were answered with a 200, and one of all others.

Both are in the order of the input, and hold each custom_id once between them. Written twice they are the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice

from tropilla.api.batches.archive import Archive
from tropilla.api.batches.lines import Line, unanswered
from tropilla.api.batches.records import Batch, File, made_at
from tropilla.api.batches.segments import Segments

#: Lines that are written before others have their turn.
LINES = 256


def write_results(archive: Archive, batch: Batch, lines: list[Line], segments: Segments) -> None:
    """The files that the batch has named. Raises `OSError`."""
    places = segments.places

    def good() -> Iterator[bytes]:
        return segments.texts([line.number for line in lines if (p := places.get(line.number)) and p.good])

    def bad() -> Iterator[bytes]:
        assert batch.ending is not None
        told = segments.texts([line.number for line in lines if (p := places.get(line.number)) and not p.good])
        for line in lines:
            place = places.get(line.number)
            if place is None:
                yield unanswered(batch.asked.id, line, batch.ending)
            elif not place.good:
                yield next(told)

    for file_id, kind, texts in ((batch.output_file_id, "output", good), (batch.error_file_id, "error", bad)):
        if file_id:
            _keep(archive, batch, file_id, f"{batch.asked.id}_{kind}.jsonl", texts)


def _keep(archive: Archive, batch: Batch, file_id: str, name: str, texts: Callable[[], Iterator[bytes]]) -> None:
    with archive.partial() as (path, file):
        rest = texts()
        while some := list(islice(rest, LINES)):
            file.write(b"\n".join(some) + b"\n")
            time.sleep(0)
        file.flush()
        os.fsync(file.fileno())
        created, size = made_at(file_id), file.tell()
        expires = created + batch.asked.output_seconds
        archive.keep(File(file_id, name, "batch_output", size, created, expires, batch.asked.key), path)

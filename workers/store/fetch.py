"""The door of this folder: a source goes in, verified files in the store come out."""

from __future__ import annotations

from pathlib import Path

from tropilla.common.sources import Source
from tropilla.workers.store.pulling import Asked, Fetched, Pulling, Report
from tropilla.workers.store.pulling import FetchFailed as FetchFailed
from tropilla.workers.store.pulling import Stopped as Stopped


def fetch(
    source: Source, pulling: Pulling, *, sha256: str = "", again: bool = False, report: Report, stopped: Asked
) -> Fetched:
    """Every file of a source. `sha256` is what the file that it names must have; `again` fetches what is there already.

    Statuses reported are Ollama's, from `pulling manifest` to `writing manifest`. Raises `FetchFailed` and `Stopped`.
    """
    raise NotImplementedError


def fetch_blob(
    digest: str, size: int, urls: tuple[str, ...], pulling: Pulling, *, report: Report, stopped: Asked
) -> Path:
    """A file that is known by its digest, from the first of the cluster's own addresses that has it; where it is now.

    `urls` are an operator's words, never a caller's: their hosts are trusted, also with addresses that are not public.
    Raises `FetchFailed` and `Stopped`.
    """
    raise NotImplementedError

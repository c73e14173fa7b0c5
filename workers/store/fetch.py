"""The door of this folder: a source goes in, verified files in the store come out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tropilla.common.blobs import digest_of
from tropilla.common.errands import Progress
from tropilla.common.errors import ConfigurationError
from tropilla.common.hosts import Hosts, Place, parse_hosts
from tropilla.common.recipes import File
from tropilla.common.sources import Source
from tropilla.workers.store.download import download
from tropilla.workers.store.hub import hub_of
from tropilla.workers.store.local import take
from tropilla.workers.store.plan import Part, Planner
from tropilla.workers.store.pulling import Asked, Fetched, Pulling, Report
from tropilla.workers.store.pulling import FetchFailed as FetchFailed
from tropilla.workers.store.pulling import Stopped as Stopped
from tropilla.workers.store.wanted import Address, Wanted
from tropilla.workers.store.wire import Wire


def fetch(
    source: Source,
    pulling: Pulling,
    *,
    projector: Source | None = None,
    sha256: str = "",
    again: bool = False,
    report: Report,
    stopped: Asked,
) -> Fetched:
    """Every file of a source. `sha256` is what the file that it names must have; `again` fetches what is there already.
    `projector` reads images for the model, in place of what the source has for that.

    Statuses reported are Ollama's, from `pulling manifest` to `writing manifest`. Raises `FetchFailed` and `Stopped`.
    """
    hub = hub_of(pulling.environment)
    wire = _wire(pulling, hub.place)
    report(Progress("pulling manifest"))
    planner = Planner(pulling, wire, hub, report, stopped)
    plan = planner.plan(source)
    eyes = planner.projector(projector) if projector is not None else plan.projector
    parts = list(plan.parts)
    if sha256:
        digest = digest_of(sha256)
        if digest is None:
            raise FetchFailed(
                "checksum_mismatch", f"{sha256} is no sha256: 64 hex digits are wanted", refusal="invalid"
            )
        parts[plan.named] = parts[plan.named].must_have(digest)
    files = tuple(_fetch_part(part, pulling, wire, again, report, stopped) for part in parts)
    seeing = _fetch_part(eyes, pulling, wire, again, report, stopped) if eyes else None
    report(Progress("verifying sha256 digest"))
    report(Progress("writing manifest"))
    return Fetched(files, plan.source, plan.name, plan.overlay, seeing, plan.warnings)


def _fetch_part(part: Part, pulling: Pulling, wire: Wire, again: bool, report: Report, stopped: Asked) -> File:
    if part.found is not None:
        try:
            return take(part.found, pulling, report=report, stopped=stopped)
        except FetchFailed:
            # A cache that somebody spoilt; the source itself has it, too.
            if part.wanted is None:
                raise
    assert part.wanted is not None
    return download(part.wanted, pulling, wire, again=again, report=report, stopped=stopped)


def fetch_blob(
    digest: str,
    size: int,
    urls: tuple[str, ...],
    pulling: Pulling,
    *,
    authorization: str = "",
    report: Report,
    stopped: Asked,
) -> Path:
    """A file that is known by its digest, from the first of the cluster's own addresses that has it; where it is now.

    `urls` are an operator's words, never a caller's: their hosts are trusted, also with addresses that are not public.
    Raises `FetchFailed` and `Stopped`.
    """
    places = [(parts.hostname or "", parts.port) for parts in map(urlsplit, urls)]
    addresses = tuple(Address(url, url, authorization) for url in urls)
    wanted = Wanted(f"sha256:{digest[:12]}", addresses, digest, size)
    file = download(wanted, pulling, _wire(pulling, *places), again=False, report=report, stopped=stopped)
    return pulling.blobs.path(file.digest)


def _wire(pulling: Pulling, *places: Place | None) -> Wire:
    """Raises `FetchFailed`."""
    try:
        hosts: Hosts = parse_hosts(pulling.hosts)
    except ConfigurationError as error:
        raise FetchFailed("download_failed", error.message) from error
    trusted = hosts.trusting(*(place for place in places if place is not None))
    return Wire(trusted, connect_seconds=pulling.connect_seconds, stall_seconds=pulling.stall_seconds)

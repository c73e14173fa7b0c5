"""`look`: an image at an address that a caller names, for one request: fetched once, looked into, and kept for whoever
computes it.

The guards are those of a pull (wire.py), and there is less patience: somebody waits. What is said of a failure names
nothing that the caller has not named himself: neither what a name resolves to here, nor where a redirect leads.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tropilla.common.bitmaps import UnreadableImage, unpacked
from tropilla.common.errands import Done, Look, RefusalCode
from tropilla.common.errors import ConfigurationError, Overloaded
from tropilla.common.generation import Image
from tropilla.common.hosts import DEFAULT_PORTS, Hosts, parse_hosts
from tropilla.common.settings import Settings
from tropilla.workers.store.pulling import Asked, FetchFailed
from tropilla.workers.store.refusals import Refusal
from tropilla.workers.store.wire import Forbidden, Unreachable, Wire

log = logging.getLogger(__name__)

#: From the first question to the last byte.
SECONDS_IN_ALL = 15.0
CONNECT_SECONDS, STALL_SECONDS = 5.0, 10.0
#: One image is unpacked at a time: the largest that is allowed takes hundreds of megabytes meanwhile.
_UNPACKING = threading.Lock()


@dataclass(frozen=True)
class Looking:
    """Everything that decides how images are fetched. `on`: whether they are at all; `keep` is that of `Pictures`."""

    on: bool
    hosts: str
    most_bytes: int
    most_pixels: int
    keep: Callable[[Iterable[Image]], None]
    seconds: float = SECONDS_IN_ALL
    clock: Callable[[], float] = field(default=time.monotonic)

    @classmethod
    def of(cls, settings: Settings, keep: Callable[[Iterable[Image]], None]) -> Looking:
        return cls(
            on=settings.image_urls == "on",
            hosts=settings.pull_hosts,
            most_bytes=settings.max_image_bytes,
            most_pixels=settings.max_image_pixels,
            keep=keep,
        )

    def look(self, asked: Look, stopped: Asked) -> Done:
        """Done of the image's digest. Raises `Refusal` and `StoreUnavailable`."""
        if not self.on:
            raise _refused("forbidden", "images are not fetched from URLs here (TROPILLA_IMAGE_URLS)")
        hosts = self._hosts(asked.url)
        until = self.clock() + self.seconds

        def over() -> bool:
            return self.clock() > until or stopped()

        most = min(asked.most_bytes, self.most_bytes)
        wire = Wire(hosts, connect_seconds=CONNECT_SECONDS, stall_seconds=STALL_SECONDS)
        try:
            data = _fetched(asked.url, most, wire, over)
        except (FetchFailed, Unreachable) as error:
            log.info("look %s came to nothing: %s", asked.id, error.message)
            raise self._told(error, late=over()) from error
        digest = self._checked(data)
        try:
            self.keep((Image(digest, data),))
        except Overloaded as error:
            raise _refused("conflict", error.message) from error
        return Done(digest)

    def _hosts(self, url: str) -> Hosts:
        """What may be asked; of the address itself it is told exactly why it may not. Raises `Refusal`."""
        try:
            hosts, parts = parse_hosts(self.hosts), urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        except (ConfigurationError, ValueError) as error:
            raise _refused("invalid", "the URL of the image makes no sense") from error
        if not host or parts.username is not None:
            raise _refused("invalid", "the URL of the image must have a host, and no user")
        if refusal := hosts.refusal(parts.scheme.lower(), host, port):
            raise _refused("forbidden", refusal)
        return hosts

    def _told(self, error: FetchFailed | Unreachable, *, late: bool) -> Refusal:
        """In words that may be told."""
        if late:
            return _refused("failed", f"it is not there after {self.seconds:.0f} s")
        if isinstance(error, Forbidden):
            return _refused("forbidden", "its URL leads to where nothing is fetched from")
        if isinstance(error, Unreachable):
            return _refused("failed", "its server does not answer, or breaks off")
        why = "its server is not found, has no certificate that is trusted, or redirects without end"
        return _refused(error.refusal, why)

    def _checked(self, data: bytes) -> str:
        """Its digest. Raises `Refusal` for what is no image that can be read."""
        try:
            with _UNPACKING:
                unpacked(data, most_pixels=self.most_pixels)
        except UnreadableImage as error:
            raise _refused("invalid", f"what is at the URL of the image {error}") from error
        return hashlib.sha256(data).hexdigest()


def _fetched(url: str, most: int, wire: Wire, over: Asked) -> bytes:
    """Raises `Refusal` for an answer that is none, `FetchFailed` and `Unreachable`."""
    found = bytearray()
    with wire.ask(url, headers={"accept": "image/*"}, stopped=over) as answer:
        if answer.status != 200:
            raise _refused("unknown", f"its server answers with status {answer.status}")
        for chunk in answer.chunks():
            found += chunk
            if len(found) > most:
                raise _refused("invalid", f"the image at its URL has more than {most} bytes")
    if over():
        # A body without a length ends where it is broken off.
        raise Unreachable("it was broken off")
    return bytes(found)


def _refused(code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message, "url")

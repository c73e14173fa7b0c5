"""Where the images of requests lie while somebody may need them: in Redis, each once, by its digest, with an expiry.

A request names its images and does not carry them: a ticket stays small, several requests about one image keep it once, and
whichever worker goes on with a request finds them. They are renewed while their request waits or runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from tropilla.common import names
from tropilla.common.bus import Bus, redis_errors_translated
from tropilla.common.errors import Overloaded
from tropilla.common.generation import Image
from tropilla.common.settings import Settings

#: After which somebody whose image finds no room may ask again: others are forgotten every moment.
RETRY_SECONDS = 10
#: What keep_image.lua answers.
_ABSENT, _FULL, _SHARE = 0, -1, -2


class Pictures:
    """One process's way to them. Safe to share between threads; every method may raise `StoreUnavailable`."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._redis = bus.connection
        self._keep = bus.script("keep_image", grows=True)
        self._seconds, self._most = settings.image_seconds, settings.images_bytes_in_all

    @redis_errors_translated
    def keep(self, images: Iterable[Image], key: str = "") -> None:
        """From here on they can be read, for `image_seconds`; those that are there already are kept for as long again. All
        but those have their `data`. key: who brings them; "" is whoever names none. Raises `Overloaded` when they would
        take too much of Redis, or more than the key's share of that.
        """
        for image in {image.digest: image for image in images}.values():
            if self._ask(image.digest, b"") != _ABSENT or image.data is None:
                continue
            kept = self._ask(image.digest, image.data, key)
            if kept in (_FULL, _SHARE):
                whose = "your requests have their share of" if kept == _SHARE else "the requests that wait fill"
                message = f"the images of {whose} the {self._most >> 20} MB there are for them"
                raise Overloaded(message, retry_after_seconds=RETRY_SECONDS)

    @redis_errors_translated
    def renew(self, digests: Iterable[str]) -> None:
        """Keeps those that are there for `image_seconds` from now."""
        for digest in digests:
            self._ask(digest, b"")

    @redis_errors_translated
    def read(self, digest: str) -> bytes | None:
        """The image's file; None: it is not there any more."""
        return cast("bytes | None", self._redis.get(names.image_key(digest)))

    def _ask(self, digest: str, data: bytes, key: str = "") -> int:
        keys = [names.image_key(digest), names.IMAGES_KEY, names.IMAGE_SIZES_KEY]
        return int(self._keep(keys=keys, args=[digest, int(self._seconds * 1000), self._most, data, key]))

"""The images of one request on their way in: fetched, unpacked once to see that they are some, and laid where workers look.

All of it comes before the queue. A request that is refused has left nothing behind; one that goes on names its images by
digest, and carries none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from tropilla.api import images
from tropilla.api.natively import natively
from tropilla.api.surface import ErrandRefused
from tropilla.common.bitmaps import UnreadableImage, unpacked
from tropilla.common.catalogue import Catalogue
from tropilla.common.errors import Overloaded
from tropilla.common.generation import Image, Request, images_of, with_images
from tropilla.common.pictures import RETRY_SECONDS
from tropilla.common.settings import Settings

Asked = TypeVar("Asked", bound=Request)


class Album(Protocol):
    """What is needed of `pictures.Pictures`."""

    def keep(self, images: Iterable[Image], key: str = "") -> None: ...
    def renew(self, digests: Iterable[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Showing:
    """`look` has the store fetch what a URL names, and answers its digest; raises `ErrandRefused`, `StoreUnavailable`."""

    settings: Settings
    catalogue: Callable[[], Catalogue]
    album: Album
    look: Callable[[str], str]

    def shown(self, requests: tuple[Asked, ...], key: str = "") -> tuple[Asked, ...]:
        """The requests of a key as they may be admitted: all of them or none. Raises `InvalidField` naming an image's
        field, `Overloaded` where there is no room for it, `StoreUnavailable`.
        """
        for request in requests:
            if pictures := images_of(request):
                images.check(pictures, self.catalogue().find(request.model), self.settings)
        asked = [image for request in requests for image in images_of(request)]
        if not asked:
            return requests
        sound: set[str] = set()
        for image in asked:
            if image.data is not None and image.digest not in sound:
                self._check(image, image.data)
                sound.add(image.digest)
        # What the store has fetched it has looked into, and kept.
        found = {image: image if image.data is not None else self._fetched(image) for image in dict.fromkeys(asked)}
        self.album.keep(found.values(), key)
        return tuple(
            with_images(request, lambda image: Image(found[image].digest, param=image.param)) for request in requests
        )

    def _fetched(self, image: Image) -> Image:
        try:
            return replace(image, digest=self.look(image.url))
        except ErrandRefused as error:
            if error.code == "conflict":
                # There is no room for it, and that is nobody's fault.
                raise Overloaded(error.message, retry_after_seconds=RETRY_SECONDS) from error
            raise images.refused(image, f"the image could not be fetched: {error.message}.") from error

    def _check(self, image: Image, data: bytes) -> None:
        reason = natively(lambda: _unreadable(data, self.settings.max_image_pixels))
        if reason:
            raise images.refused(image, f"the image {reason}.")


def _unreadable(data: bytes, most_pixels: int) -> str:
    """Why it cannot be unpacked; "" is that it can."""
    try:
        unpacked(data, most_pixels=most_pixels)
    except UnreadableImage as error:
        return str(error)
    return ""

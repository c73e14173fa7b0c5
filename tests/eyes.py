"""Eyes without a projector: a picture is as many places as it is wide, between two tokens of text."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray
from PIL import Image as Pillow
from tropilla.common.bitmaps import Bitmap
from tropilla.common.generation import Image
from tropilla.common.metrics import Tally
from tropilla.common.settings import Settings
from tropilla.workers.gallery import Gallery
from tropilla.workers.views import Shape

#: What stands around a picture.
OPEN, CLOSE = ord("<"), ord(">")
#: Numbers in an embedding.
WIDTH = 4


@dataclass(frozen=True, slots=True)
class Measured:
    parts: tuple[tuple[int, ...] | Shape, ...]
    pixels: bytes


class FakeEyes:
    """together: a picture's places see each other. bare: nothing stands around them."""

    def __init__(self, *, together: bool = False, bare: bool = False) -> None:
        self._together, self._bare = together, bare
        self.measured: list[int] = []
        self.encoded: list[int] = []
        self.before_measuring: Callable[[], object] = lambda: None
        self.before_encoding: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def measure(self, bitmap: Bitmap) -> Measured:
        self.before_measuring()
        with self._lock:
            self.measured.append(bitmap.width)
        shape = Shape(bitmap.width, bitmap.width, self._together)
        parts = (shape,) if self._bare else ((OPEN,), shape, (CLOSE,))
        return Measured(parts, bitmap.pixels)

    def encode(self, measured: Measured, go_on: Callable[[], None] = lambda: None) -> list[NDArray[numpy.float32]]:
        go_on()
        self.before_encoding()
        shapes = [part for part in measured.parts if isinstance(part, Shape)]
        with self._lock:
            self.encoded += [shape.length for shape in shapes]
        return [numpy.full((shape.length, WIDTH), shape.length, numpy.float32) for shape in shapes]


@dataclass
class Files:
    """What Redis would keep."""

    files: dict[str, bytes] = field(default_factory=dict)

    def image(self, width: int = 3, colour: str = "red", *, param: str = "images.0") -> Image:
        """A picture of so many places, kept."""
        file = io.BytesIO()
        Pillow.new("RGB", (width, 1), colour).save(file, "PNG")
        return self.add(file.getvalue(), param=param)

    def add(self, data: bytes, *, param: str = "images.0") -> Image:
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return Image(digest, param=param)


def gallery(
    eyes: FakeEyes,
    files: Mapping[str, bytes],
    *,
    longest: int = 64,
    cache_bytes: int = 1 << 20,
    tally: Tally | None = None,
) -> Gallery:
    settings = Settings(image_cache_bytes=cache_bytes, max_image_pixels=64)
    return Gallery(eyes, files.get, settings, model="m", tally=tally or Tally(), longest=longest)

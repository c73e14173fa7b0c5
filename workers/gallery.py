"""The pictures that a pinned model was shown: each read, measured and encoded once, however many ask for it at a time.

In the threads of those who hold tickets: while a picture is encoded, streams go on. Pictures that were encoded are kept by
their digest, least recently used first to go; those that somebody still uses are found again meanwhile, kept or not. One
that was only measured is kept by nobody else: what mtmd has of it by then may be far larger than its embeddings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from weakref import WeakValueDictionary

from tropilla.common import bitmaps
from tropilla.common.bitmaps import Bitmap, UnreadableImage
from tropilla.common.errors import GenerationFailed, InvalidPrompt
from tropilla.common.generation import Image
from tropilla.common.metrics import SECONDS, Tally
from tropilla.common.settings import Settings
from tropilla.workers.views import Shape, View

log = logging.getLogger(__name__)

#: Digits of a digest in a log line: enough to tell pictures apart.
TOLD_DIGITS = 12
#: Gives an image's file by its digest, or None where it is not there any more. It may raise `StoreUnavailable`.
Read = Callable[[str], bytes | None]
#: Asked before what takes a while; raises what it likes where that is not wanted any more.
GoOn = Callable[[], None]


class Measured(Protocol):
    """As `llama.eyes.Measured`."""

    @property
    def parts(self) -> tuple[tuple[int, ...] | Shape, ...]: ...


class Eyes(Protocol):
    """What the gallery needs of `llama.eyes.Eyes`. Each method may be called from any thread."""

    def measure(self, bitmap: Bitmap) -> Any:
        """How many places a picture takes: a `Measured`."""

    def encode(self, measured: Any, go_on: GoOn = ...) -> list[Any]:
        """The embeddings of each of its views; before each, `go_on` is asked."""


class Picture:
    """One picture, as long as anybody knows it. `parts` are what it puts into a prompt: ids of text, and views."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.parts: tuple[tuple[int, ...] | View, ...] = ()
        #: By view; empty until it is encoded.
        self.rows: dict[View, Any] = {}
        #: Held while it is measured or encoded, by whoever came first.
        self.lock = threading.Lock()
        #: What encoding takes; None before it was measured, and once it was encoded.
        self.measured: Measured | None = None

    @property
    def views(self) -> list[View]:
        return [part for part in self.parts if isinstance(part, View)]

    @property
    def ids(self) -> list[int]:
        """All places it takes."""
        return [number for part in self.parts for number in (part.ids if isinstance(part, View) else part)]

    @property
    def held_bytes(self) -> int:
        """Of its embeddings."""
        return sum(rows.nbytes for rows in self.rows.values())


class Gallery:
    """Of one model. longest: places that one pass of it takes."""

    def __init__(self, eyes: Eyes, read: Read, settings: Settings, *, model: str, tally: Tally, longest: int) -> None:
        self._eyes, self._read, self._model, self._tally = eyes, read, model, tally
        self._longest, self._most_pixels = longest, settings.max_image_pixels
        self._cache_bytes = settings.image_cache_bytes
        #: Where pictures are unpacked, one after the other: the largest takes hundreds of megabytes meanwhile, of which
        #: malloc keeps a part for each thread that ever did.
        self._unpacker = ThreadPoolExecutor(1, thread_name_prefix="unpack")
        self._lock = threading.Lock()
        #: Guarded by the lock, as all below.
        self._known: WeakValueDictionary[str, Picture] = WeakValueDictionary()
        #: Least recently used first, with what each is counted for.
        self._kept: OrderedDict[Picture, int] = OrderedDict()
        self._bytes = 0
        #: Never given out twice: what a prefix remembers of a picture that is forgotten means nothing any more.
        self._next_id = -1

    @property
    def kept_bytes(self) -> int:
        return self._bytes

    def look(self, image: Image) -> Picture:
        """The picture with its measure, not encoded yet. Raises `InvalidPrompt` where it cannot be read, and
        `GenerationFailed` where its file is not there any more.
        """
        with self._lock:
            picture = self._known.setdefault(image.digest, Picture(image.digest))
        with picture.lock:
            if not picture.parts:
                measured = self._measured(image)
                picture.parts = self._numbered(measured.parts)
                picture.measured = measured
        return picture

    def encode(self, picture: Picture, go_on: GoOn = lambda: None) -> None:
        """From here on it has its `rows`. Raises `GenerationFailed`, and what `go_on` raises: then whoever asks next begins
        again.
        """
        with picture.lock:
            measured = picture.measured
            if measured is None:
                self._tally.count("images", self._model, label="cached")
                self._keep(picture)
                return
            began = time.monotonic()
            rows = self._eyes.encode(measured, go_on)
            picture.rows = dict(zip(picture.views, rows, strict=True))
            picture.measured = None
            seconds = time.monotonic() - began
        self._tally.count("images", self._model, label="encoded")
        self._tally.observe("image_encode", seconds, SECONDS, self._model)
        log.info("image %s: %d tokens, %.0f ms", picture.digest[:TOLD_DIGITS], len(picture.ids), seconds * 1000)
        self._keep(picture)

    def _measured(self, image: Image) -> Measured:
        file = self._read(image.digest)
        if file is None:
            message = "an image is not there any more: it waited for longer than images are kept"
            raise GenerationFailed(message, code="expired")
        self._tally.count("images_read", self._model)
        try:
            return self._unpacker.submit(self._unpacked, file).result()
        except UnreadableImage as error:
            raise InvalidPrompt(f"{image.param or 'an image'} {error}", code="invalid_prompt") from error

    def _unpacked(self, file: bytes) -> Measured:
        measured: Measured = self._eyes.measure(bitmaps.unpacked(file, most_pixels=self._most_pixels))
        return measured

    def _numbered(self, parts: tuple[tuple[int, ...] | Shape, ...]) -> tuple[tuple[int, ...] | View, ...]:
        for part in parts:
            if isinstance(part, Shape) and part.together and part.length > self._longest:
                facts = {"image_tokens": part.length, "most": self._longest}
                text = f"an image takes {part.length} tokens at once; a step of this worker has {self._longest}"
                raise InvalidPrompt(text, code="invalid_prompt", facts=facts)
        return tuple(self._view(part) if isinstance(part, Shape) else part for part in parts)

    def _view(self, shape: Shape) -> View:
        with self._lock:
            first, self._next_id = self._next_id, self._next_id - shape.length
        return View(first, shape)

    def _keep(self, picture: Picture) -> None:
        """It was used last."""
        size = picture.held_bytes
        if size > self._cache_bytes:
            # All others would go for it, and then it would, too.
            return
        with self._lock:
            self._bytes += size - self._kept.pop(picture, 0)
            self._kept[picture] = size
            while self._bytes > self._cache_bytes:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone

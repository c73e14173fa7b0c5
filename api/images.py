"""Images as callers write them, whatever the dialect: base64, `data:` and http(s) URLs, markdown -> `Image`s.

The file of an image stands in the body; once its request is admitted it lies in Redis, and what is kept of the body names
it there (`referred`): a `NAMED` and its digest. Nobody outside can write that, as bodies lose every `NAMED` and `PICTURE`
on their way in (`bare`).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from tropilla.api.reading import Wrong
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, MalformedBody, UnsupportedField
from tropilla.common.generation import PICTURE, Image, Message
from tropilla.common.settings import Settings

#: Of a `data:` URL. What the file truly is, is seen when it is unpacked.
MEDIA_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
#: How far into a `data:` URL its comma stands at the most, and how long any other URL is, in characters.
MOST_HEAD, MOST_URL = 256, 4096
#: In front of a digest in a kept body; another Unicode noncharacter.
NAMED = "\ufdd5"
NAME_BYTES = len(NAMED.encode()) + 64
#: What is no caller's to write, and how it looks in a JSON text: in UTF-8, or escaped.
_OURS = str.maketrans("", "", PICTURE + NAMED)
_RAW, _ESCAPED = (PICTURE.encode(), NAMED.encode()), re.compile(rb"\\u[fF][dD][dD][25]")
_LETTERS = re.compile(rb"[A-Za-z0-9+/\r\n]*")
_BREAKS = b"\r\n"

#: Roles of messages that no model sees images in, here as with OpenAI and Anthropic.
BLIND = frozenset({"system", "developer", "assistant"})

#: A text, or an image in its place.
Piece = str | Image


class BrokenBase64(Wrong):
    """`at`: the byte at which Go's decoder gives up."""

    def __init__(self, at: int) -> None:
        super().__init__(f"the image is no base64: illegal data at byte {at}.")
        self.at = at


def bare(value: Any, text: bytes) -> Any:
    """A body's JSON value without what only this house writes; `text` is what it was read from."""
    if not any(each in text for each in _RAW) and not (b"\\u" in text and _ESCAPED.search(text)):
        return value
    return _mapped(value, lambda each: each.translate(_OURS))


def referred(body: Any, images: Iterable[Image]) -> Any:
    """The body with each image named in its place. One that is to be fetched is named as it is."""
    names = {image.text: NAMED + image.digest for image in images if image.text}
    if not names:
        return body

    def named(text: str) -> str:
        if text in names:
            return names[text]
        for shown, name in names.items():
            if len(text) > len(shown):
                text = text.replace(f"]({shown})", f"]({name})")
        return text

    return _mapped(body, named)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """With each of its texts changed. Raises `MalformedBody`."""
    try:
        return _changed(value, change)
    except RecursionError as error:
        raise MalformedBody("The JSON is nested too deeply.") from error


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    # At the top of the file: a function within another that calls itself is garbage that only a collection finds.
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if isinstance(value, dict):
        return {change(key): _changed(each, change) for key, each in value.items()}
    return value


def of_base64(text: str, param: str) -> Image:
    """Raises `Wrong`, `BrokenBase64`."""
    return _named(text, param) or _unpacked(text, text, param)


def of_url(text: str, param: str) -> Image:
    """What a `data:` URL holds, or what stands behind another one. Raises `Wrong`."""
    if (named := _named(text, param)) is not None:
        return named
    scheme = text[:8].lower()
    if scheme.startswith("data:"):
        return _unpacked(_inside(text), text, param)
    if not scheme.startswith(("http://", "https://")):
        raise Wrong("expected a data: URL, or an http: or https: one.")
    if len(text) > MOST_URL:
        raise Wrong(f"the URL has more than {MOST_URL} characters.")
    return Image(url=text, param=param)


def _named(text: str, param: str) -> Image | None:
    return Image(text.removeprefix(NAMED), param=param) if text.startswith(NAMED) else None


def _inside(url: str) -> str:
    """The base64 of a `data:` URL (RFC 2397)."""
    head, comma, data = url[:MOST_HEAD].partition(",")
    if not comma:
        raise Wrong("the data: URL has no comma.")
    kind, *more = (each.strip() for each in head[len("data:") :].lower().split(";"))
    if kind not in MEDIA_TYPES:
        raise Wrong(f"data: URLs of type '{kind}' are not read. Expected one of {', '.join(MEDIA_TYPES)}.")
    if not more or more[-1] != "base64":
        raise Wrong("a data: URL of an image must be base64.")
    data = url[len(head) + 1 :]
    return unquote(data) if "%" in data else data


def _unpacked(packed: str, text: str, param: str) -> Image:
    data = decoded(packed)
    if not data:
        raise Wrong("the image is empty.")
    return Image(hashlib.sha256(data).hexdigest(), data, param=param, text=text)


def decoded(text: str) -> bytes:
    """Base64 in the standard alphabet, padded, as Go reads it: line breaks do not count. Raises `BrokenBase64`."""
    if len(text) % 4 == 0 and not text.endswith("==="):
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            pass
    # Python is more patient with padding.
    data = text.encode()
    if (at := _illegal(data)) is not None:
        raise BrokenBase64(at)
    return binascii.a2b_base64(data.translate(None, _BREAKS), strict_mode=True)


def _illegal(data: bytes) -> int | None:
    """Where Go's decoder stops; None: it does not."""
    at = letters.end() if (letters := _LETTERS.match(data)) else 0
    over = (at - data.count(b"\r", 0, at) - data.count(b"\n", 0, at)) % 4
    if at == len(data):
        return at - over if over else None
    if data[at : at + 1] != b"=" or over < 2:
        return at
    end = at + 1
    if over == 2:
        end = _past_breaks(data, end)
        if end == len(data) or data[end : end + 1] != b"=":
            return end if end == len(data) else end - 1
        end += 1
    end = _past_breaks(data, end)
    return end if end < len(data) else None


def _past_breaks(data: bytes, at: int) -> int:
    while data[at : at + 1] in (b"\r", b"\n"):
        at += 1
    return at


def joined(pieces: Iterable[Piece], joint: str) -> tuple[str, tuple[Image, ...]]:
    """One text of several: the joint stands between texts alone, a `PICTURE` where an image was."""
    text, images = "", []
    shown = True
    for piece in pieces:
        if isinstance(piece, Image):
            images.append(piece)
            text += PICTURE
        else:
            text += piece if shown else joint + piece
        shown = isinstance(piece, Image)
    return text, tuple(images)


def apart(text: str, images: Iterator[Image]) -> Iterator[Piece]:
    """A text and its images, taken apart again."""
    head, *rest = text.split(PICTURE)
    yield head
    for more in rest:
        yield next(images)
        yield more


def in_markdown(text: str, *, links: bool) -> Iterator[Piece]:
    """The text, cut where it has a `![](...)` of a `data:` URL; links: or of anything else. Raises `Wrong`."""
    begin = at = 0
    while (at := text.find("![", at)) >= 0:
        if (close := text.find("]", at)) < 0:
            break
        if text[close + 1 : close + 2] != "(":
            at = close + 1
            continue
        if (end := text.find(")", close)) < 0:
            break
        target = text[close + 2 : end]
        if links or target[:5].lower() == "data:" or target.startswith(NAMED):
            yield text[begin:at]
            yield of_url(target, "")
            begin = end + 1
        at = end + 1
    yield text[begin:]


def placed(message: Message, before: str) -> Message:
    """Its images' fields stand in another one."""
    if not message.images:
        return message
    return replace(message, images=tuple(replace(each, param=before + each.param) for each in message.images))


def check(images: tuple[Image, ...], model: Model | None, settings: Settings) -> None:
    """What can be said of them before any is unpacked. Raises `InvalidField` naming the first at fault."""
    first = images[0]
    if model is not None and "vision" not in model.capabilities:
        text = f"Invalid '{first.param}': images are not supported: the model '{model.name}' reads text only."
        raise UnsupportedField(text, param=first.param)
    if len(images) > settings.max_images:
        text = f"the request has {len(images)} images; at most {settings.max_images} are taken."
        raise refused(images[settings.max_images], text)
    for image in images:
        if image.data is not None and len(image.data) > settings.max_image_bytes:
            text = f"the image has {len(image.data)} bytes; at most {settings.max_image_bytes} are taken."
            raise refused(image, text)
        if image.url and settings.image_urls == "off":
            text = (
                "images are not fetched from URLs here: send it as a data: URL, or have the operator set "
                "TROPILLA_IMAGE_URLS=on."
            )
            raise refused(image, text)


def refused(image: Image, reason: str) -> InvalidField:
    """In words that do for every dialect: each has its own status and shape for them."""
    return InvalidField(f"Invalid '{image.param}': {reason}", param=image.param)

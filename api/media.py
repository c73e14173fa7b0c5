"""What a request says about its body: of which type it is, and how its bytes are packed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from tropilla.common.errors import BodyTooLarge, MalformedBody, UnreadableBody

#: Content encoding -> zlib's number for its format.
_PACKED: Mapping[str, int] = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
#: What `curl -d` says of any body.
_CURLS = "application/x-www-form-urlencoded"
_PLAIN = frozenset({"", "identity"})
#: How a text begins that may be an image: a `data:` URL, or base64. No image is shorter.
_LIKE_IMAGE, _HEAD, _LEAST_IMAGE = re.compile(r"data:|[A-Za-z0-9+/=\r\n]+$", re.IGNORECASE), 256, 64


def is_json(content_type: str) -> bool:
    """`application/json`, whatever its charset, and types that are JSON by their suffix."""
    media_type = content_type.split(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def readable(content_type: str) -> bool:
    """JSON, and what clients call it who say nothing of it: no type at all, or the form that `curl -d` says it sends."""
    return content_type.split(";")[0].strip().lower() in ("", _CURLS) or is_json(content_type)


def packed(encoding: str) -> bool:
    """Whether a body may be larger than what comes."""
    return encoding.strip().lower() not in _PLAIN


def unpacked(data: bytes, encoding: str, most: int) -> bytes:
    """The body itself. Raises `UnreadableBody`, `MalformedBody`, or `BodyTooLarge` when it is larger than `most` bytes:
    a kilobyte may say a megabyte, so unpacking stops there.
    """
    if not packed(encoding):
        return data
    coding = encoding.strip().lower()
    if coding not in _PACKED:
        known = ", ".join(_PACKED)
        raise UnreadableBody(f"Content-Encoding '{encoding}' is not supported. Expected one of {known}, or none.")
    unpacker = zlib.decompressobj(_PACKED[coding])
    try:
        body = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise MalformedBody(f"The request body is not {coding} data: {error}.") from error
    if len(body) > most:
        raise too_large(most)
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedBody(f"The request body is not {coding} data: it has no proper end.")
    return body


def could_show(value: Any) -> int:
    """How many characters of a body's JSON value are images, if all that look like one are."""
    total, left = 0, [value]
    while left:
        match left.pop():
            case str(text):
                if len(text) >= _LEAST_IMAGE and (_LIKE_IMAGE.match(text, 0, _HEAD) or "](data:" in text):
                    total += len(text)
            case list(values):
                left += values
            case dict(fields):
                left += fields.values()
    return total


def too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {most} bytes")

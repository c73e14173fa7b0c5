"""A block that is an image, and where its file is: in the block itself, or behind a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema
from tropilla.api.about import TEXT, Nested, Shape, either, one_of, record
from tropilla.api.fields import Strict, wrong_type
from tropilla.api.images import MEDIA_TYPES, of_base64, of_url
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.openai.wrong import absent, at
from tropilla.common.generation import Image


class Source(Strict[Image]):
    """Its file is read by its content: which of the types it claims to be makes no difference."""

    expected = "an object"

    def described(self, _: Nested, /) -> Shape:
        inline = record("", {"type": one_of("base64"), "media_type": one_of(*MEDIA_TYPES), "data": TEXT})
        return either(inline, record("", {"type": one_of("url"), "url": TEXT}))

    def read(self, value: Any) -> Image:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        match value.get("type"):
            case "base64":
                if value.get("media_type") not in MEDIA_TYPES:
                    raise at(Wrong(f"expected one of {', '.join(MEDIA_TYPES)}."), "media_type")
                return self._read(of_base64, value, "data")
            case "url":
                return self._read(of_url, value, "url")
            case "file":
                raise at(Wrong("images in files are not served: send them as base64.", "unsupported"), "type")
            case kind:
                raise at(absent() if kind is None else Wrong("expected 'base64' or 'url'."), "type")

    def _read(self, read: Callable[[str, str], Image], value: Mapping[str, Any], key: str) -> Image:
        text = value.get(key)
        if not isinstance(text, str):
            raise at(absent() if text is None else wrong_type("a string", text), key)
        try:
            return read(text, f".source.{key}")
        except Wrong as error:
            raise at(error, key) from error


class ImageBlock(Schema):
    source = Source(required=True)

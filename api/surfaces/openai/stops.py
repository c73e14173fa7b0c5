"""`stop`: where an answer ends."""

from __future__ import annotations

from typing import Any

from tropilla.api.about import TEXT, Nested, Shape, either, several
from tropilla.api.fields import Array, Strict, Text, wrong_type


class Stops(Strict[tuple[str, ...]]):
    """A string or a list of strings. Empty ones mean nothing, but count towards the limit."""

    expected = "a string or an array of strings"

    def __init__(self, most: int, **more: Any) -> None:
        super().__init__(**more)
        self._list = Array(Text(), most=most)

    def read(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, str | list):
            raise wrong_type(self.expected, value)
        stops = [value] if isinstance(value, str) else self._list.deserialize(value)
        return tuple(stop for stop in stops or () if stop)

    def described(self, _: Nested, /) -> Shape:
        return either(TEXT, several(TEXT, most=self._list.most))

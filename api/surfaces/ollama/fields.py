"""Marshmallow fields that are as strict as the Go structs Ollama decodes into, and complain in the same words.

The words are `json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool` (sheet, section 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields
from tropilla.api.about import ANYTHING, FLAG, INTEGER, OBJECT, TEXT, Described, Nested, Shape, several
from tropilla.api.framing import compact
from tropilla.api.images import BrokenBase64, of_base64
from tropilla.api.reading import Wrong
from tropilla.common.generation import Image

_T = TypeVar("_T")

#: Of Go's int. A number with an exponent may be a whole one, and much larger.
BEYOND = 2**63
#: How Go names a JSON value. bool stands before int, which it is to Python.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (str, "string"),
    (int, "number"),
    (float, "number"),
    (list, "array"),
    (dict, "object"),
)


def kind_of(value: Any) -> str:
    return next((kind for known, kind in _KINDS if isinstance(value, known)), "null")


def folded(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keys match whatever their case, as Go's do, and null is absent. Of two spellings of one key the later counts."""
    return {key.lower(): value for key, value in body.items() if value is not None}


class Struct(Schema):
    """A schema that knows what Go calls it. It expects `folded` keys."""

    go_name = ""


class Reader(Described, fields.Field[_T]):
    """A field that needs nothing but its value."""

    def read(self, value: Any) -> _T:
        """The value, checked. Raises `Wrong`."""
        raise NotImplementedError

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> _T:
        return self.read(value)


class Field(Reader[_T]):
    """One field of a `Struct`. `go_type` is what it wants, in Go's words."""

    go_type = ""

    def wrong_type(self, given: str) -> Wrong:
        struct = self.parent.go_name if isinstance(self.parent, Struct) else ""
        where = f"{struct}.{self.data_key or self.name}"
        return Wrong(f"json: cannot unmarshal {given} into Go struct field {where} of type {self.go_type}", "type")


class Boolean(Field[bool]):
    go_type = "bool"
    shape = FLAG

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.wrong_type(kind_of(value))
        return value


class Text(Field[str]):
    go_type = "string"
    shape = TEXT

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self.wrong_type(kind_of(value))
        return value


class Integer(Field[int]):
    """An integer, or a number without a fraction."""

    go_type = "int"
    shape = INTEGER

    def read(self, value: Any) -> int:
        return _integer(self, value)


class Integers(Field[tuple[int, ...]]):
    go_type = "int"
    shape = several(INTEGER)

    def read(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise self.wrong_type(kind_of(value))
        return tuple(_integer(self, item) for item in value)


class Object(Field[dict[str, Any]]):
    """A JSON object: as it stands, or loaded by a struct of its own."""

    go_type = "map[string]interface {}"

    def __init__(self, struct: Struct | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.struct = struct

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong_type(kind_of(value))
        return value if self.struct is None else _loaded(self.struct, value)

    def described(self, nested: Nested, /) -> Shape:
        return OBJECT if self.struct is None else nested(self.struct)


class Objects(Field[list[dict[str, Any]]]):
    """A list of objects, each loaded by a struct, or as they stand. An error names the item's place."""

    go_type = "[]interface {}"

    def __init__(self, struct: Struct | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.struct = struct

    def read(self, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise self.wrong_type(kind_of(value))
        return [self._item(place, item) for place, item in enumerate(value)]

    def described(self, nested: Nested, /) -> Shape:
        return several(OBJECT if self.struct is None else nested(self.struct))

    def _item(self, place: int, item: Any) -> dict[str, Any]:
        try:
            if not isinstance(item, dict):
                raise self.wrong_type(kind_of(item))
            return item if self.struct is None else _loaded(self.struct, item)
        except ValidationError as error:
            # Go, too, stops at the first; a long history of wrong messages makes no long error.
            raise ValidationError({place: error.messages}) from error


class Images(Field[tuple[Image, ...]]):
    """Base64 in the standard alphabet, no `data:` URLs."""

    go_type = "api.ImageData"
    shape = several({**TEXT, "contentEncoding": "base64"})

    def read(self, value: Any) -> tuple[Image, ...]:
        if not isinstance(value, list):
            raise self.wrong_type(kind_of(value))
        return tuple(self._image(place, image) for place, image in enumerate(value))

    def _image(self, place: int, value: Any) -> Image:
        if not isinstance(value, str):
            raise self.wrong_type(kind_of(value))
        try:
            return of_base64(value, f"images[{place}]")
        except BrokenBase64 as error:
            raise Wrong(f"illegal base64 data at input byte {error.at}") from error


class Anything(Field[Any]):
    """A JSON value as it stands: somebody else looks at it."""

    shape = ANYTHING

    def read(self, value: Any) -> Any:
        _written(value)
        return value


class ObjectText(Field[str]):
    """A JSON object, as its text."""

    go_type = "map[string]interface {}"
    shape = OBJECT

    def read(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise self.wrong_type(kind_of(value))
        return _written(value)


def _written(value: Any) -> str:
    """A JSON value as text. orjson reads deeper nestings than it writes; Go, too, has a bound."""
    try:
        return compact(value).decode()
    except orjson.JSONEncodeError as error:
        raise Wrong("exceeded max depth") from error


def _integer(field: Field[Any], value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise field.wrong_type(kind_of(value))
    if value != int(value) or abs(value) >= BEYOND:
        raise field.wrong_type(f"number {value}")
    return int(value)


def _loaded(struct: Struct, value: Mapping[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = struct.load(folded(value), unknown=EXCLUDE)
    return loaded

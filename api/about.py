"""What a route says of itself for the document (`api/docs`): its summary, what it takes, what it answers.

What it takes is the schema that checks the body. What it answers is a shape: a JSON schema, written with the few words
below. A shape with a title is told once, under that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from marshmallow import Schema, fields
from tropilla.common.settings import Settings

Shape = Mapping[str, Any]
#: How a field tells what it takes: it gets what turns a schema inside it into a shape.
Nested = Callable[[Schema], Shape]

ANYTHING: Shape = {}
TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
NUMBER: Shape = {"type": "number"}
INTEGER: Shape = {"type": "integer"}
COUNT: Shape = {"type": "integer", "minimum": 0}
LOGPROB: Shape = {"type": "number", "maximum": 0}
OBJECT: Shape = {"type": "object"}
NULL: Shape = {"type": "null"}

JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"
TEXT_TYPE = "text/plain"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class About:
    """`summary` alone is enough for a page; a route that is posted to also names what it `takes`.

    `takes`: the schema that checks the body, or what makes it of the settings; or the abouts of other routes, any of whose
    bodies will do. `needs` is what a schema cannot say, as JSON schema: which of two fields must be there. A schema inside
    another one may have a `needs` of its own. `around` says how the body holds what it takes deeper inside.
    `gives` is the body of a 200, `media` its type; `streams` one item of a streamed answer (a
    `const` for text that goes out as it stands). `also` are bodies by status, beside those of the dialect's faults, and
    `error` a fault's where it is not always the dialect's. `example` is a body to try,
    `query` what may stand behind the `?`.
    """

    summary: str = ""
    takes: Schema | Callable[[Settings], Schema] | tuple[About, ...] | None = None
    needs: Shape = field(default_factory=dict)
    around: Callable[[Shape, Settings], Shape] | None = None
    gives: Shape | None = None
    media: str = JSON_TYPE
    streams: Shape | None = None
    also: Mapping[int, Shape] = field(default_factory=dict)
    error: Shape | None = None
    example: Any = None
    query: Mapping[str, Shape] = field(default_factory=dict)


#: Of a route that nobody has described yet: a test of the house finds it.
UNTOLD = About()


class Described:
    """A marshmallow field that says what it takes; null and defaults are not its business."""

    #: Where that depends on nothing; else `described` is overridden.
    shape: ClassVar[Shape | None] = None

    def described(self, _: Nested, /) -> Shape:
        if self.shape is None:
            raise TypeError(f"{type(self).__qualname__} does not say what it takes: `shape` is missing")
        return self.shape


def shape_of(field: fields.Field[Any], nested: Nested) -> Shape:
    """What the field takes. Raises `TypeError` for one that does not say."""
    if not isinstance(field, Described):
        raise TypeError(f"{type(field).__qualname__} is not `Described`")
    return field.described(nested)


def record(title: str, always: Mapping[str, Shape], sometimes: Mapping[str, Shape] | None = None) -> Shape:
    """An object. Keys it does not name are no error: a dialect may say more."""
    named = {"title": title} if title else {}
    return {**named, "type": "object", "properties": {**always, **(sometimes or {})}, "required": list(always)}


def tagged(kind: str, shape: Shape) -> Shape:
    """The shape, of an object whose `type` says what it is."""
    return {"allOf": [record("", {"type": one_of(kind)}), shape]}


def there(name: str, shape: Shape | None = None) -> Shape:
    """An object in which a field says something, or just this."""
    return {"required": [name], "properties": {name: shape or {"not": NULL}}}


def several(item: Shape, *, least: int = 0, most: int | None = None) -> Shape:
    bounds = {"minItems": least or None, "maxItems": most}
    return {"type": "array", "items": item, **{key: bound for key, bound in bounds.items() if bound is not None}}


def one_of(*values: str) -> Shape:
    return {"type": "string", "enum": list(values)}


def either(*shapes: Shape) -> Shape:
    """Any of the shapes; what is itself one of several is as good as these."""
    each = [inner for shape in shapes for inner in (shape["anyOf"] if set(shape) == {"anyOf"} else [shape])]
    return {"anyOf": [shape for place, shape in enumerate(each) if shape not in each[:place]]}


def or_null(shape: Shape) -> Shape:
    """The shape, or null; what takes anything takes null, too."""
    if not shape:
        return shape
    if isinstance(shape.get("type"), str) and "title" not in shape:
        values = {"enum": [*shape["enum"], None]} if "enum" in shape else {}
        return {**shape, "type": [shape["type"], "null"], **values}
    if set(shape) == {"anyOf"}:
        return either(*shape["anyOf"], NULL)
    return either(shape, NULL)

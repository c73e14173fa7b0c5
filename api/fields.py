"""Strict marshmallow fields: JSON's own types and nothing that merely looks like them.

A bool is not a number, nor is "1"; 10.0 is an integer and 1 a number, since real clients write them so. An error says what
is wrong but not where: the path comes from `reading.load`, and a dialect that wants it in its sentence puts it there.
"""

from __future__ import annotations

from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, fields
from tropilla.api.about import FLAG, TEXT, Described, Nested, Shape, one_of, several, shape_of
from tropilla.api.reading import Wrong, without_nulls

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)

#: How an error names a JSON value. bool stands before int, which it is to Python.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a decimal"),
    (list, "an array"),
    (dict, "an object"),
)
#: Seeds are unsigned.
LARGEST = 2**64 - 1
_MISSING = Wrong("Required, but absent.", "missing").messages


def kind_of(value: Any) -> str:
    """A JSON value's type with its article, for an error."""
    return next((kind for known, kind in _KINDS if isinstance(value, known)), "null")


def wrong_type(expected: str, value: Any) -> Wrong:
    return Wrong(f"expected {expected}, but got {kind_of(value)} instead.", "type")


def too_long(most: int, given: int) -> Wrong:
    return Wrong(
        f"array too long. Expected an array with maximum length {most}, but got an array with length {given} instead.",
        "too_long",
    )


def empty() -> Wrong:
    return Wrong("empty array. Expected an array with minimum length 1, but got an empty array instead.", "empty")


class Strict(Described, fields.Field[_T]):
    """A field whose absence is reported as such, and null as a wrong type (`without_nulls` has taken what may be null)."""

    expected = "a value"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.error_messages["required"] = _MISSING
        self.error_messages["null"] = wrong_type(self.expected, None).messages

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> _T:
        return self.read(value)

    def read(self, value: Any) -> _T:
        """The checked value of a JSON value that is there. Raises `Wrong`, or a `ValidationError` around several."""
        raise NotImplementedError


class _Bounded(Strict[_Number]):
    """Checks low <= value <= high, or with `clamp` moves the value there."""

    noun = json_type = ""

    def __init__(
        self, low: float | None = None, high: float | None = None, *, clamp: bool = False, **more: Any
    ) -> None:
        super().__init__(**more)
        self.low, self.high, self.clamp = low, high, clamp

    def described(self, _: Nested, /) -> Shape:
        """Anything is taken by what is clamped: its bounds are told in words only."""
        bounds = {"minimum": self.low, "maximum": self.high}
        given = {key: bound for key, bound in bounds.items() if bound is not None}
        if not self.clamp:
            return {"type": self.json_type, **given}
        words = " and ".join(f"a {key} of {bound}" for key, bound in given.items())
        return {"type": self.json_type, "description": f"brought to {words}"}

    def _within(self, value: float) -> float:
        if self.high is not None and value > self.high:
            if self.clamp:
                return self.high
            raise Wrong(
                f"{self.noun} above maximum value. Expected a value <= {self.high}, but got {value} instead.", "above"
            )
        if self.low is not None and value < self.low:
            if self.clamp:
                return self.low
            raise Wrong(
                f"{self.noun} below minimum value. Expected a value >= {self.low}, but got {value} instead.", "below"
            )
        return value


class Integer(_Bounded[int]):
    """An integer, or a number without a fraction."""

    expected, noun, json_type = "an integer", "integer", "integer"

    def read(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise wrong_type(self.expected, value)
        number = int(self._within(int(value)))
        # 1e300 is whole, too, and goes into no message of ours.
        if abs(number) > LARGEST:
            raise Wrong(f"integer out of range. Expected 64 bits, but got {value} instead.", "value")
        return number


class Number(_Bounded[float]):
    """A number. orjson has refused NaN and infinities before."""

    expected, noun, json_type = "a decimal", "decimal", "number"

    def read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(self.expected, value)
        return float(self._within(value))


class Boolean(Strict[bool]):
    expected = "a boolean"
    shape = FLAG

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise wrong_type(self.expected, value)
        return value


class Text(Strict[str]):
    """A string; with `among`, one of these."""

    expected = "a string"

    def __init__(self, among: tuple[str, ...] = (), **more: Any) -> None:
        super().__init__(**more)
        self.among = among

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise wrong_type(self.expected, value)
        if self.among and value not in self.among:
            wanted = ", ".join(f"'{name}'" for name in self.among)
            raise Wrong(f"unknown value '{value}'. Expected one of {wanted}.", "value")
        return value

    def described(self, _: Nested, /) -> Shape:
        return one_of(*self.among) if self.among else TEXT


class Array(Described, fields.List[_T]):
    """A list of one kind of field. An error inside names the item."""

    expected = "an array"

    def __init__(
        self, inner: fields.Field[_T], *, may_be_empty: bool = True, most: int | None = None, **more: Any
    ) -> None:
        super().__init__(inner, **more)
        self.may_be_empty, self.most = may_be_empty, most
        self.error_messages["required"] = _MISSING
        self.error_messages["null"] = wrong_type(self.expected, None).messages

    def _deserialize(self, value: Any, *path: Any, **more: Any) -> list[_T | None]:
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        if not value and not self.may_be_empty:
            raise empty()
        if self.most is not None and len(value) > self.most:
            raise too_long(self.most, len(value))
        return super()._deserialize(value, *path, **more)

    def described(self, nested: Nested, /) -> Shape:
        return several(shape_of(self.inner, nested), least=0 if self.may_be_empty else 1, most=self.most)


class Object(Strict[Any]):
    """A JSON object, checked and made into something by a schema of its own. Its nulls are absent, unknown keys dropped."""

    expected = "an object"

    def __init__(self, schema: Schema, **more: Any) -> None:
        super().__init__(**more)
        self.schema = schema

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        return self.schema.load(without_nulls(value), unknown=EXCLUDE)

    def described(self, nested: Nested, /) -> Shape:
        return nested(self.schema)

"""Fields that may come as strings: Jan's settings say "2048", "true" and "0.7", cortex' say 2048, true and 0.7."""

from __future__ import annotations

from typing import Any

from tropilla.api.about import TEXT, Nested, Shape, either, one_of
from tropilla.api.fields import Boolean, Integer, Number

_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class LooseInteger(Integer):
    def read(self, value: Any) -> int:
        return super().read(_number(value))

    def described(self, nested: Nested, /) -> Shape:
        return either(super().described(nested), {**TEXT, "pattern": r"^-?[0-9]{1,9}$"})


class LooseNumber(Number):
    def read(self, value: Any) -> float:
        return super().read(_number(value))

    def described(self, nested: Nested, /) -> Shape:
        return either(super().described(nested), {**TEXT, "pattern": r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"})


class LooseBoolean(Boolean):
    def read(self, value: Any) -> bool:
        return super().read(_TRUTHS.get(value.strip().lower(), value) if isinstance(value, str) else value)

    def described(self, nested: Nested, /) -> Shape:
        return either(super().described(nested), one_of(*_TRUTHS))


def _number(value: Any) -> Any:
    """The number that a string spells; anything else as it is. NaN and infinities are no numbers here either."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return value if number != number or abs(number) == float("inf") else number

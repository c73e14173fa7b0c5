"""Frozen dataclasses <- JSON values, by their annotations: for what is said seldom and has many shapes.

orjson writes dataclasses by itself. Fields that the reader does not know are left out and missing ones take their defaults,
so that neighbouring releases understand each other.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def record(kind: type[T], value: Any) -> T:
    """The value as an instance of a dataclass. Raises `ValueError` or `TypeError` for what is none."""
    if not isinstance(value, dict):
        raise TypeError(f"a {kind.__name__} is an object, not {value!r}")
    known = {name: _read(hint, value[name]) for name, hint in _hints(cast(Any, kind)).items() if name in value}
    return kind(**known)


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(cast(Any, kind)) if field.init}


def _read(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value)
    if origin is tuple:
        _check(value, list)
        inner = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_read(each, item) for each, item in zip(inner, value, strict=True))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{value!r} is none of {arguments}")
        return value
    if origin is not None and issubclass(origin, Mapping):
        _check(value, dict)
        return {key: _read(arguments[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return record(cast(type, hint), value)
    if hint is float and type(value) is int:
        return float(value)
    if hint is not Any:
        _check(value, hint)
    return value


def _check(value: Any, kind: type) -> None:
    """JSON's values are of exactly one type each: true is no number."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    """JSON tells objects, arrays and scalars apart, and that is enough for every union of ours."""
    for kind in kinds:
        shape = get_origin(kind) or kind
        if dataclasses.is_dataclass(shape):
            fits = isinstance(value, dict) and (len(kinds) < 3 or set(value) <= set(_hints(cast(type, shape))))
        elif shape is tuple:
            fits = isinstance(value, list)
        elif issubclass(shape, Mapping):
            fits = isinstance(value, dict)
        else:
            fits = type(value) is shape
        if fits:
            return _read(kind, value)
    raise TypeError(f"{value!r} is none of {kinds}")

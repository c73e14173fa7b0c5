"""`logit_bias` in all its spellings -> pairs of a token id or a text, and what is added to its logit.

{"15": -100, "foo": 2}   ids as strings (OpenAI), texts (llama.cpp)
[[15, -100], ["foo", 2]] pairs (llama.cpp): here a string is always a text
[0, 0, 1.5]              one number for each token id from 0 on (TGI's schema)

`false` in a bias's place never lets the token come (llama.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from marshmallow import ValidationError
from tropilla.api.about import TEXT, Nested, Shape, either, several
from tropilla.api.fields import Integer, Number, Strict, wrong_type
from tropilla.api.surfaces.openai.wrong import at
from tropilla.common.generation import BAN

Pair = tuple[int | str, float]

#: Documented by OpenAI.
_WEIGHT = Number(-100, 100)
#: Of any vocabulary.
_ID = Integer(-(2**31), 2**31 - 1)
_LOOKS_LIKE_AN_ID = re.compile(r"-?[0-9]+")


class Bias(Strict[tuple[Pair, ...]]):
    """Ids are checked against the vocabulary later, by `check_ids`."""

    expected = "an object or an array"

    def read(self, value: Any) -> tuple[Pair, ...]:
        if isinstance(value, dict):
            return tuple(_named(value))
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        if value and not isinstance(value[0], list):
            return tuple(_dense(value))
        return tuple(_pairs(value))

    def described(self, nested: Nested, /) -> Shape:
        weight = either(_WEIGHT.described(nested), {"const": False})
        pair = {
            "type": "array",
            "prefixItems": [either(_ID.described(nested), TEXT), weight],
            "minItems": 2,
            "maxItems": 2,
        }
        named = {"type": "object", "additionalProperties": weight}
        return either(named, several(weight), several(pair))


def _named(biases: dict[str, Any]) -> Iterator[Pair]:
    for key, weight in biases.items():
        told = _weight(weight, key)
        if _LOOKS_LIKE_AN_ID.fullmatch(key):
            yield int(key), told
        elif key:
            yield key, told


def _dense(weights: list[Any]) -> Iterator[Pair]:
    for token, weight in enumerate(weights):
        told = _weight(weight, token)
        if told:
            yield token, told


def _pairs(pairs: list[Any]) -> Iterator[Pair]:
    for place, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise at(wrong_type("an array of a token and its bias", pair), place)
        token, weight = pair
        told = _weight(weight, place, 1)
        if isinstance(token, str):
            if token:
                yield token, told
            continue
        try:
            yield _ID.read(token), told
        except ValidationError as error:
            raise at(wrong_type("a token id or a string", token), place, 0) from error


def _weight(value: Any, *path: str | int) -> float:
    if value is False:
        return BAN
    try:
        return _WEIGHT.read(value)
    except ValidationError as error:
        raise at(error, *path) from error

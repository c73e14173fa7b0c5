"""`prompt` of /v1/completions, `input` of /v1/embeddings -> prompts: text, token ids, several, and llama.cpp's mixtures.

"a"                 one text                  [1, 2]          one prompt of ids, used verbatim
["a", "b"]          two texts                 [[1, 2], "a"]   two prompts
[1, "a", 2]         ids and texts in turn     null            the start of a document
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from marshmallow import ValidationError
from tropilla.api.about import COUNT, TEXT, Nested, Shape, either, record, several
from tropilla.api.fields import Integer, Strict, empty, too_long, wrong_type
from tropilla.api.reading import Wrong
from tropilla.common.generation import MixedPrompt, Prompt, TextPrompt, TokenPrompt

#: Any: an id that the model does not have is out of its vocabulary, be it negative.
_ID = Integer()
#: llama.cpp's object around a text.
_WRAPPED = record("", {"prompt_string": TEXT})


class Prompts(Strict[tuple[Prompt, ...]]):
    """One prompt or several, `most` of them at the most. Ids are checked against the vocabulary later, by `check_ids`."""

    expected = "a string, an array of strings, an array of token ids or an array of such arrays"
    NOTHING: ClassVar[tuple[Prompt, ...]] = (TextPrompt(""),)

    def __init__(self, most: int | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.most = most

    def read(self, value: Any) -> tuple[Prompt, ...]:
        if not isinstance(value, list):
            return (_one(value, self.expected),)
        if not value:
            raise empty()
        if any(_is_number(item) for item in value):
            return (_sequence(value),)
        if self.most is not None and len(value) > self.most:
            raise too_long(self.most, len(value))
        return tuple(_each(value))

    def described(self, _: Nested, /) -> Shape:
        """What begins with a number is one prompt; lists inside are one each, whatever they hold. No model has an id
        below 0.
        """
        sequence = several(either(COUNT, TEXT), least=1)
        several_prompts = several(either(TEXT, sequence, _WRAPPED), least=1, most=self.most)
        return either(TEXT, {**sequence, "contains": COUNT}, several_prompts, _WRAPPED)


def _each(items: list[Any]) -> list[Prompt]:
    prompts: list[Prompt] = []
    for index, item in enumerate(items):
        try:
            prompts.append(
                _sequence(item) if isinstance(item, list) else _one(item, "a string or an array of token ids")
            )
        except ValidationError as error:
            raise ValidationError({index: error.messages}) from error
    return prompts


def _one(value: Any, expected: str) -> Prompt:
    """A text, or llama.cpp's object around one."""
    if isinstance(value, dict):
        if value.get("multimodal_data"):
            raise Wrong("multimodal data is not supported: the model reads text only.", "unsupported")
        value = value.get("prompt_string")
    if not isinstance(value, str):
        raise wrong_type(expected, value)
    return TextPrompt(value)


def _sequence(items: list[Any]) -> Prompt:
    """One prompt of token ids, perhaps with texts among them."""
    if not items:
        raise empty()
    parts = tuple(_parts(items))
    ids = tuple(part for part in parts if isinstance(part, int))
    return TokenPrompt(ids) if len(ids) == len(parts) else MixedPrompt(parts)


def _parts(items: list[Any]) -> Iterator[int | str]:
    for index, item in enumerate(items):
        if isinstance(item, str):
            yield item
            continue
        try:
            yield _ID.read(item)
        except ValidationError as error:
            raise ValidationError({index: error.messages}) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Where a prompt's images stand while a template writes it: each has a mark of its own in the text. Pure.

A surface puts a `PICTURE` for each image into a content. Templates leave texts out, write them twice or in another order,
so here each `PICTURE` becomes a mark that bears the image's number. Whoever would forge one had to guess the nonce.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import TypeVar

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import PICTURE, ChatPrompt, Image, Message, TextPrompt

#: Around a mark. A Unicode noncharacter, as those of markers.py are.
_AROUND = "\ufdd3"

_Said = TypeVar("_Said", Message, TextPrompt)


class Placeholders:
    """nonce: hex digits that no caller knows."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._mark = re.compile(f"{_AROUND}{nonce}([0-9]+){_AROUND}")

    def marked(self, prompt: ChatPrompt | TextPrompt) -> ChatPrompt | TextPrompt:
        """The prompt with marks in place of `PICTURE`s, numbered over all of it. Raises `InvalidPrompt` where images and
        their places are not equally many.
        """
        if isinstance(prompt, TextPrompt):
            return dataclasses.replace(prompt, text=self._filled(prompt.text, prompt.images, 0))
        messages, number = [], 0
        for message in prompt.messages:
            content = self._filled(message.content, message.images, number)
            messages.append(dataclasses.replace(message, content=content))
            number += len(message.images)
        return dataclasses.replace(prompt, messages=tuple(messages))

    def _filled(self, text: str, images: tuple[Image, ...], number: int) -> str:
        first, *rest = text.split(PICTURE)
        if not images:
            return first + "".join(rest)
        if len(rest) != len(images):
            refusal = f"there are {len(images)} images and {len(rest)} places for them in the text"
            raise InvalidPrompt(refusal, code="invalid_prompt")
        return first + "".join(f"{self._name(number + at)}{piece}" for at, piece in enumerate(rest))

    def _name(self, number: int) -> str:
        return f"{_AROUND}{self._nonce}{number}{_AROUND}"

    def pieces(self, text: str) -> Iterator[str | int]:
        """The text around the marks, and the numbers of the images, in turns; both ends are text, if an empty one."""
        for at, piece in enumerate(self._mark.split(text)):
            yield int(piece) if at % 2 else piece

    def numbers(self, text: str) -> set[int]:
        """Of the images that the text has a mark for."""
        return set(map(int, self._mark.findall(text)))

    def spelled(self, text: str) -> str:
        """The text with `[img-0]` and so on for the marks: as people may read it."""
        return self._mark.sub(r"[img-\1]", text)

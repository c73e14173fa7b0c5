"""Where a message's images stand in its text (sheet, section 7.6).

[img]     the next image that has no place of its own
[img-k]   the k-th of the request, counted from 0
neither   before the text
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tropilla.api.images import placed
from tropilla.common.generation import PICTURE, Image, Message

_MARK = re.compile(r"\[img(?:-(\d{1,4}))?\]")


def marked(text: str, images: tuple[Image, ...], *, first: int = 0) -> tuple[str, tuple[Image, ...]]:
    """The text with a `PICTURE` for each image, and the images in the order in which they stand there. `first`: the number
    of the first one in its request.
    """
    numbers = range(first, first + len(images))
    named = {int(number) for number in _MARK.findall(text) if number} & set(numbers)
    free = [number for number in numbers if number not in named]
    standing: list[int] = []

    def put(mark: re.Match[str]) -> str:
        if mark[1] is None and free:
            standing.append(free.pop(0))
        elif mark[1] is not None and int(mark[1]) in named:
            standing.append(int(mark[1]))
        else:
            return mark[0]
        return PICTURE

    inside = _MARK.sub(put, text)
    order = [*free, *standing]
    return PICTURE * len(free) + inside, tuple(images[number - first] for number in order)


def pictured(messages: Iterable[Message]) -> Iterator[Message]:
    """A chat's, with their images in their texts."""
    first = 0
    for place, message in enumerate(messages):
        content, images = marked(message.content, message.images, first=first)
        first += len(message.images)
        yield placed(replace(message, content=content, images=images), f"messages[{place}].")

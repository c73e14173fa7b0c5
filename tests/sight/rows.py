"""From lessons to rows of token ids, with pictures drawn for the places where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from tropilla.workers.pocket import lessons
from tropilla.workers.pocket.lessons import Span
from tropilla.workers.pocket.tokenizer import END_OF_TEXT

from sight import MARKER, pictures
from sight.lessons import Lesson, Raw
from sight.network import EyeShape

#: Rows that wait for a lesson that fits; more of them waste less space.
_OPEN_ROWS = 32


@dataclass
class Row:
    """Lessons one after another; `lesson` numbers them, so that none sees another, and `shown` marks pictures."""

    tokens: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    lesson: list[int] = field(default_factory=list)
    colours: list[str] = field(default_factory=list)

    def add(self, tokens: list[int], *, learned: bool = False, shown: bool = False, lesson: int = 0) -> None:
        self.tokens += tokens
        self.learned += [learned] * len(tokens)
        self.shown += [shown] * len(tokens)
        self.lesson += [lesson] * len(tokens)

    def extend(self, other: Row) -> None:
        number = self.lesson[-1] + 1 if self.lesson else 0
        self.tokens += other.tokens
        self.learned += other.learned
        self.shown += other.shown
        self.lesson += [number] * len(other.tokens)
        self.colours += other.colours


class Batch(NamedTuple):
    """(rows, length) arrays, but `pictures`: (pictures, side, side, 3) bytes in the order in which they stand."""

    tokens: np.ndarray
    learned: np.ndarray
    shown: np.ndarray
    lesson: np.ndarray
    pictures: np.ndarray


def spans(lesson: Lesson) -> Iterator[Span]:
    """Cut where learning begins and ends."""
    match lesson.document:
        case Raw(prompt, answer):
            yield Span(prompt, False)
            yield Span(answer + END_OF_TEXT, True)
        case chat:
            yield from lessons.spans(chat)


def texts(stream: Iterator[Lesson]) -> Iterator[str]:
    """What stands between the pictures: from this the vocabulary is learned."""
    for lesson in stream:
        yield from "".join(span.text for span in spans(lesson)).split(MARKER)


def encode(lesson: Lesson, tokenizer: Tokenizer, places: int) -> Row:
    """Cut at the pictures first, as mtmd does; each takes some places of a token that nobody reads."""
    row, nobody = Row(colours=list(lesson.colours)), tokenizer.token_to_id(END_OF_TEXT)
    for span in spans(lesson):
        for index, text in enumerate(span.text.split(MARKER)):
            if index:
                row.add([nobody] * places, shown=True)
            row.add(tokenizer.encode(text).ids, learned=span.learned)
    return row


def rows(stream: Iterator[Lesson], tokenizer: Tokenizer, *, length: int, places: int) -> Iterator[Row]:
    """Fill rows of one length, first fit; what is longer than a row is left out."""
    waiting: list[Row] = []
    for lesson in stream:
        new = encode(lesson, tokenizer, places)
        if len(new.tokens) > length:
            continue
        row = next((row for row in waiting if len(row.tokens) + len(new.tokens) <= length), None)
        if row is None:
            if len(waiting) == _OPEN_ROWS:
                full = max(waiting, key=lambda row: len(row.tokens))
                waiting.remove(full)
                full.add([tokenizer.token_to_id(END_OF_TEXT)] * (length - len(full.tokens)), lesson=-1)
                yield full
            row = Row()
            waiting.append(row)
        row.extend(new)


def batches(
    stream: Iterator[Lesson], tokenizer: Tokenizer, eye: EyeShape, *, length: int, size: int, seed: int
) -> Iterator[Batch]:
    """Endless; no picture is drawn twice."""
    random = Random(seed)
    endless = rows(stream, tokenizer, length=length, places=eye.tokens)
    while True:
        chosen = list(islice(endless, size))
        drawn = [pictures.fitted(pictures.some(random, colour), eye.side) for row in chosen for colour in row.colours]
        yield Batch(
            tokens=np.array([row.tokens for row in chosen]),
            learned=np.array([row.learned for row in chosen]),
            shown=np.array([row.shown for row in chosen]),
            lesson=np.array([row.lesson for row in chosen]),
            pictures=np.stack(drawn) if drawn else np.zeros((0, eye.side, eye.side, 3), np.uint8),
        )

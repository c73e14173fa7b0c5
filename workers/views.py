"""Pictures among a prompt's tokens: which places a picture takes, and where they stand. Pure.

A model sees a picture as one view, or as several with tokens of text between them where its projector cuts large pictures
into parts. A view is a run of places, each with an embedding instead of a token. In a prompt's ids each has a negative
number that no other picture ever gets, so that prefixes (prefixes.py) are shared over pictures as over text:

    ids    1  5  -7 -8 -9  6  2          three places of one view, from place 2 on
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """How many places a view takes.

    steps: how far it moves the positions of what stands behind it; `length`, unless the model gives places a column and a
    row (M-RoPE). together: every place of it sees every other, so that all are computed in one pass, and by themselves.
    grid: of a model with M-RoPE, what llama.cpp is told of positions, for a first one of 0 and of 1: (2, 4, length).
    """

    length: int
    steps: int
    together: bool = False
    grid: Any = None

    @property
    def straight(self) -> bool:
        """Its places stand one behind the other, as tokens do."""
        return self.grid is None and self.steps == self.length


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A view with its numbers: `first`, and from there downwards."""

    first: int
    shape: Shape

    @property
    def ids(self) -> range:
        return range(self.first, self.first - self.shape.length, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A view in a sequence, from the place `start` on. rows: its embeddings, (length, width)."""

    start: int
    shape: Shape
    rows: Any = None

    @property
    def stop(self) -> int:
        return self.start + self.shape.length


class Spans:
    """All of one sequence's views, in their order: what of places is no token."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self._spans = tuple(spans)
        self._starts = [span.start for span in self._spans]

    def __bool__(self) -> bool:
        return bool(self._spans)

    def at(self, place: int) -> Span | None:
        """The view that the place belongs to."""
        before = bisect_right(self._starts, place) - 1
        return self._spans[before] if before >= 0 and place < self._spans[before].stop else None

    def edge(self, place: int, end: int) -> int:
        """Where what begins at the place, text or a view, ends: before `end`."""
        inside = self.at(place)
        after = bisect_right(self._starts, place)
        stop = inside.stop if inside else self._starts[after] if after < len(self._starts) else end
        return min(stop, end)

    def whole(self, length: int) -> int:
        """So many places, without those of a view that would not be all there."""
        torn = self.at(length)
        return torn.start if torn else length

    def position(self, place: int) -> int:
        """What a token there is told of where it stands; of a view's places, where the view begins."""
        inside = self.at(place)
        before = [span for span in self._spans if span.stop <= place]
        start = inside.start if inside and not inside.shape.straight else place
        return start - sum(span.shape.length - span.shape.steps for span in before)

    @property
    def straight(self) -> int | None:
        """How many places stand at positions of their own number; None: all."""
        return next((span.start for span in self._spans if not span.shape.straight), None)


def standing(ids: Sequence[int], views: Mapping[int, View]) -> Iterator[tuple[int, View]]:
    """Which views stand whole in a prompt, and from which place on. views: by their first number."""
    place = 0
    while place < len(ids):
        view = views.get(ids[place])
        if view is not None and tuple(ids[place : place + view.shape.length]) == tuple(view.ids):
            yield place, view
            place += view.shape.length
        else:
            place += 1


def without_torn(ids: list[int], views: Mapping[int, View]) -> list[int]:
    """The prompt without views of which some was cut off, and without any that it would end in: behind the last place
    there must be a token, from which the next is drawn.
    """
    whole = {place + offset for place, view in standing(ids, views) for offset in range(view.shape.length)}
    kept = [number for place, number in enumerate(ids) if number >= 0 or place in whole]
    while kept and kept[-1] < 0:
        kept.pop()
    return kept

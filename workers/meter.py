"""What one rendering of a chat template may cost: work, memory, time. A template is a stranger's program.

Everything that is made or done is paid for, about a unit per byte, out of one allowance; nothing is given back, so that
what lives is bounded, too. Python cannot interrupt a long operation of its own: what could be long is estimated and
paid for before it begins, and each one that passes ends within milliseconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import ItemsView, Iterable, KeysView, ValuesView
from typing import Any, TypeVar

#: Units for one rendering. Published templates spend a tenth of it on a conversation of a thousand messages (1.2 MB).
ALLOWANCE = 1 << 27
#: Seconds of CPU for one rendering; for that conversation they take a fiftieth of it.
SECONDS = 2.0
#: Characters of the longest text, and items with what is in them of the largest list, that may be made.
MAX_VALUE = 1 << 23
#: One node of a template's syntax tree, executed; one list or object, made; one item of a list.
NODE, CONTAINER, ITEM = 8, 96, 16
#: Of a whole number: a power that is longer would take seconds to divide by.
MAX_BITS = 1 << 14

Value = TypeVar("Value")
ROWS = (list, tuple, KeysView, ValuesView, ItemsView)


class TooMuch(Exception):
    """The template does more than any template has a reason to."""


class Meter(threading.local):
    """Each thread renders for itself."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._left = ALLOWANCE
        self._until = time.thread_time() + SECONDS
        self._unchecked = 0

    def spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise TooMuch("it does more work than a template may")
        self._unchecked += units + NODE
        if self._unchecked > 4096:
            self._unchecked = 0
            if time.thread_time() > self._until:
                raise TooMuch(f"it takes longer than {SECONDS:g} s")

    def made(self, value: Value) -> Value:
        """Pays for a result that exists."""
        self.spend(sys.getsizeof(value))
        return value

    def allow(self, characters: int) -> None:
        """Refuses what would become too long."""
        if characters > MAX_VALUE:
            raise TooMuch(f"it makes a text or list of {characters} characters or items")
        self.spend(characters)

    def weigh(self, *values: Any) -> int:
        """What values are written out, about; pays for looking at each part, as often as it is contained.

        Ten lists, each of which contains the one before twice, are small until somebody writes or compares them.
        """
        weight, parts = 0, list(values)
        while parts:
            part = parts.pop()
            if isinstance(part, str):
                weight += len(part)
            elif isinstance(part, dict):
                self._look(weight + ITEM * len(part))
                parts.extend(part)
                parts.extend(part.values())
            elif isinstance(part, ROWS):
                self._look(weight + ITEM * len(part))
                parts.extend(part)
            weight += ITEM
            self._look(weight)
        self.spend(weight >> 2)
        return weight

    def _look(self, weight: int) -> None:
        if weight > MAX_VALUE:
            raise TooMuch("it writes or compares a list or object that is too large")

    def taken(self, values: Iterable[Any]) -> list[Any]:
        """All items, paid for one by one: what makes them may be anything."""
        items = []
        for item in values:
            self.spend(ITEM if isinstance(item, str) and len(item) > 1 else CONTAINER)
            items.append(item)
        return items

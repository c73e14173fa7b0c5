"""What an errand came to -> the answer of whoever waited for it."""

from __future__ import annotations

from collections.abc import Callable

from tropilla.api.surface import ErrandRefused, Reply
from tropilla.api.surfaces.jan.faults import fault
from tropilla.common.errands import Done, Refused, Word


def ended(words: tuple[Word, ...], done: Callable[[Done], Reply]) -> Reply:
    """By its last word: `done`'s answer, or why it came to nothing."""
    last = words[-1]
    if isinstance(last, Refused):
        return fault(ErrandRefused(last))
    assert isinstance(last, Done), "an errand ends with its last word"
    return done(last)

"""What one who waits is told of his place: after a second, and whenever it has changed, once a second at the most."""

from __future__ import annotations

from tropilla.common.room import Position

#: How often a place is asked for, in seconds.
PLACE_SECONDS = 1.0


class Places:
    """Of one request, from its admission on, by a clock in seconds."""

    def __init__(self, now: float) -> None:
        self._asked = now
        # Whoever is next from the start is told nothing: a refusal has its own status as long as nothing went out.
        self._before = 0

    def due(self, now: float) -> bool:
        """Whether it is time to ask for it again."""
        return now - self._asked >= PLACE_SECONDS

    def is_news(self, now: float, position: Position | None) -> bool:
        """Whether what was asked for is worth telling; None where it does not wait."""
        self._asked = now
        if position is None or position.before == self._before:
            return False
        self._before = position.before
        return True

"""What one who waits is told of his place: after a second, and whenever it has changed, once a second at the most."""

from __future__ import annotations

from collections.abc import Callable

from tropilla.common.room import Position

#: How often a place is asked for, in seconds.
PLACE_SECONDS = 1.0


class Places:
    """Of one request, from its admission on, by a clock in seconds."""

    def __init__(self, ask: Callable[[], Position | None], now: float) -> None:
        self._ask = ask
        self._asked = now
        # Whoever is next from the start is told nothing: a refusal has its own status as long as nothing went out.
        self._before = 0

    def news(self, now: float) -> Position | None:
        """Raises what asking raises."""
        if now - self._asked < PLACE_SECONDS:
            return None
        self._asked = now
        position = self._ask()
        if position is None or position.before == self._before:
            return None
        self._before = position.before
        return position

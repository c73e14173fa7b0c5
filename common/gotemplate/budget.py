"""What one rendering may cost: steps, characters written, levels of nesting."""

from __future__ import annotations

from typing import Any

from tropilla.common.gotemplate.faults import TooMuch

#: Some microseconds each; a conversation of a thousand messages takes a published template some ten thousand.
MAX_STEPS = 1 << 19
MAX_OUTPUT = 4 << 20
#: Templates, blocks and parentheses inside one another as they run: Python's own stack bounds it.
MAX_DEPTH = 80
#: How many characters a function makes or looks at for a step; how many items it puts into a list or shares with one; how
#: many variables are passed by in search of one.
_MADE_A_STEP, _READ_A_STEP, _ITEMS_A_STEP, _SHARED_A_STEP, _PASSED_A_STEP = 16, 64, 4, 256, 16


class Budget:
    """Each method raises `TooMuch`."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._steps, self._room, self._depth = MAX_STEPS, MAX_OUTPUT, 0

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooMuch(f"template: {self._template}: it does more work than a template may")

    def read(self, value: Any) -> None:
        """Pays for what a function is given."""
        if isinstance(value, str):
            self.spend(len(value) // _READ_A_STEP)

    def passed(self, variables: int) -> None:
        self.spend(variables // _PASSED_A_STEP)

    def made(self, value: Any, *, shared: bool) -> None:
        """Pays for a function's result by its size, so that memory is bounded, too."""
        if isinstance(value, str):
            self.spend(len(value) // _MADE_A_STEP)
        elif isinstance(value, list | tuple | dict):
            self.spend(len(value) // (_SHARED_A_STEP if shared else _ITEMS_A_STEP))

    def written(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise TooMuch(f"template: {self._template}: it writes more than {MAX_OUTPUT} characters")

    def enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooMuch(f"template: {self._template}: more than {MAX_DEPTH} levels deep")

    def leave(self) -> None:
        self._depth -= 1

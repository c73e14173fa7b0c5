"""A model's markers (`<|im_end|>`), which nobody may write into a prompt through what a message says.

Their spelling in it is split by a character that Unicode promises never to assign; the rendered text is cut there before it
is tokenized, and neither half is a marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tropilla.common.generation import PICTURE

#: A Unicode noncharacter: no text has it, and whoever sends it anyway loses it.
SPLIT = "\ufdd0"
#: Marks where the last assistant message ends, so that what a template puts behind it can be cut off.
CUT = "\ufdd1"
#: Roles that are the same word in many markers, and meant to be.
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython"})


class Markers:
    """spellings: of the model's control tokens."""

    def __init__(self, spellings: Iterable[str] = ()) -> None:
        self._spellings = sorted((spelling for spelling in spellings if len(spelling) > 1), key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, self._spellings)) or r"(?!)")

    def guard(self, text: str) -> str:
        """What a caller says, with no marker in it. The places of images bear other marks by now (placeholders.py)."""
        clean = text.replace(SPLIT, "").replace(CUT, "").replace(PICTURE, "")
        return self._any.sub(lambda found: found[0][0] + SPLIT + found[0][1:], clean)

    def role(self, role: str, known: Callable[[str], bool]) -> str:
        """Templates write `<|` and `|>` around roles: one that would make another marker of them is taken apart. known:
        whether the template itself knows the role.
        """
        word = role.strip().lower()
        if role in ROLES or known(role):
            return self.guard(role)
        if re.fullmatch(r"[\w .-]*", role) and not any(word in marker.lower() for marker in self._spellings if word):
            return role
        return SPLIT + SPLIT.join(self.guard(role)) + SPLIT

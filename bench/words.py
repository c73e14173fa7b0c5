"""The words that stand for tokens in the models made here, ` w1234`. Pure."""

from __future__ import annotations

import re

WORD = re.compile(r" w\d+")


def words_in(text: str) -> int:
    """How many generated tokens a text is."""
    return len(WORD.findall(text))

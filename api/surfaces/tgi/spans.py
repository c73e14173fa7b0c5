"""Where in a text each of its tokens stands, in bytes of its UTF-8: found by what the tokens spell.

Most vocabularies spell a text byte for byte. Some put a space in front of it, some drop spaces or write small letters for
capitals. What cannot be found (an accent that was taken off, a word the vocabulary does not know) has no span, and the
search goes on with the word after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

from tropilla.common.generation import PromptToken

#: (first byte, the one behind the last); None for a token that does not stand in the text.
Span = tuple[int, int] | None

_SPACE = re.compile(rb"\s*")
_WORD = re.compile(rb"\s*\S*")


def spans(text: bytes, tokens: Sequence[PromptToken], *, markers: bool) -> Iterator[Span]:
    """One for each token. markers: whether a marker may stand in the text, as in a rendered template. If not, one at the
    edge was added by the tokenizer, and one between is a word that the vocabulary does not know.
    """
    at, lost = 0, False
    for place, token in enumerate(tokens):
        stranger = token.special and not markers
        if lost and (stranger or token.piece.startswith(b" ")):
            at, lost = _end(_WORD, text, at), False
        # The rest of a lost word is lost with it.
        found = None if lost or stranger or not token.piece else _found(text, token.piece, at)
        if found is not None:
            at = found[1]
        elif token.piece and (not token.special or (stranger and place > 0)):
            lost = True
        yield found


def _found(text: bytes, piece: bytes, at: int) -> Span:
    """As it stands; or without the space that the vocabulary wrote in front, whatever space the text has, in capitals."""
    if text.startswith(piece, at):
        return at, at + len(piece)
    word, start = piece.lstrip(b" "), _end(_SPACE, text, at)
    return (start, start + len(word)) if word and text[start : start + len(word)].lower() == word.lower() else None


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Where a pattern that matches everywhere stops matching."""
    return cast(re.Match[bytes], pattern.match(text, at)).end()

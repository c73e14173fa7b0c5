"""What stands before a completion: the prompt's text, and its tokens as an echo lists them (sheet, sections 6 and 16)."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from tropilla.common.generation import ChatPrompt, InfillPrompt, Prompt, PromptToken, TextPrompt


@dataclass(frozen=True, slots=True)
class Before:
    """`tokens`: each with the place in the text at which it begins."""

    text: str
    tokens: tuple[tuple[PromptToken, int], ...] = ()


def before(prompt: Prompt, tokens: Sequence[PromptToken]) -> Before:
    """`tokens` are the prompt as the model saw it; () where that was not asked for."""
    text = known_text(prompt)
    if text is None:
        placed, length = _placed(tokens)
        spelled = b"".join(token.piece for token in tokens).decode("utf-8", "replace")
        return Before(spelled, tuple(placed))
    placed, length = _placed(_without_start(tokens, text))
    # A tokenizer may put a space before the text, and a caller may have it cut: only the end is sure.
    surplus = length - len(text)
    return Before(text, tuple((token, max(0, offset - surplus)) for token, offset in placed))


def known_text(prompt: Prompt) -> str | None:
    """The prompt's text, unless only the worker can tell what its token ids spell."""
    match prompt:
        case TextPrompt(context=(), template=None):
            return prompt.text
        case InfillPrompt():
            return prompt.prefix
        case ChatPrompt():
            return ""
        case _:
            return None


def _without_start(tokens: Sequence[PromptToken], text: str) -> Sequence[PromptToken]:
    """A BOS the server has added is not the caller's: it is there when the tokens behind the first spell it all."""
    spelled = b"".join(token.piece for token in tokens[1:])
    return tokens[1:] if spelled.endswith(text.encode("utf-8", "replace")) else tokens


def _placed(tokens: Sequence[PromptToken]) -> tuple[list[tuple[PromptToken, int]], int]:
    """Each token with how many characters stand before it, and how many there are together."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    placed, length = [], 0
    for token in tokens:
        placed.append((token, length))
        length += len(decoder.decode(token.piece))
    return placed, length

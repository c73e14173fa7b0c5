"""Prompts that are too long for the context, by the rule the request asks for; and how much room an answer has. Pure."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable

from tropilla.common.errors import ContextExceeded, InvalidPrompt
from tropilla.common.generation import ChatPrompt, GenerationRequest, Prompt, TokenPrompt

#: An answer whose context shifts could go on for ever: it may have so many contexts (Ollama's rule).
MAX_SHIFTED_CONTEXTS = 10

Ids = Callable[[Prompt], list[int]]
#: What is left of ids that were cut.
Whole = Callable[[list[int]], list[int]]


def fitted(
    prompt: Prompt,
    request: GenerationRequest,
    limit: int,
    *,
    ids: Ids,
    adds_bos: bool,
    whole: Whole = lambda cut: cut,
) -> list[int]:
    """The prompt's ids, shortened where the request asks for that. ids: renders and tokenizes a prompt. whole: takes out
    what a cut has left of an image. Raises `ContextExceeded`.
    """
    fit = request.fit
    # A prompt leaves room for one token, unless none is wanted.
    longest = limit - (request.max_tokens != 0)
    all_told = ids(prompt)
    told = whole(_cut(all_told, fit.keep_last))
    if len(told) > longest and fit.overlong != "refuse":
        told = _without_oldest(prompt, longest, lambda shorter: whole(_cut(ids(shorter), fit.keep_last)))
        if len(told) > longest and fit.overlong == "shorten":
            added = adds_bos and not isinstance(prompt, TokenPrompt)
            told = whole(_without_middle(told, limit, fit.keep + 1 if added and fit.keep >= 0 else fit.keep))
    if len(told) > longest:
        raise _too_long(len(told), request, limit)
    if not told:
        # It was cut within an image, and nothing stood before that.
        raise _too_long(len(all_told), request, limit)
    return told


def room(prompt_tokens: int, request: GenerationRequest, limit: int) -> int:
    """How many tokens the answer may have. Raises `ContextExceeded`."""
    left = limit - prompt_tokens
    if request.fit.shift:
        most = limit * MAX_SHIFTED_CONTEXTS
        return most if request.max_tokens is None else min(request.max_tokens, most)
    if request.max_tokens is None:
        return left
    if _least(request.max_tokens, request) > left and request.fit.room == "refuse":
        raise _too_long(prompt_tokens, request, limit)
    return min(request.max_tokens, left)


def _cut(ids: list[int], keep_last: int | None) -> list[int]:
    return ids if keep_last is None else ids[-keep_last:]


def _without_oldest(prompt: Prompt, longest: int, ids: Ids) -> list[int]:
    """Without as few of the oldest messages as will do. By halving: each try renders and tokenizes everything."""

    def fits(dropped: int) -> bool:
        try:
            return len(ids(_dropped(prompt, dropped))) <= longest
        except InvalidPrompt:
            # A template that insists on alternating roles will take the next one.
            return False

    most = len(_may_go(prompt))
    return ids(_dropped(prompt, bisect.bisect_left(range(most), True, key=fits)))


def _may_go(prompt: Prompt) -> list[int]:
    """The places of the messages that may be dropped, oldest first: not system messages, and never the last."""
    if not isinstance(prompt, ChatPrompt):
        return []
    return [at for at, message in enumerate(prompt.messages[:-1]) if message.role != "system"]


def _dropped(prompt: Prompt, count: int) -> Prompt:
    gone = set(_may_go(prompt)[:count])
    if not gone or not isinstance(prompt, ChatPrompt):
        return prompt
    kept = tuple(message for at, message in enumerate(prompt.messages) if at not in gone)
    return dataclasses.replace(prompt, messages=kept)


def _without_middle(ids: list[int], limit: int, keep: int) -> list[int]:
    """Ollama's rule: the first `keep` tokens and the newest, about half of the window in all. `limit` 8, keep 3, ids
    0..9 leave 0 1 2 7 8 9; a negative `keep` leaves the head only.
    """
    if keep < 0:
        return ids[: limit - 1]
    keep = min(keep, limit - 1)
    total = limit - max((limit - keep) // 2, 1)
    return ids[:keep] + ids[len(ids) - (total - keep) :] if total > keep else ids[:keep]


def _least(max_tokens: int, request: GenerationRequest) -> int:
    """What there must be room for."""
    return max_tokens if request.fit.least is None else min(max_tokens, request.fit.least)


def _too_long(prompt_tokens: int, request: GenerationRequest, limit: int) -> ContextExceeded:
    """With `max_tokens` among the facts when it was the sum that had to fit."""
    facts = {"prompt_tokens": prompt_tokens, "context": limit}
    text = f"the prompt has {prompt_tokens} tokens"
    if request.fit.room == "refuse" and request.max_tokens is not None:
        facts["max_tokens"] = _least(request.max_tokens, request)
        text += f" and the answer may have {facts['max_tokens']}"
    return ContextExceeded(f"{text}; the context has {limit}", code="context_length", facts=facts)

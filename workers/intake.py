"""A request -> the sequences that will answer it: rendered, tokenized, made to fit, each with its sampler.

Done by the thread that holds the ticket, not by the loop: a long prompt's tokenizing never stalls running streams.
"""

from __future__ import annotations

import bisect
import dataclasses
from typing import Protocol

from tropilla.common.errors import ContextExceeded, InvalidPrompt
from tropilla.common.generation import (
    MAX_SEED,
    ChatPrompt,
    Fit,
    GenerationRequest,
    Prompt,
    PromptToken,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.sequence import Sampler, Sequence
from tropilla.workers.text import Text


class Vocabulary(Protocol):
    """What intake needs of `llama.Vocabulary`."""

    size: int
    start: int
    adds_bos: bool

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]: ...
    def piece(self, token: int) -> bytes: ...


class SamplerMaker(Protocol):
    def __call__(self, sampling: Sampling, prompt: list[int]) -> Sampler: ...


class Intake:
    """What turns requests into sequences for one pinned model. context: tokens one sequence may hold."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, *, context: int, sampler: SamplerMaker) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._context = context
        self._sampler = sampler

    def sequences(self, request: GenerationRequest) -> list[Sequence]:
        """One per choice, in choice order. Raises `ContextExceeded` or `InvalidPrompt`."""
        limit = min(self._context, request.fit.context_limit or self._context)
        # Every prompt is checked before the first sampler is made, so that a refusal leaves nothing to release.
        prompts = [self._fitted(prompt, request, limit) for prompt in request.prompts]
        rooms = [_room(len(ids), request, limit) for ids in prompts]
        return [
            self._sequence(request, prompt=ids, room=room, number=number, place=place)
            for place, (ids, room) in enumerate(zip(prompts, rooms, strict=True))
            for number in range(request.n)
        ]

    def _sequence(
        self, request: GenerationRequest, *, prompt: list[int], room: int, number: int, place: int
    ) -> Sequence:
        sampling = dataclasses.replace(request.sampling, seed=(request.sampling.seed + number) % (MAX_SEED + 1))
        return Sequence(
            request_id=request.id,
            choice=place * request.n + number,
            prompt=prompt,
            max_tokens=room,
            sampler=self._sampler(sampling, prompt),
            text=Text(request.stop, keep_stop=request.keep_stop),
            seed=sampling.seed,
            logprobs=request.logprobs,
            reported_prompt=self._reported(prompt) if request.want_prompt else (),
        )

    def _reported(self, ids: list[int]) -> tuple[PromptToken, ...]:
        return tuple(PromptToken(token, self._vocabulary.piece(token)) for token in ids)

    def _fitted(self, prompt: Prompt, request: GenerationRequest, limit: int) -> list[int]:
        """The prompt's ids, shortened where the request asks for that."""
        # A prompt leaves room for one token, unless none is wanted.
        longest = limit - (request.max_tokens != 0)
        ids = self._cut(prompt, request.fit)
        if len(ids) <= longest:
            return ids
        if request.fit.overlong == "refuse":
            raise _too_long(len(ids), request, limit)
        ids = self._without_oldest(prompt, request.fit, longest)
        if len(ids) <= longest:
            return ids
        if request.fit.overlong == "drop":
            raise _too_long(len(ids), request, limit)
        return _without_middle(ids, limit, self._kept_head(prompt, request.fit))

    def _without_oldest(self, prompt: Prompt, fit: Fit, longest: int) -> list[int]:
        """Without as few of the oldest messages as will do. By halving: each try renders and tokenizes everything."""

        def fits(dropped: int) -> bool:
            try:
                return len(self._cut(_without_oldest(prompt, dropped), fit)) <= longest
            except InvalidPrompt:
                # A template that insists on alternating roles will take the next one.
                return False

        most = len(_may_go(prompt))
        dropped = bisect.bisect_left(range(most), True, key=fits)
        return self._cut(_without_oldest(prompt, dropped), fit)

    def _kept_head(self, prompt: Prompt, fit: Fit) -> int:
        """A BOS that was added is kept beside the `keep` tokens the caller means."""
        added = self._vocabulary.adds_bos and not isinstance(prompt, TokenPrompt)
        return fit.keep + 1 if added and fit.keep >= 0 else fit.keep

    def _cut(self, prompt: Prompt, fit: Fit) -> list[int]:
        ids = self._ids(prompt)
        return ids if fit.keep_last is None else ids[-fit.keep_last :]

    def _ids(self, prompt: Prompt) -> list[int]:
        match prompt:
            case ChatPrompt():
                parts = self._template.segments(prompt)
                ids = list(prompt.context)
                for part in parts:
                    ids += self._vocabulary.tokenize(part, special=True, start=not ids)
            case TextPrompt():
                ids = [*prompt.context]
                ids += self._vocabulary.tokenize(prompt.text, special=prompt.special, start=not ids)
            case TokenPrompt():
                ids = list(prompt.ids)
        wrong = next((token for token in ids if not 0 <= token < self._vocabulary.size), None)
        if wrong is not None:
            size = self._vocabulary.size
            raise InvalidPrompt(f"token id {wrong} is out of vocabulary (0 to {size - 1})", code="invalid_prompt")
        return ids or [self._vocabulary.start]


def _may_go(prompt: Prompt) -> list[int]:
    """The places of the messages that may be dropped, oldest first: not system messages, and never the last."""
    if not isinstance(prompt, ChatPrompt):
        return []
    return [at for at, message in enumerate(prompt.messages[:-1]) if message.role != "system"]


def _without_oldest(prompt: Prompt, count: int) -> Prompt:
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


def _too_long(prompt_tokens: int, request: GenerationRequest, limit: int) -> ContextExceeded:
    """With `max_tokens` among the facts when it was the sum that had to fit."""
    facts = {"prompt_tokens": prompt_tokens, "context": limit}
    text = f"the prompt has {prompt_tokens} tokens"
    if request.fit.room == "refuse" and request.max_tokens is not None:
        facts["max_tokens"] = request.max_tokens
        text += f" and the answer may have {request.max_tokens}"
    return ContextExceeded(f"{text}; the context has {limit}", code="context_length", facts=facts)


def _room(prompt_tokens: int, request: GenerationRequest, limit: int) -> int:
    """How many tokens the answer may have."""
    left = limit - prompt_tokens
    if request.max_tokens is None:
        return left
    if request.max_tokens > left and request.fit.room == "refuse":
        raise _too_long(prompt_tokens, request, limit)
    return min(request.max_tokens, left)

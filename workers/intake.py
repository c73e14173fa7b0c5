"""A request -> the sequences that will answer it: rendered, tokenized, made to fit, each with its sampler.

Done by the thread that holds the ticket, not by the loop: a long prompt's tokenizing never stalls running streams.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import (
    BAN,
    MAX_SEED,
    GenerationRequest,
    Prompt,
    PromptToken,
    Sampling,
    TokenizeRequest,
    TokenPrompt,
    images_of,
)
from tropilla.workers import wording
from tropilla.workers.answers import Answers
from tropilla.workers.continuation import NOTHING, Past
from tropilla.workers.fitting import fitted, room
from tropilla.workers.gallery import Gallery, GoOn
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.sampler import Sampler
from tropilla.workers.sequence import Rules, Sequence
from tropilla.workers.text import Text
from tropilla.workers.views import Span
from tropilla.workers.wording import Wording

#: How much of a rendered prompt is looked at for a tag that opens a reasoning block.
END_CHARACTERS = 64
#: How the place of an image is told: it is no token.
_PLACE = PromptToken(-1, b"", special=True)
#: Tokens of one prompt that are told, if not only generated from; with a larger context as many as it holds. Reading a
#: million of them takes the API process 2.6 s, in which it serves nobody else.
TOLD_TOKENS = 65_536


class Vocabulary(wording.Vocabulary, Protocol):
    """What intake needs of `llama.Vocabulary`."""

    def is_marker(self, token: int) -> bool: ...


class Intake:
    """What turns requests into sequences for one pinned model. context: tokens one sequence may hold. gallery: what reads
    images, where anything does.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        answers: Answers,
        *,
        context: int,
        gallery: Gallery | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._answers = answers
        self._context = context
        self._gallery = gallery

    def sequences(
        self, request: GenerationRequest, past: Past = NOTHING, *, go_on: GoOn = lambda: None
    ) -> list[Sequence]:
        """One per choice that has not ended, in choice order; they go on behind what another worker has said. Their images
        are encoded here, each unless `go_on` raises something. Raises `ContextExceeded`, `InvalidPrompt`, or
        `GenerationFailed` for an image that is gone.
        """
        if request.prompt_logprobs is not None and images_of(request):
            raise InvalidPrompt("a prompt with images has no log-probabilities", code="unsupported")
        limit = min(self._context, request.fit.context_limit or self._context)
        words = Wording(self._vocabulary, self._template, self._gallery, go_on)
        rendered = [
            fitted(prompt, request, limit, ids=words.ids, adds_bos=self._vocabulary.adds_bos, whole=words.whole)
            for prompt in request.prompts
        ]
        asked = [_unshifted(request) if min(ids) < 0 else request for ids in rendered]
        # Where one prompt does not fit none of the others' images is encoded.
        for one, ids in zip(asked, rendered, strict=True):
            room(len(ids), one, limit)
        began = time.monotonic()
        seen = [words.spans(ids) for ids in rendered]
        encoding = time.monotonic() - began if any(seen) else 0.0
        return [
            self._sequence(
                asked[place],
                prompt,
                ids,
                spans,
                words,
                limit=limit,
                choice=place * request.n + number,
                past=past,
                encoding=encoding,
            )
            for place, (prompt, ids, spans) in enumerate(zip(request.prompts, rendered, seen, strict=True))
            for number in range(request.n)
            if place * request.n + number not in past.ended
        ]

    def tokenized(self, request: TokenizeRequest) -> list[tuple[tuple[PromptToken, ...], str]]:
        """Each prompt's tokens and text; images are measured, not encoded. Raises as `sequences`."""
        return [self._tokenized(prompt, opens=request.opens) for prompt in request.prompts]

    def _tokenized(self, prompt: Prompt, *, opens: bool) -> tuple[tuple[PromptToken, ...], str]:
        ids, text = Wording(self._vocabulary, self._template, self._gallery).told(prompt, opens=opens)
        most = max(TOLD_TOKENS, self._context)
        if len(ids) > most:
            raise InvalidPrompt(f"there are {len(ids)} tokens; at most {most} are told", code="invalid_prompt")
        return self._reported(ids), text

    def _sequence(
        self,
        request: GenerationRequest,
        prompt: Prompt,
        ids: list[int],
        spans: list[Span],
        words: Wording,
        *,
        limit: int,
        choice: int,
        past: Past,
        encoding: float,
    ) -> Sequence:
        number = choice % request.n
        sampling = dataclasses.replace(request.sampling, seed=(request.sampling.seed + number) % (MAX_SEED + 1))
        # A place of an image is nothing that could be repeated, spelled or told.
        text_ids = [token for token in ids if token >= 0] if spans else ids
        end = words.spelled(text_ids[-END_CHARACTERS:])[-END_CHARACTERS:]
        # Whoever began the answer has told the prompt.
        reported = choice not in past.said and (request.want_prompt or request.prompt_logprobs is not None)
        sequence = Sequence(
            request_id=request.id,
            choice=choice,
            prompt=ids,
            sampler=self._sampler(request, sampling, prompt, text_ids, end, words),
            text=Text(request.stop, keep_stop=request.keep_stop),
            rules=self._rules(request, prompt, ids, limit, scores=reported),
            reply=self._answers.reply(request, prompt, end),
            seed=sampling.seed,
            reported_prompt=self._reported(text_ids) if reported else (),
            adapter=request.adapter,
            spans=spans,
            encoding_seconds=encoding,
        )
        sequence.resume([(t.id, self._vocabulary.piece(t.id), t.special) for t in past.said.get(choice, ())])
        return sequence

    def _rules(self, request: GenerationRequest, prompt: Prompt, ids: list[int], limit: int, *, scores: bool) -> Rules:
        keep = len(ids) if request.fit.keep < 0 else request.fit.keep + self._added(prompt)
        return Rules(
            max_tokens=room(len(ids), request, limit),
            min_tokens=request.min_tokens,
            stop_tokens=frozenset(request.stop_tokens),
            context=limit,
            shift_keep=keep if request.fit.shift else None,
            logprobs=request.logprobs,
            prompt_logprobs=request.prompt_logprobs if scores else None,
            tags=self._answers.tags(prompt) if request.parse_reply else frozenset(),
            show_markers=request.show_markers,
        )

    def _sampler(
        self,
        request: GenerationRequest,
        sampling: Sampling,
        prompt: Prompt,
        ids: list[int],
        end: str,
        words: Wording,
    ) -> Sampler:
        bias: dict[int, float] = {}
        for token, value in sampling.logit_bias:
            # A text is biased as a whole by biasing whatever it consists of (llama.cpp).
            for number in words.biased(token):
                bias[number] = bias.get(number, 0.0) + value
        matcher = self._answers.matcher(request, prompt, end)
        # Where a grammar is complete nothing but an end may follow: it ends all the same.
        if request.ignore_eos and matcher is None:
            bias.update(dict.fromkeys(self._vocabulary.ends, BAN))
        return Sampler(
            sampling,
            context=self._context,
            prompt=ids,
            bias=bias,
            held_back=sorted({*self._vocabulary.ends, *request.stop_tokens}),
            min_tokens=request.min_tokens,
            matcher=matcher,
            breaks=self._breaks(sampling),
        )

    def _breaks(self, sampling: Sampling) -> Callable[[int], bool]:
        breakers = tuple(text.encode() for text in sampling.dry_sequence_breakers if text)

        def breaks(token: int) -> bool:
            piece = self._vocabulary.piece(token)
            return any(breaker in piece for breaker in breakers)

        return breaks

    def _reported(self, ids: list[int]) -> tuple[PromptToken, ...]:
        piece, is_marker = self._vocabulary.piece, self._vocabulary.is_marker
        return tuple(_PLACE if i < 0 else PromptToken(i, piece(i), special=is_marker(i)) for i in ids)

    def _added(self, prompt: Prompt) -> int:
        """A BOS that was added is kept beside the tokens the caller means."""
        return int(self._vocabulary.adds_bos and not isinstance(prompt, TokenPrompt))


def _unshifted(request: GenerationRequest) -> GenerationRequest:
    """A context with an image in it does not shift (llama-server's rule): it ends the answer when it is full."""
    return dataclasses.replace(request, fit=dataclasses.replace(request.fit, shift=False))

"""A request -> the sequences that will answer it: rendered, tokenized, made to fit, each with its sampler.

Done by the thread that holds the ticket, not by the loop: a long prompt's tokenizing never stalls running streams.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Protocol

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import (
    BAN,
    MAX_SEED,
    ChatPrompt,
    GenerationRequest,
    InfillPrompt,
    MixedPrompt,
    Prompt,
    PromptToken,
    Sampling,
    TextPrompt,
    TokenizeRequest,
    TokenPrompt,
)
from tropilla.workers.answers import Answers
from tropilla.workers.continuation import NOTHING, Past
from tropilla.workers.fitting import fitted, room
from tropilla.workers.prompt import ChatTemplate, templated
from tropilla.workers.sampler import Sampler
from tropilla.workers.sequence import Rules, Sequence
from tropilla.workers.text import Text

#: How much of a rendered prompt is looked at for a tag that opens a reasoning block.
END_CHARACTERS = 64
#: Tokens of one prompt that are told, if not only generated from; with a larger context as many as it holds. Reading a
#: million of them takes the API process 2.6 s, in which it serves nobody else.
TOLD_TOKENS = 65_536


class Vocabulary(Protocol):
    """What intake needs of `llama.Vocabulary`."""

    size: int
    start: int
    adds_bos: bool
    adds_eos: bool
    ends: frozenset[int]
    infill: tuple[int, int, int] | None

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]: ...
    def piece(self, token: int) -> bytes: ...
    def is_marker(self, token: int) -> bool: ...


class Intake:
    """What turns requests into sequences for one pinned model. context: tokens one sequence may hold."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, answers: Answers, *, context: int) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._answers = answers
        self._context = context

    def sequences(self, request: GenerationRequest, past: Past = NOTHING) -> list[Sequence]:
        """One per choice that has not ended, in choice order; they go on behind what another worker has said. Raises
        `ContextExceeded` or `InvalidPrompt`.
        """
        limit = min(self._context, request.fit.context_limit or self._context)
        rendered = [
            fitted(prompt, request, limit, ids=self._ids, adds_bos=self._vocabulary.adds_bos)
            for prompt in request.prompts
        ]
        return [
            self._sequence(request, prompt, ids, limit=limit, choice=place * request.n + number, past=past)
            for place, (prompt, ids) in enumerate(zip(request.prompts, rendered, strict=True))
            for number in range(request.n)
            if place * request.n + number not in past.ended
        ]

    def tokenized(self, request: TokenizeRequest) -> list[tuple[tuple[PromptToken, ...], str]]:
        """Each prompt's tokens and text. Raises `InvalidPrompt`."""
        return [self._tokenized(prompt, opens=request.opens) for prompt in request.prompts]

    def _tokenized(self, prompt: Prompt, *, opens: bool) -> tuple[tuple[PromptToken, ...], str]:
        text: str | None = None
        match prompt:
            case ChatPrompt(context=context) | TextPrompt(context=context) if templated(prompt):
                parts = self._template.segments(prompt)
                text, ids = self._spelled(context) + "".join(parts), self._joined(parts, context)
            case InfillPrompt() if prompt.template:
                parts = self._template.segments(prompt)
                text, ids = "".join(parts), self._joined(parts)
            case TextPrompt(text=text, context=context):
                # As an embedding sees it: with the EOS, too, where the tokenizer adds one, and nothing for nothing.
                start = opens and not context
                ids = [*context, *self._vocabulary.tokenize(text, special=prompt.special, start=start)]
            case _:
                ids = list(prompt.ids) if isinstance(prompt, TokenPrompt) else self._ids(prompt)
        most = max(TOLD_TOKENS, self._context)
        if len(ids) > most:
            raise InvalidPrompt(f"there are {len(ids)} tokens; at most {most} are told", code="invalid_prompt")
        self._check(ids)
        if text is None:
            text = self._spelled(ids)
        return self._reported(ids), text

    def _spelled(self, ids: Iterable[int]) -> str:
        return b"".join(map(self._vocabulary.piece, ids)).decode(errors="replace")

    def _sequence(
        self,
        request: GenerationRequest,
        prompt: Prompt,
        ids: list[int],
        *,
        limit: int,
        choice: int,
        past: Past,
    ) -> Sequence:
        number = choice % request.n
        sampling = dataclasses.replace(request.sampling, seed=(request.sampling.seed + number) % (MAX_SEED + 1))
        end = self._end(ids)
        # Whoever began the answer has told the prompt.
        reported = choice not in past.said and (request.want_prompt or request.prompt_logprobs is not None)
        sequence = Sequence(
            request_id=request.id,
            choice=choice,
            prompt=ids,
            sampler=self._sampler(request, sampling, prompt, ids, end),
            text=Text(request.stop, keep_stop=request.keep_stop),
            rules=self._rules(request, prompt, ids, limit, scores=reported),
            reply=self._answers.reply(request, prompt, end),
            seed=sampling.seed,
            reported_prompt=self._reported(ids) if reported else (),
            adapter=request.adapter,
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
        self, request: GenerationRequest, sampling: Sampling, prompt: Prompt, ids: list[int], end: str
    ) -> Sampler:
        bias: dict[int, float] = {}
        for token, value in sampling.logit_bias:
            # A text is biased as a whole by biasing whatever it consists of (llama.cpp).
            spelled = [token] if isinstance(token, int) else self._tokens(token)
            for number in spelled:
                bias[number] = bias.get(number, 0.0) + value
        self._check(list(bias))
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
        return tuple(PromptToken(token, piece(token), special=is_marker(token)) for token in ids)

    def _end(self, ids: list[int]) -> str:
        """How the prompt ends, as text."""
        return self._spelled(ids[-END_CHARACTERS:])[-END_CHARACTERS:]

    def _added(self, prompt: Prompt) -> int:
        """A BOS that was added is kept beside the tokens the caller means."""
        return int(self._vocabulary.adds_bos and not isinstance(prompt, TokenPrompt))

    def _ids(self, prompt: Prompt) -> list[int]:
        match prompt:
            case ChatPrompt() | TextPrompt() if templated(prompt):
                ids = self._joined(self._template.segments(prompt), prompt.context)
            case TextPrompt():
                start = not prompt.context
                ids = [*prompt.context, *self._opened(prompt.text, special=prompt.special, start=start)]
            case TokenPrompt():
                ids = list(prompt.ids)
            case InfillPrompt() if prompt.template:
                ids = self._joined(self._template.segments(prompt))
            case MixedPrompt():
                ids = []
                for each in prompt.parts:
                    ids += [each] if isinstance(each, int) else self._opened(each, special=False, start=not ids)
            case InfillPrompt():
                ids = self._infill(prompt)
        self._check(ids)
        return ids or [self._vocabulary.start]

    def _joined(self, parts: Iterable[str], context: Iterable[int] = ()) -> list[int]:
        ids = list(context)
        for part in parts:
            ids += self._opened(part, special=True, start=not ids)
        return ids

    def _opened(self, text: str, *, special: bool, start: bool) -> list[int]:
        """With a BOS where the model wants one, but without the EOS that some tokenizers put behind every text."""
        ids = self._vocabulary.tokenize(text, special=special, start=start)
        closed = start and self._vocabulary.adds_eos and ids and ids[-1] in self._vocabulary.ends
        return ids[:-1] if closed else ids

    def _infill(self, prompt: InfillPrompt) -> list[int]:
        """Prefix, suffix, then the middle is the model's (Bavarian et al. 2022: PSM)."""
        if self._vocabulary.infill is None:
            raise InvalidPrompt("this model cannot fill in the middle: it has no tokens for it", code="unsupported")
        before, behind, middle = self._vocabulary.infill
        ids = [*self._opened("", special=False, start=True), before, *self._tokens(prompt.prefix)]
        return [*ids, behind, *self._tokens(prompt.suffix), middle]

    def _tokens(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, special=False, start=False)

    def _check(self, ids: list[int]) -> None:
        size = self._vocabulary.size
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise InvalidPrompt(f"token id {wrong} is out of vocabulary (0 to {size - 1})", code="invalid_prompt")

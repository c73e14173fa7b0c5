"""One choice of one request while it lives here: its tokens, its slot, its sampler, its text.

There is no prefill and no decode mode: there are tokens known and tokens computed, and the second catch up with the
first. A sequence whose last known token is about to be computed will know one more after the step.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Protocol

from tropilla.common.generation import (
    Alternative,
    CallDelta,
    Finished,
    PromptToken,
    Reason,
    Timings,
    Token,
    Usage,
)
from tropilla.workers.text import Text
from tropilla.workers.views import Span, Spans

#: So many tokens are said sooner than one slot is exchanged for another.
NEARLY_DONE = 4


class Sampler(Protocol):
    """What a sequence needs of its `sampler.Sampler`."""

    @property
    def ended(self) -> bool: ...
    def accept(self, token: int) -> None: ...


class Said(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def calls(self) -> tuple[CallDelta, ...]: ...


class Reply(Protocol):
    """What takes reasoning and tool calls out of text: `replies.Reply`."""

    @property
    def reasoning(self) -> bool: ...
    def feed(self, text: str) -> Said: ...
    def flush(self) -> Said: ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """One token a step produced, with what the vocabulary knows of it."""

    id: int
    #: The token's own bytes; markers such as an EOS are spelled out.
    piece: bytes
    #: The model ends its turn.
    ends: bool
    #: A marker, not text.
    special: bool
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """When a sequence ends, and what of it is told."""

    max_tokens: int
    min_tokens: int = 0
    stop_tokens: Collection[int] = ()
    #: Tokens it may hold at once, prompt and answer together.
    context: int = 1 << 31
    #: When the context is full: keep so many tokens of its beginning and go on. None: end.
    shift_keep: int | None = None
    #: None: no log-probabilities. N: of the N likeliest alternatives too.
    logprobs: int | None = None
    #: As `logprobs`, of the prompt's tokens.
    prompt_logprobs: int | None = None
    #: Markers that are tags of the reply's syntax, and so part of its text.
    tags: Collection[bytes] = ()
    #: All other markers are text, too.
    show_markers: bool = False


class Sequence:
    """Owned by the loop's thread from the moment it is added."""

    def __init__(
        self,
        *,
        request_id: str,
        choice: int,
        prompt: list[int],
        sampler: Sampler,
        text: Text,
        rules: Rules,
        reply: Reply | None = None,
        seed: int = 0,
        reported_prompt: tuple[PromptToken, ...] = (),
        adapter: str = "",
        spans: SequenceOf[Span] = (),
        encoding_seconds: float = 0.0,
    ) -> None:
        assert prompt, "a sequence needs a token to start from"
        assert prompt[-1] >= 0, "the next token is drawn from a token"
        assert not spans or rules.shift_keep is None, "a context with images does not shift"
        self.request_id = request_id
        self.choice = choice
        #: Places of images are negative (views.py).
        self.tokens = list(prompt)
        self.views = Spans(spans)
        self.prompt_length = len(prompt)
        self.sampler = sampler
        self.text = text
        self.rules = rules
        self.reply = reply
        self.seed = seed
        self.reported_prompt = reported_prompt
        #: The LoRA adapter that computes it; "" is the model as it is.
        self.adapter = adapter
        #: Who asks, and how urgently, 0 the most; see fairness.py. Set before it is added.
        self.key = ""
        self.rank = 0
        #: Its place in the order of arrival, and how often it has been given a slot.
        self.place = self.seatings = 0
        #: Tokens whose KV cells are there; of the prompt's, `cached` were there before.
        self.computed = 0
        self.cached = 0
        self.generated = 0
        self.slot: int | None = None
        #: Places no longer are what a prefix would make of them: they cannot be shared.
        self.shifted = False
        #: It is nobody's request: what it computes is for no one to share, and stands in no statistics (canary.py).
        self.alone = False
        #: The prompt's own log-probabilities have been told.
        self.scored = False
        self.reason: Reason | None = None
        self.stop_token: int | None = None
        self._reasoning_tokens = 0
        #: What its images took before it was added: a part of its prefill.
        self.encoding_seconds = encoding_seconds
        self.added_at = self.started_at = self.first_token_at = 0.0

    @property
    def pending(self) -> int:
        """Tokens known that the KV cache does not hold yet."""
        return len(self.tokens) - self.computed

    @property
    def sharable(self) -> int:
        """How many of its first places hold what a prefix would make of them, at positions of their own number: none once
        it has shifted, and with M-RoPE those before its first image.
        """
        straight = self.views.straight
        return 0 if self.shifted else len(self.tokens) if straight is None else straight

    @property
    def scores_prompt(self) -> bool:
        """The prompt's own log-probabilities are still wanted, so that all of it must be computed."""
        return self.rules.prompt_logprobs is not None and not self.scored

    @property
    def nearly_done(self) -> bool:
        """It is not worth while to take its slot away."""
        return self.rules.max_tokens - self.generated <= NEARLY_DONE

    @property
    def full(self) -> bool:
        return len(self.tokens) >= self.rules.context

    def resume(self, tokens: SequenceOf[tuple[int, bytes, bool]]) -> None:
        """Puts the sequence where it was when these tokens had been generated: (id, bytes, special) each. Nothing comes
        out again.
        """
        assert self.computed == 0
        for token, piece, special in tokens:
            self.sampler.accept(token)
            self._take(Sampled(token, piece, ends=False, special=special))
            if self.full and self.rules.shift_keep is not None:
                self.shift()

    def shift(self) -> tuple[int, int]:
        """The context is full: half of what lies behind the kept beginning goes, and the rest moves up. Answers how many
        tokens are kept, and how many are gone.
        """
        keep = min(max(self.rules.shift_keep or 0, 0), self.rules.context - 2)
        gone = max((len(self.tokens) - keep) // 2, 1)
        del self.tokens[keep : keep + gone]
        self.shifted = True
        return keep, gone

    def take(self, sampled: Sampled, index: int, now: float) -> Token:
        """Accepts the next token; afterwards `reason` says whether it was the last. `index` is the event's number."""
        if not self.first_token_at:
            self.first_token_at = now
        said = self._take(sampled)
        self.reason = self._reason(sampled)
        if self.reason is not None:
            said = said.plus(self._flush())
        wanted = self.rules.logprobs is not None
        return Token(
            index=index,
            choice=self.choice,
            id=sampled.id,
            text=said.text,
            special=sampled.special or sampled.ends,
            last=self.reason is not None,
            piece=sampled.piece if wanted else b"",
            logprob=sampled.logprob if wanted else None,
            top=sampled.top if wanted else (),
            reasoning=said.reasoning,
            calls=said.calls,
        )

    def _take(self, sampled: Sampled) -> _Shown:
        self.tokens.append(sampled.id)
        self.generated += 1
        hidden = sampled.ends or sampled.id in self.rules.stop_tokens
        hidden = hidden or (sampled.special and not self._is_text(sampled.piece))
        armed = self.generated > self.rules.min_tokens
        text = "" if hidden else self.text.feed(sampled.piece, armed=armed)
        thinking = self.reply is not None and self.reply.reasoning
        shown = _Shown(text) if self.reply is None else _shown(self.reply.feed(text))
        if thinking or (self.reply is not None and self.reply.reasoning):
            self._reasoning_tokens += 1
        return shown

    def _is_text(self, marker: bytes) -> bool:
        return self.rules.show_markers or marker in self.rules.tags

    def _flush(self) -> _Shown:
        text = self.text.flush()
        return _Shown(text) if self.reply is None else _shown(self.reply.feed(text)).plus(_shown(self.reply.flush()))

    def _reason(self, sampled: Sampled) -> Reason | None:
        early = self.generated <= self.rules.min_tokens
        if sampled.ends and not early:
            return "eos"
        if sampled.id in self.rules.stop_tokens and not early:
            self.stop_token = sampled.id
            return "stop"
        if self.text.stopped:
            return "stop"
        if self.sampler.ended:
            return "eos"
        if self.generated >= self.rules.max_tokens or (self.full and self.rules.shift_keep is None):
            return "length"
        return None

    def finish(self, index: int, now: float, worker: str, *, load_seconds: float = 0.0) -> Finished:
        """The choice's last event. Not having a reason of its own, it was cancelled."""
        started = self.started_at or now
        first = self.first_token_at or now
        usage = Usage(self.prompt_length, min(self.cached, self.prompt_length), self.generated, self._reasoning_tokens)
        return Finished(
            index=index,
            choice=self.choice,
            reason=self.reason or "cancelled",
            usage=usage,
            seed=self.seed,
            stop=self.text.stopped,
            timings=Timings(
                queue=started - self.added_at,
                load=load_seconds,
                prefill=first - started + self.encoding_seconds,
                decode=now - first,
            ),
            worker=worker,
            stop_token=self.stop_token,
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = field(default=())

    def plus(self, more: _Shown) -> _Shown:
        return _Shown(self.text + more.text, self.reasoning + more.reasoning, self.calls + more.calls)


def _shown(said: Said) -> _Shown:
    return _Shown(said.text, said.reasoning, said.calls)

"""One choice of one request while it lives here: its tokens, its slot, its sampler, its text.

There is no prefill and no decode mode: there are tokens known and tokens computed, and the second catch up with the
first. A sequence whose last known token is about to be computed will know one more after the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tropilla.common.generation import Alternative, Finished, PromptToken, Reason, Timings, Token, Usage
from tropilla.workers.text import Text


class Sampler(Protocol):
    """What `llama.Sampler` is to a sequence: something to be let go of."""

    def close(self) -> None: ...


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


class Sequence:
    """Owned by the loop's thread from the moment it is added."""

    def __init__(
        self,
        *,
        request_id: str,
        choice: int,
        prompt: list[int],
        max_tokens: int,
        sampler: Sampler,
        text: Text,
        seed: int = 0,
        logprobs: int | None = None,
        reported_prompt: tuple[PromptToken, ...] = (),
    ) -> None:
        assert prompt, "a sequence needs a token to start from"
        self.request_id = request_id
        self.choice = choice
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.max_tokens = max_tokens
        self.sampler = sampler
        self.text = text
        self.seed = seed
        self.logprobs = logprobs
        self.reported_prompt = reported_prompt
        self.computed = 0
        self.slot: int | None = None
        self.reason: Reason | None = None
        self.added_at = self.started_at = self.first_token_at = 0.0

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_length

    @property
    def pending(self) -> int:
        """Tokens known that the KV cache does not hold yet."""
        return len(self.tokens) - self.computed

    def take(self, sampled: Sampled, index: int, now: float) -> Token:
        """Accepts the next token; afterwards `reason` says whether it was the last. `index` is the event's number."""
        self.tokens.append(sampled.id)
        if self.generated == 1:
            self.first_token_at = now
        shown = "" if sampled.special or sampled.ends else self.text.feed(sampled.piece)
        self.reason = self._reason(sampled)
        if self.reason is not None:
            shown += self.text.flush()
        wanted = self.logprobs is not None
        return Token(
            index=index,
            choice=self.choice,
            id=sampled.id,
            text=shown,
            special=sampled.special or sampled.ends,
            last=self.reason is not None,
            piece=sampled.piece if wanted else b"",
            logprob=sampled.logprob if wanted else None,
            top=sampled.top if wanted else (),
        )

    def _reason(self, sampled: Sampled) -> Reason | None:
        if sampled.ends:
            return "eos"
        if self.text.stopped:
            return "stop"
        return "length" if self.generated >= self.max_tokens else None

    def finish(self, index: int, now: float, worker: str) -> Finished:
        """The choice's last event. Not having a reason of its own, it was cancelled."""
        started = self.started_at or now
        first = self.first_token_at or now
        return Finished(
            index=index,
            choice=self.choice,
            reason=self.reason or "cancelled",
            usage=Usage(prompt=self.prompt_length, cached=0, generated=self.generated),
            seed=self.seed,
            stop=self.text.stopped,
            timings=Timings(queue=started - self.added_at, prefill=first - started, decode=now - first),
            worker=worker,
        )

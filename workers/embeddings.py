"""Embedding requests: their inputs as tokens, and passes over the inputs of many requests at once.

`inputs` runs in the thread that holds the ticket, the desk in the one that owns the model. The desk decides what goes into
a pass and what is said of it; an embedder, which it is given, evaluates.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
from numpy.typing import NDArray
from tropilla.common.errors import ContextExceeded, GenerationFailed, InvalidPrompt, to_failed
from tropilla.common.generation import (
    Embedded,
    EmbeddingRequest,
    Fit,
    MixedPrompt,
    Prompt,
    TextPrompt,
    TokenPrompt,
    images_of,
)
from tropilla.workers.loop import Job, Outgoing

log = logging.getLogger(__name__)


class Embedder(Protocol):
    """What the desk needs of `llama.Embedder`."""

    #: How many inputs, and how many tokens in all, one pass takes; an input that is longer goes alone.
    sequences: int
    tokens: int

    def embed(self, inputs: Sequence[Sequence[int]]) -> list[NDArray[numpy.float32]]: ...


@dataclass(eq=False, slots=True)
class _Order:
    """One request's inputs that are still to be evaluated, the first of them in front."""

    job: Job
    waiting: deque[list[int]]
    dimensions: int | None
    normalize: bool
    #: When it came, in the desk's time.
    since: float
    choice: int = 0
    tokens: int = 0


class Desk:
    """Gathers the inputs of many requests and evaluates them in passes, oldest first. All methods belong to one thread."""

    def __init__(self, embedder: Embedder, *, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._embedder = embedder
        self._worker = worker
        self._clock = clock
        #: By request, in order of arrival. Whoever stands here has an input waiting.
        self._orders: dict[str, _Order] = {}

    @property
    def idle(self) -> bool:
        return not self._orders

    def add(self, job: Job, inputs: list[list[int]], *, dimensions: int | None, normalize: bool) -> None:
        """Queues a request behind those already here, and takes the place of an earlier attempt of its own."""
        assert inputs, "a request without inputs needs no worker"
        self.take_away(job.request_id, job.attempt - 1)
        # An earlier attempt has told the first of them, one event each.
        done = job.next_index
        self._orders[job.request_id] = _Order(
            job, deque(inputs[done:]), dimensions, normalize, self._clock(), choice=done
        )

    def cancel(self, request_id: str) -> list[Outgoing]:
        """Nobody wants the request: ends it. Unknown ones are ignored.

        By a failure, which ends the journal whatever the number of inputs: there is no vector that says "cancelled".
        """
        order = self._orders.get(request_id)
        if order is None:
            return []
        ending = self._fail(order, GenerationFailed("the request was cancelled", code="cancelled"))
        order.job.outcome = "cancelled"
        return [ending]

    def take_away(self, request_id: str, attempt: int) -> None:
        """Drops the request without a word, unless a later attempt than this is here."""
        order = self._orders.get(request_id)
        if order is not None and order.job.attempt <= attempt:
            del self._orders[request_id]
            order.job.be_taken_away()

    def hand_back(self) -> None:
        """Drops every request here without a word, so that another worker goes on with it."""
        for order in self._orders.values():
            order.job.hand_back()
        self._orders.clear()

    def fail_all(self, failure: GenerationFailed) -> list[Outgoing]:
        """Ends every request here."""
        return [self._fail(order, failure) for order in list(self._orders.values())]

    def step(self) -> list[Outgoing]:
        """One forward pass, and what came of it. A refusal of the embedder ends the requests of this pass, no others."""
        batch = list(self._next())
        if not batch:
            return []
        try:
            vectors = self._embedder.embed([ids for _, ids in batch])
        except GenerationFailed as failure:
            log.warning("a pass of %d inputs failed: %s", len(batch), failure.message)
            return [self._fail(order, failure) for order in dict.fromkeys(order for order, _ in batch)]
        # One at a time: a vector that is refused ends its request, whose other inputs in this pass are not told of.
        return [
            self._answer(order, vector)
            for (order, _), vector in zip(batch, vectors, strict=True)
            if order.job.request_id in self._orders
        ]

    def _next(self) -> Iterator[tuple[_Order, list[int]]]:
        """What fits into a pass, strictly in order: nobody is overtaken because he is longer."""
        count = tokens = 0
        for order in self._orders.values():
            for ids in order.waiting:
                count, tokens = count + 1, tokens + len(ids)
                if count > 1 and (count > self._embedder.sequences or tokens > self._embedder.tokens):
                    return
                yield order, ids

    def _answer(self, order: _Order, vector: NDArray[numpy.float32]) -> Outgoing:
        job = order.job
        try:
            data = finish_vector(vector, order.dimensions, normalize=order.normalize)
        except GenerationFailed as failure:
            return self._fail(order, failure)
        size, choice = len(order.waiting.popleft()), order.choice
        order.choice, order.tokens = choice + 1, order.tokens + size
        job.open_choices -= 1
        ends = not order.waiting
        if ends:
            del self._orders[job.request_id]
            job.outcome = f"embedded, {order.choice} inputs of {order.tokens} tokens"
        seconds = self._clock() - order.since
        return Outgoing(job, Embedded(job.number(), choice, data, size, self._worker, seconds), ends)

    def _fail(self, order: _Order, failure: GenerationFailed) -> Outgoing:
        del self._orders[order.job.request_id]
        order.job.outcome = f"failed: {failure.code}"
        return Outgoing(order.job, to_failed(failure, order.job.number()), ends=True)


def finish_vector(vector: NDArray[Any], dimensions: int | None, *, normalize: bool) -> bytes:
    """The first `dimensions`, brought to length 1 if wanted, as little-endian 32-bit floats. A zero vector stays zero.

    Raises `GenerationFailed` for a vector that is not made of numbers.
    """
    cut = vector[:dimensions].astype(numpy.float64)
    if not numpy.isfinite(cut).all():
        raise GenerationFailed("the embedding contains NaN or Inf values")
    length = float(numpy.linalg.norm(cut)) if normalize else 1.0
    return (cut / (length or 1.0)).astype("<f4").tobytes()


class Vocabulary(Protocol):
    """What `inputs` needs of `llama.Vocabulary`."""

    size: int
    start: int

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]: ...


def inputs(request: EmbeddingRequest, vocabulary: Vocabulary, *, longest: int, length: int) -> list[list[int]]:
    """The token ids of each input. Raises `ContextExceeded` or `InvalidPrompt`.

    longest: tokens one input may have; length: dimensions of the model's vectors.
    """
    if request.dimensions is not None and not 1 <= request.dimensions <= length:
        text = f"{request.dimensions} dimensions are wanted; the model's vectors have {length}"
        raise InvalidPrompt(text, code="invalid_prompt", facts={"dimensions": request.dimensions, "length": length})
    if images_of(request):
        raise InvalidPrompt("only text and token ids can be embedded, no images", code="unsupported")
    limit = min(longest, request.fit.context_limit or longest)
    return [_ids(prompt, vocabulary, request.fit, limit) for prompt in request.prompts]


def _ids(prompt: Prompt, vocabulary: Vocabulary, fit: Fit, limit: int) -> list[int]:
    match prompt:
        case TextPrompt():
            # Markers, BOS or CLS in front, EOS or SEP behind, come from the tokenizer as the model's header wants them.
            ids = [*prompt.context, *vocabulary.tokenize(prompt.text, special=prompt.special, start=not prompt.context)]
            # Empty text and a model that adds nothing: the vector of what every text starts from.
            ids = ids or [vocabulary.start]
        case MixedPrompt(parts=parts):
            ids = []
            for part in parts:
                ids += [part] if isinstance(part, int) else vocabulary.tokenize(part, special=False, start=not ids)
        case TokenPrompt(ids=given) if given:
            ids = list(given)
        case TokenPrompt():
            raise InvalidPrompt("an input has no tokens", code="invalid_prompt")
        case _:
            raise InvalidPrompt("only text and token ids can be embedded", code="unsupported")
    wrong = next((token for token in ids if not 0 <= token < vocabulary.size), None)
    if wrong is not None:
        text = f"token id {wrong} is out of vocabulary (0 to {vocabulary.size - 1})"
        raise InvalidPrompt(text, code="invalid_prompt")
    if len(ids) <= limit:
        return ids
    head, tail = _added(prompt, vocabulary)
    # What the tokenizer added is kept, if something of the text can stay between.
    if fit.overlong != "shorten" or limit <= head + tail:
        text = f"the input has {len(ids)} tokens; the context has {limit}"
        raise ContextExceeded(text, code="context_length", facts={"prompt_tokens": len(ids), "context": limit})
    return ids[: limit - tail] + ids[len(ids) - tail :]


def _added(prompt: Prompt, vocabulary: Vocabulary) -> tuple[int, int]:
    """How many tokens the tokenizer adds before a text and behind it; llama.cpp does not say, so both are compared."""
    if not isinstance(prompt, TextPrompt) or prompt.context:
        return 0, 0
    plain, full = (vocabulary.tokenize(prompt.text, special=prompt.special, start=start) for start in (False, True))
    both = len(full) - len(plain)
    head = next((size for size in range(both + 1) if full[size : size + len(plain)] == plain), both)
    return head, both - head

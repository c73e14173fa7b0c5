"""What the next token of a constrained answer may be.

    Grammars (one a model)  --matcher()-->  Matcher (one a sequence):  mask(row), sample, accept(token), until ended

llguidance answers with one bit a token. numpy has no bit masks, so each byte of the answer is looked up in a table that
has eight floats for it, 0 or -inf, and the result is added to the logits: no branches, and nothing allocated but indices.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from tropilla.common.errors import GenerationFailed, InvalidPrompt
from tropilla.common.generation import FailureCode
from tropilla.common.grammar import LIMITS, after_reasoning, sentence

#: Compiled grammars kept per model. Each keeps what its lexer has learnt, at most about 50 MB, mostly far below one.
MAX_GRAMMARS = 32

#: For each byte, what its eight bits, lowest first, add to eight logits.
_TABLE = numpy.where(
    numpy.unpackbits(numpy.arange(256, dtype=numpy.uint8)[:, None], axis=1, bitorder="little") == 1, 0.0, -numpy.inf
).astype(numpy.float32)


class Grammars:
    """Makes matchers for one model. Safe from every thread.

    `make_tokenizer` is called once, when the first constrained request comes. `max_grammars` compiled ones are kept.
    """

    def __init__(self, make_tokenizer: Callable[[], LLTokenizer], *, max_grammars: int = MAX_GRAMMARS) -> None:
        self._make_tokenizer = make_tokenizer
        self._max_grammars = max_grammars
        self._tokenizer: LLTokenizer | None = None
        self._making = threading.Lock()
        #: Guards `_compiled` only: nobody waits here for somebody else's grammar to be compiled.
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._scratch = _Scratch()

    def matcher(self, grammar: str, *, close: str = "") -> Matcher:
        """At the start of an answer. With `close` the grammar binds after that tag, which ends the reasoning block.

        grammar: as `common.grammar.grammar_of` gives it. Raises `InvalidPrompt` when this model cannot keep it.
        """
        if close:
            grammar = self._after(grammar, close)
        compiled = self._find(grammar)
        if compiled is None:
            compiled = LLMatcher(self._ready(), grammar, limits=LIMITS, log_level=0)
            if compiled.is_error():
                raise InvalidPrompt(sentence("grammar", compiled.get_error()), code="constraint")
            self._keep(grammar, compiled)
        # A copy shares the lexer and all it has learnt, so one that has failed must not be copied again.
        return Matcher(compiled.deep_copy(), self._ready(), self._scratch, on_failure=lambda: self._drop(grammar))

    def _ready(self) -> LLTokenizer:
        with self._making:
            if self._tokenizer is None:
                self._tokenizer = self._make_tokenizer()
            return self._tokenizer

    def _after(self, grammar: str, close: str) -> str:
        """By id, since a tag that is one special token need not be spelled `<...>`: Mistral's is `[/THINK]`."""
        tokenizer = self._ready()
        ids = tokenizer.tokenize_str(close, parse_special=True)
        if len(ids) == 1 and tokenizer.is_special_token(ids[0]):
            return after_reasoning(grammar, close, marker=True, token=ids[0])
        return after_reasoning(grammar, close, marker=False)

    def _find(self, grammar: str) -> LLMatcher | None:
        with self._lock:
            if grammar in self._compiled:
                self._compiled.move_to_end(grammar)
            return self._compiled.get(grammar)

    def _keep(self, grammar: str, compiled: LLMatcher) -> None:
        with self._lock:
            self._compiled[grammar] = compiled
            while len(self._compiled) > self._max_grammars:
                self._compiled.popitem(last=False)

    def _drop(self, grammar: str) -> None:
        with self._lock:
            self._compiled.pop(grammar, None)


class Matcher:
    """Where one answer stands in its grammar. Fed the same tokens, another one stands in the same place.

    Used by one thread at a time. After any error it only raises.
    """

    def __init__(
        self, matcher: LLMatcher, tokenizer: LLTokenizer, scratch: _Scratch, *, on_failure: Callable[[], None]
    ) -> None:
        self._matcher = matcher
        self._size = int(tokenizer.vocab_size)
        self._scratch = scratch
        self._on_failure = on_failure
        self._failure: GenerationFailed | None = None

    @property
    def ended(self) -> bool:
        """Nothing but the end of the turn may follow."""
        return self._matcher.is_stopped()

    def mask(self, row: NDArray[numpy.float32]) -> None:
        """Sets to -inf, in place, the logit of every token that may not come next.

        A row may be longer than the vocabulary (padding; never allowed) or shorter. Raises `GenerationFailed` when
        no token is left or the grammar has become too complex.
        """
        if self._failure is not None:
            raise self._failure
        words, bias = self._scratch.room(self._size)
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        # llguidance allows the end of the turn when it fails.
        if self._matcher.is_error():
            raise self._failed(self._matcher.get_error(), code="constraint")
        # "clip" writes into `bias` directly, any other mode goes through a second buffer.
        numpy.take(_TABLE, words.view(numpy.uint8), axis=0, out=bias, mode="clip")
        known = min(len(row), self._size)
        numpy.add(row[:known], bias.reshape(-1)[:known], out=row[:known])
        row[known:] = -numpy.inf
        if row.max() == -numpy.inf:
            raise self._failed("no token of this model can follow", code="constraint")

    def accept(self, token: int) -> None:
        """Goes one token further. Raises `GenerationFailed` when the grammar does not allow it: it was not masked."""
        if self._failure is not None:
            raise self._failure
        # Only `consume_token` takes the end of a turn after the answer's, and only the other one tells its own
        # troubles from a wrong token.
        if self.ended:
            taken = self._matcher.consume_token(token)
        else:
            taken = self._matcher.try_consume_tokens([token]) == 1
            if self._matcher.is_error():
                raise self._failed(self._matcher.get_error(), code="constraint")
        if not taken:
            raise self._failed(f"token {token} was chosen against it", code="internal")

    def _failed(self, reason: str, *, code: FailureCode) -> GenerationFailed:
        self._on_failure()
        self._failure = GenerationFailed(sentence("grammar", reason), code=code)
        return self._failure


class _Scratch(threading.local):
    """One answer of llguidance and what it becomes, for each thread that masks: 0.6 MB at 152,000 tokens."""

    def __init__(self) -> None:
        self._words = numpy.zeros(0, numpy.uint32)
        self._bias = numpy.zeros((0, 8), numpy.float32)

    def room(self, vocabulary: int) -> tuple[NDArray[numpy.uint32], NDArray[numpy.float32]]:
        """Buffers for so many tokens, of unknown content."""
        count = -(-vocabulary // 32)
        if len(self._words) != count:
            self._words = numpy.zeros(count, numpy.uint32)
            self._bias = numpy.zeros((count * 4, 8), numpy.float32)
        return self._words, self._bias

"""The books on generations: how many are in flight in this process, what each took, and how it ended.

Nothing is done per token: a request is written down when it comes, at its first token and when it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from tropilla.api.surface import Call
from tropilla.api.watch import ClientGone, Pulse
from tropilla.common.errors import GenerationFailed, Overloaded, RequestError, StoreUnavailable, WorkerLost, from_failed
from tropilla.common.generation import ChatPrompt, Event, Failed, Finished, Token
from tropilla.common.metrics import DURATIONS, EACH_TOKEN, FIRST_TOKEN, SECONDS, TOKENS, WAITS, Tally, hundredths

#: Seconds after which a caller who was refused may ask again.
RETRY_SECONDS = 1
#: What a failure is counted as; the nearest class counts. `template` is told by its code.
FAILURES: Mapping[type[BaseException], str] = {
    Overloaded: "overloaded",
    WorkerLost: "incomplete",
    GenerationFailed: "generation",
    StoreUnavailable: "generation",
    RequestError: "validation",
    ClientGone: "dropped",
    BaseException: "generation",
}


class Ledger:
    """Opens an account for each generation, for so many at a time."""

    def __init__(self, tally: Tally, most: int, clock: Callable[[], float] = time.time) -> None:
        self.tally, self.clock = tally, clock
        self._most = most
        self._open = 0
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        return self._open

    def open(self) -> Account:
        """Raises `Overloaded` at once when there are too many: it never waits."""
        with self._lock:
            if self._open >= self._most:
                self.tally.count("request_count")
                self.tally.count("request_failure", label="overloaded")
                raise Overloaded(f"{self._most} requests are in flight", retry_after_seconds=RETRY_SECONDS)
            self._open += 1
        return Account(self)

    def close(self) -> None:
        with self._lock:
            self._open -= 1


class Account:
    """One generation, from receipt to the last byte. To be closed, once or more often; leaving its `with` block closes
    it unless it is `kept` open for a stream.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._call: Call | None = None
        self._context = 0
        self._finished: list[Finished] = []
        self._failure = ""
        self._closed = False
        self._anothers = False
        self._first_token_at = 0.0
        self.kept = False

    def understood(self, call: Call, context: int) -> None:
        """What was asked for, and how many tokens its model has room for."""
        self._call, self._context = call, context

    def join(self) -> None:
        """What is told is another request's answer, which is on the books already, or will be."""
        self._anothers = True

    @property
    def waits(self) -> bool:
        """Nothing was generated yet."""
        return not self._first_token_at

    def hear(self, event: Event | Pulse) -> None:
        """To be told of every event that ends something, and of all while it `waits`; others may be told, too."""
        if isinstance(event, Token):
            self._first_token_at = self._first_token_at or self._ledger.clock()
        elif isinstance(event, Finished):
            self._finished.append(event)
        elif isinstance(event, Failed):
            self.fail(from_failed(event))

    def fail(self, error: BaseException) -> None:
        told = next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)
        if isinstance(error, GenerationFailed) and told != "incomplete":
            told = "template" if error.code == "template" else "validation" if error.status < 500 else told
        self._failure = self._failure or told

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._ledger.close()
        if self._anothers or (self._call is None and not self._failure):
            # Something was answered that is no generation, or no new one.
            return
        model = self._call.request.model if self._call else ""
        tally = self._ledger.tally
        tally.count("request_count", model)
        failed = self._call is None or self._failure or len(self._finished) < self._call.request.choices
        reason = (self._failure or "dropped") if failed else ""
        if self._call is not None:
            total = max(self._ledger.clock() - self._call.received, 0.0)
            label = ",".join(filter(None, (_operation(self._call), reason)))
            tally.observe("gen_ai_request", total, DURATIONS, model, label=label)
        if self._call is None or failed:
            tally.count("request_failure", model, label=reason)
        else:
            self._book(self._call, tally)

    def _book(self, call: Call, tally: Tally) -> None:
        model, now = call.request.model, self._ledger.clock()
        total, validation = max(now - call.received, 0.0), max(call.queued - call.received, 0.0)
        # Choices are computed side by side, and the clocks of two machines are never subtracted.
        inference = max(one.timings.prefill + one.timings.decode for one in self._finished)
        queue = max(total - validation - inference, 0.0)
        tally.count("request_success", model)
        for name, seconds in (("", total), ("_validation", validation), ("_queue", queue), ("_inference", inference)):
            tally.observe(f"request{name}_duration", seconds, SECONDS, model)
        most = self._context if call.request.max_tokens is None else call.request.max_tokens
        tally.observe("request_max_new_tokens", most, hundredths(self._context), model)
        operation = _operation(call)
        if self._first_token_at:
            first = max(self._first_token_at - call.received, 0.0)
            tally.observe("gen_ai_first_token", first, FIRST_TOKEN, model, label=operation)
        for one in self._finished:
            self._book_choice(one, tally, model)
            self._book_terms(one, tally, model, operation)

    def _book_terms(self, one: Finished, tally: Tally, model: str, operation: str) -> None:
        """In the terms of OpenTelemetry, and where an answer's time went."""
        if one.usage.generated > 1:
            each = one.timings.decode / (one.usage.generated - 1)
            tally.observe("gen_ai_each_token", each, EACH_TOKEN, model, label=operation)
        for kind, tokens in (("input", one.usage.prompt), ("output", one.usage.generated)):
            tally.observe("gen_ai_tokens", tokens, TOKENS, model, label=f"{operation},{kind}")
        tally.observe("prefill", one.timings.prefill, WAITS, model)
        tally.observe("decode", one.timings.decode, WAITS, model)

    def _book_choice(self, one: Finished, tally: Tally, model: str) -> None:
        spent = (one.timings.prefill + one.timings.decode) / max(one.usage.generated, 1)
        tally.observe("request_mean_time_per_token_duration", spent, SECONDS, model)
        tally.observe("request_generated_tokens", one.usage.generated, hundredths(self._context), model)
        tally.observe("request_input_length", one.usage.prompt, hundredths(self._context - 1), model)
        tally.observe("request_skipped_tokens", one.usage.cached, hundredths(self._context - 1), model)

    def __enter__(self) -> Account:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self.fail(error)
        if error is not None or not self.kept:
            self.close()


def _operation(call: Call) -> str:
    """What OpenTelemetry calls it."""
    return "chat" if isinstance(call.request.prompts[0], ChatPrompt) else "text_completion"

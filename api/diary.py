"""What is written down of each HTTP request when it is over: a line in the log, and its span where somebody collects them.

Both are made of what was measured on the way; a token costs them nothing but the question whether it is the first. Neither
has a word of what was asked or answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from tropilla.api import genai
from tropilla.api.watch import ClientGone, Pulse
from tropilla.common import logs, tracing
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import (
    Embedded,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    Loaded,
    Request,
    Token,
    Tokenized,
)
from tropilla.common.settings import Settings
from tropilla.common.spans import Place, Span, Value, parse
from tropilla.common.tracing import Collector

log = logging.getLogger(__name__)

#: What is asked for by the second, and says nothing new: told at level debug unless it fails.
_SHOWING = frozenset({"GET", "HEAD", "OPTIONS"})
#: nginx's word for a client that has gone.
GONE_STATUS = 499


class Diary:
    """Of one process. collector: None where nobody wants spans."""

    def __init__(
        self, settings: Settings, collector: Collector | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self.collector, self.clock = settings, collector, clock

    def open(self, method: str, traceparent: str) -> Entry:
        return Entry(self, method, traceparent)


class Entry:
    """One HTTP request, from its head to its last byte; of the generations that it asks for, all together."""

    def __init__(self, diary: Diary, method: str, traceparent: str) -> None:
        self._diary, self._method = diary, method
        self._began = diary.clock()
        self._above: Place | None = None
        #: Where its span stands; None where there will be none.
        self.place: Place | None = None
        if diary.collector is not None and method not in _SHOWING:
            self._above = parse(traceparent)
            self.place = diary.collector.begin(self._above)
        self._asked: list[Request] = []
        self._key = ""
        #: Its answer goes out as it comes.
        self.streams = False
        self._queued_at = 0.0
        self._first_at: float | None = None
        self._finished: list[Finished] = []
        self._prompt = self._cached = self._ended = 0
        self._failure = ""

    @property
    def traceparent(self) -> str:
        """For whoever goes on below it; "" where nobody collects."""
        return self.place.traceparent if self.place else ""

    def ask(self, asked: Request, key: str, *, joins: bool = False) -> None:
        """It asks for that on behalf of a key's digest. joins: instead of what it has asked for so far, which turned out to
        be asked for already.
        """
        if joins:
            self._asked.clear()
        self._asked.append(asked)
        self._key = key or self._key
        self._queued_at = self._queued_at or self._diary.clock()

    def hear(self, event: Event | Pulse, asked: Request) -> None:
        """To be told of every event."""
        if isinstance(event, Token):
            if self._first_at is None:
                self._first_at = self._diary.clock()
        elif isinstance(event, Finished):
            self._ended += 1
            self._finished.append(event)
            if isinstance(asked, GenerationRequest) and event.choice % asked.n == 0:
                self._prompt += event.usage.prompt
                self._cached += event.usage.cached
        elif isinstance(event, Embedded):
            self._ended += 1
            self._prompt += event.tokens
        elif isinstance(event, Tokenized | Loaded):
            self._ended += 1
        elif isinstance(event, Failed):
            self._failure = self._failure or event.code

    def fail(self, error: BaseException) -> None:
        """It is answered with this, or not at all."""
        if isinstance(error, GenerationFailed):
            self._failure = error.code
        elif isinstance(error, ClientGone):
            self._failure = "dropped"
        else:
            self._failure = self._failure or _snake(type(error).__name__)

    def close(self, *, route: str, dialect: str, status: int, request_id: str) -> None:
        """Its last byte is out, or nobody takes it. route: the rule it was found by, "" where there is none."""
        seconds = self._diary.clock() - self._began
        outcome = self._outcome(status)
        facts: dict[str, Any] = {
            "method": self._method,
            "route": route,
            "dialect": dialect,
            "status": status,
            "outcome": outcome,
            "seconds": round(seconds, 6),
        }
        if self._asked:
            facts |= {
                "key": self._key,
                "model": self._asked[0].model,
                "prompt_tokens": self._prompt,
                "cached_tokens": self._cached,
                "generated_tokens": self._generated,
                "queue_seconds": _rounded(self._queue),
                "ttft_seconds": _rounded(self._ttft),
            }
        self._log(facts, request_id)
        if self._diary.collector is not None and self.place is not None:
            self._diary.collector.tell([self._span(self._diary.settings, facts, seconds)])

    def _log(self, facts: Mapping[str, Any], request_id: str) -> None:
        dull = self._method in _SHOWING and not self._asked and facts["status"] < 500
        level = logging.DEBUG if dull else logging.INFO
        if not log.isEnabledFor(level):
            return
        tokens = f", {facts['model']}, {self._prompt} + {self._generated} tokens" if self._asked else ""
        text = "%s %s %d %s%s, %.3f s"
        said = (facts["method"], facts["route"] or "(no route)", facts["status"], facts["outcome"], tokens)
        # Its own id where it is one generation's; what its client calls it stands beside that.
        own = logs.named(self._asked[0].id) if self._asked else request_id
        named = {} if own == request_id else {"client_request_id": request_id}
        model = {"model": facts["model"]} if self._asked else {}
        line = {"request_id": own, **model, "request": {**facts, **named}}
        log.log(level, text, *said, facts["seconds"], extra={"facts": line})

    @property
    def _generated(self) -> int:
        return sum(one.usage.generated for one in self._finished)

    @property
    def _ttft(self) -> float | None:
        """From its head to the first token that came here."""
        return None if self._first_at is None else self._first_at - self._began

    @property
    def _queue(self) -> float | None:
        """Until a worker began to compute it: what the first choice's prompt took there is taken off what its first token
        took to come here, since clocks of two machines are never subtracted.
        """
        if self._first_at is None or not self._finished:
            return None
        prefill = min(one.timings.prefill for one in self._finished)
        return max(self._first_at - self._queued_at - prefill, 0.0)

    def _outcome(self, status: int) -> str:
        """completed, dropped (its client has gone), refused:WHY or failed:WHY."""
        if self._failure == "dropped" or status == GONE_STATUS:
            return "dropped"
        if self._failure or status >= 400:
            return f"{'refused' if 400 <= status < 500 else 'failed'}:{self._failure or status}"
        return "dropped" if self._ended < sum(asked.choices for asked in self._asked) else "completed"

    def _span(self, settings: Settings, facts: Mapping[str, Any], seconds: float) -> Span:
        assert self.place is not None
        attributes: dict[str, Value] = {
            "http.request.method": self._method,
            "http.response.status_code": facts["status"],
            "server.address": settings.host,
            "server.port": settings.port,
            "tropilla.dialect": facts["dialect"],
            "tropilla.outcome": facts["outcome"],
        }
        if facts["route"]:
            attributes["http.route"] = facts["route"]
        name = f"{self._method} {facts['route']}".strip()
        if self._asked:
            asked = self._asked[0]
            attributes |= genai.words(
                asked, self._finished, prompt=self._prompt, cached=self._cached, streams=self.streams, ttft=self._ttft
            )
            if operation := attributes.get("gen_ai.operation.name"):
                name = f"{operation} {asked.model}"
        end = tracing.now()
        bad = facts["outcome"].partition(":")[2] if facts["status"] >= 500 or facts["status"] == 200 else ""
        start = end - int(seconds * 1e9)
        return Span(name, self.place, self._above, start, end, attributes, kind="server", error=bad)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _snake(name: str) -> str:
    """`InvalidField` -> invalid_field."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")

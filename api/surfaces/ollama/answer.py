"""Events -> Ollama's JSON, streamed and whole; /api/generate and /api/chat differ only in how they show text.

A stream is a line per token and a last one with `done`, the reason and six numbers (sheet, sections 4.2 and 5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tropilla.api.surface import JSON, Call, Clock, Frame, Reply
from tropilla.api.surfaces.ollama.fault import JSON_TYPE, error_body
from tropilla.common.errors import from_failed
from tropilla.common.generation import (
    Alternative,
    Choice,
    Completion,
    Event,
    Failed,
    Finished,
    Prompted,
    PromptToken,
    Reason,
    Token,
)

#: Text as one endpoint shows it: `{"response": text}`.
Show = Callable[[str], dict[str, JSON]]

DONE_REASONS: Mapping[Reason, str] = {"eos": "stop", "stop": "stop", "length": "length", "cancelled": "stop"}

#: JSON has no minus infinity.
LOWEST_LOGPROB = -9999.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`model` is the name as the caller typed it."""

    model: str


def show_response(text: str) -> dict[str, JSON]:
    return {"response": text}


def show_message(text: str) -> dict[str, JSON]:
    """With its role in every chunk, the last included: the Python client refuses one without."""
    return {"message": {"role": "assistant", "content": text}}


class Lines:
    """One streamed answer."""

    def __init__(self, show: Show, call: Call, clock: Clock) -> None:
        self._show, self._call, self._clock = show, call, clock
        #: Kept only where `context` must be told in the end.
        self._prompt: tuple[PromptToken, ...] = ()
        self._tokens: list[Token] = []

    def feed(self, event: Event) -> Iterable[Frame]:
        match event:
            case Token():
                return self._token(event)
            case Finished():
                now = self._clock()
                choice = Choice("", tuple(self._tokens), event, self._prompt)
                return (Frame(_object(self._call, now, self._show("")) | _end(self._call, choice, now)),)
            case Failed():
                return (Frame(error_body(from_failed(event))),)
            case Prompted():
                self._prompt = event.tokens
        return ()

    def _token(self, token: Token) -> Iterable[Frame]:
        if self._call.request.want_prompt:
            self._tokens.append(token)
        entries = _logprobs(self._call, [token])
        # Text is held back, or it is a marker, and there is nothing else to tell.
        if not token.text and not entries:
            return ()
        return (Frame(_object(self._call, self._clock(), self._show(token.text)) | entries),)


def whole(show: Show, call: Call, completion: Completion, now: float) -> Reply:
    (choice,) = completion.choices
    body = _object(call, now, show(choice.text)) | _end(call, choice, now)
    return Reply(body | _logprobs(call, choice.tokens), headers=JSON_TYPE)


def nothing_to_generate(show: Show, model: str, now: float, *, unload: bool) -> Reply:
    """Of an empty prompt: the model is loaded, or with `keep_alive` 0 released. One object, whatever `stream` says."""
    body = {"model": model, "created_at": timestamp(now), **show(""), "done": True}
    return Reply(body | {"done_reason": "unload" if unload else "load"}, headers=JSON_TYPE)


def timestamp(seconds: float) -> str:
    """RFC 3339 with a zone, which Go insists on."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _object(call: Call, now: float, shown: dict[str, JSON]) -> dict[str, JSON]:
    answer: Answer = call.answer
    return {"model": answer.model, "created_at": timestamp(now), **shown, "done": False}


def _end(call: Call, choice: Choice, now: float) -> dict[str, JSON]:
    end: dict[str, JSON] = {"done": True, "done_reason": DONE_REASONS[choice.finished.reason]}
    if call.request.want_prompt:
        end["context"] = _context(choice)
    return end | _metrics(call, choice.finished, now)


def _metrics(call: Call, finished: Finished, now: float) -> dict[str, JSON]:
    """Durations are whole nanoseconds, never 0. Whatever the worker did not compute in was spent on the way: loading."""
    total = _nanoseconds(now - call.received)
    prefill, decode = _nanoseconds(finished.timings.prefill), _nanoseconds(finished.timings.decode)
    return {
        "total_duration": total,
        "load_duration": max(total - prefill - decode, 1),
        "prompt_eval_count": finished.usage.prompt,
        "prompt_eval_duration": prefill,
        "eval_count": finished.usage.generated,
        "eval_duration": decode,
    }


def _nanoseconds(seconds: float) -> int:
    return max(int(seconds * 1e9), 1)


def _context(choice: Choice) -> list[int]:
    """The prompt and what was said, without the marker that ended it and without tokens that only spelled a stop string."""
    said = list(choice.tokens)
    while said and (said[-1].special or (choice.finished.reason == "stop" and not said[-1].text)):
        said.pop()
    return [token.id for token in choice.prompt] + [token.id for token in said]


def _logprobs(call: Call, tokens: Iterable[Token]) -> dict[str, JSON]:
    """An entry per token of the text; the marker that ends it is not of the text."""
    if call.request.logprobs is None:
        return {}
    entries = [_entry(token) for token in tokens if not token.special]
    return {"logprobs": entries} if entries else {}


def _entry(token: Token) -> dict[str, JSON]:
    assert token.logprob is not None, "log-probabilities were asked for"
    entry = _candidate(token.piece, token.logprob)
    if token.top:
        entry["top_logprobs"] = [_alternative(alternative) for alternative in token.top]
    return entry


def _alternative(alternative: Alternative) -> dict[str, JSON]:
    return _candidate(alternative.piece, alternative.logprob)


def _candidate(piece: bytes, logprob: float) -> dict[str, JSON]:
    """`bytes` tells what `token` cannot: part of a character."""
    entry: dict[str, JSON] = {
        "token": piece.decode("utf-8", errors="replace"),
        "logprob": min(max(logprob, LOWEST_LOGPROB), 0.0),
    }
    return entry | {"bytes": list(piece)} if piece else entry

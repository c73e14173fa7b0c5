"""Events -> Ollama's JSON, streamed and whole; /api/generate and /api/chat differ only in how they show what is said.

A stream is a line per token and a last one with `done`, the reason and six numbers (sheet, sections 4.2 and 5.2).
Thoughts, text and each tool call stand on lines of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tropilla.api.surface import JSON, Call, Clock, Frame, Reply
from tropilla.api.surfaces.ollama import logprobs
from tropilla.api.surfaces.ollama.fault import JSON_TYPE, error_body
from tropilla.api.surfaces.ollama.said import NOTHING, Said, Show
from tropilla.api.surfaces.ollama.tool_calls import ToolCalls
from tropilla.common.errors import GenerationFailed, from_failed
from tropilla.common.generation import (
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

#: Also of a reply that calls a tool.
DONE_REASONS: Mapping[Reason, str] = {"eos": "stop", "stop": "stop", "length": "length", "cancelled": "stop"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`model` is the name as the caller typed it. `hides_thinking`: thoughts that come all the same are kept back."""

    model: str
    hides_thinking: bool = False


class Lines:
    """One streamed answer."""

    def __init__(self, show: Show, call: Call, clock: Clock) -> None:
        self._show, self._call, self._clock = show, call, clock
        self._tool_calls = ToolCalls(call.request.id)
        #: Kept only where `context` must be told in the end.
        self._prompt: tuple[PromptToken, ...] = ()
        self._tokens: list[Token] = []

    def feed(self, event: Event) -> Iterable[Frame]:
        match event:
            case Token():
                return self._token(event)
            case Finished():
                return self._finished(event)
            case Failed():
                return (Frame(error_body(from_failed(event))),)
            case Prompted():
                self._prompt = event.tokens
        return ()

    def _token(self, token: Token) -> Iterator[Frame]:
        if self._call.request.want_prompt:
            self._tokens.append(token)
        said = [*_parts(self._call, token), *(Said(calls=(call,)) for call in self._tool_calls.feed(token.calls))]
        entries = _logprobs(self._call, [token])
        # Nothing to say is not worth a line: text is held back, or it is a marker.
        for part in said or ([NOTHING] if entries else []):
            yield self._line(part, entries)
            entries = {}

    def _finished(self, finished: Finished) -> Iterator[Frame]:
        try:
            calls = self._tool_calls.end(finished.reason)
        except GenerationFailed as error:
            yield Frame(error_body(error))
            return
        for call in calls:
            yield self._line(Said(calls=(call,)), {})
        now = self._clock()
        choice = Choice("", tuple(self._tokens), finished, self._prompt)
        yield Frame(_object(self._call, now, self._show(NOTHING)) | _end(self._call, choice, now))

    def _line(self, said: Said, entries: Mapping[str, JSON]) -> Frame:
        return Frame({**_object(self._call, self._clock(), self._show(said)), **entries})


def whole(show: Show, call: Call, completion: Completion, now: float) -> Reply:
    """Raises `GenerationFailed` for a tool call that is none."""
    (choice,) = completion.choices
    answer: Answer = call.answer
    tool_calls = ToolCalls(call.request.id)
    calls = [called for token in choice.tokens for called in tool_calls.feed(token.calls)]
    calls += tool_calls.end(choice.finished.reason)
    said = Said(choice.text, "" if answer.hides_thinking else choice.reasoning, tuple(calls))
    body = _object(call, now, show(said)) | _end(call, choice, now)
    return Reply(body | _logprobs(call, choice.tokens), headers=JSON_TYPE)


def nothing_to_generate(show: Show, model: str, now: float, *, unload: bool) -> Reply:
    """Of an empty prompt: the model is loaded, or with `keep_alive` 0 released. One object, whatever `stream` says."""
    body = {"model": model, "created_at": timestamp(now), **show(NOTHING), "done": True}
    return Reply(body | {"done_reason": "unload" if unload else "load"}, headers=JSON_TYPE)


def timestamp(seconds: float) -> str:
    """RFC 3339 with a zone, which Go insists on."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _object(call: Call, now: float, shown: dict[str, JSON]) -> dict[str, JSON]:
    answer: Answer = call.answer
    return {"model": answer.model, "created_at": timestamp(now), **shown, "done": False}


def _parts(call: Call, token: Token) -> Iterator[Said]:
    """The thoughts and the text that one token brings, apart."""
    answer: Answer = call.answer
    if token.reasoning and not answer.hides_thinking:
        yield Said(thinking=token.reasoning)
    if token.text:
        yield Said(token.text)


def _logprobs(call: Call, tokens: Iterable[Token]) -> dict[str, JSON]:
    """Of a thought that is kept back not even the tokens are told."""
    answer: Answer = call.answer
    if call.request.logprobs is None:
        return {}
    return logprobs.entries(t for t in tokens if t.text or not (t.reasoning and answer.hides_thinking))


def _end(call: Call, choice: Choice, now: float) -> dict[str, JSON]:
    end: dict[str, JSON] = {"done": True, "done_reason": DONE_REASONS[choice.finished.reason]}
    if call.request.want_prompt:
        end["context"] = _context(choice)
    return end | _metrics(call, choice.finished, now)


def _metrics(call: Call, finished: Finished, now: float) -> dict[str, JSON]:
    """Durations are whole nanoseconds, never 0. Whatever the worker did not compute in was spent on the way: loading."""
    total = nanoseconds(now - call.received)
    prefill, decode = nanoseconds(finished.timings.prefill), nanoseconds(finished.timings.decode)
    return {
        "total_duration": total,
        "load_duration": max(total - prefill - decode, 1),
        "prompt_eval_count": finished.usage.prompt,
        "prompt_eval_duration": prefill,
        "eval_count": finished.usage.generated,
        "eval_duration": decode,
    }


def nanoseconds(seconds: float) -> int:
    return max(int(seconds * 1e9), 1)


def _context(choice: Choice) -> list[int]:
    """The prompt and what was said, thoughts too, without the marker that ended it and without tokens that only spelled
    a stop string.
    """
    said = list(choice.tokens)
    if said and said[-1].special:
        said.pop()
    while said and choice.finished.reason == "stop" and not (said[-1].text or said[-1].reasoning or said[-1].calls):
        said.pop()
    return [token.id for token in choice.prompt] + [token.id for token in said]

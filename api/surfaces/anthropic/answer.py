"""Events -> the answers of /v1/messages, whole and streamed: a message of content blocks.

message_start  (content_block_start  content_block_delta*  content_block_stop)*  message_delta  message_stop
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from tropilla.api.surface import Call, Frame, Reply
from tropilla.api.surfaces.anthropic.fault import fault
from tropilla.api.surfaces.openai.calls import call_id
from tropilla.api.surfaces.segments import Closed, More, Opened, Segment, Segments, Step
from tropilla.common.errors import from_failed
from tropilla.common.generation import Completion, Event, Failed, Finished, Prompted, Token, Usage

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """`thoughts_told`: False leaves a thinking block empty."""

    model: str
    thoughts_told: bool = True


class MessageStream:
    """The frames of one streamed message."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: Known = call.answer
        self._segments = Segments()
        self._started = self._called = False

    def feed(self, event: Event) -> Iterator[Frame]:
        match event:
            case Prompted():
                yield from self._opening(0)
            case Token():
                yield from self._opening(1)
                for step in self._segments.feed(event):
                    yield from self._told(step)
            case Finished():
                yield from self._opening(0)
                yield from self._finished(event)
            case Failed():
                yield Frame(fault(from_failed(event)).body, "error")

    def _opening(self, generated: int) -> Iterator[Frame]:
        if not self._started:
            self._started = True
            # How long the prompt was is known when the answer is: `message_delta` tells it.
            message = _message(self._call, [], None, None, _usage(Usage(0, 0, generated)))
            yield _frame("message_start", message=message)

    def _finished(self, finished: Finished) -> Iterator[Frame]:
        for step in self._segments.end():
            yield from self._told(step)
        reason, stop = _stop(finished, called=self._called)
        delta = {"stop_reason": reason, "stop_sequence": stop}
        yield _frame("message_delta", delta=delta, usage=_usage(finished.usage))
        yield _frame("message_stop")

    def _told(self, step: Step) -> Iterator[Frame]:
        segment = step.segment
        match step:
            case Opened():
                self._called = self._called or segment.kind == "call"
                yield _frame("content_block_start", index=segment.place, content_block=_block(self._call, segment))
            case More(piece=piece):
                if segment.kind != "reasoning" or self._known.thoughts_told:
                    yield _frame("content_block_delta", index=segment.place, delta=_delta(segment, piece))
            case Closed():
                if segment.kind == "reasoning":
                    delta = {"type": "signature_delta", "signature": ""}
                    yield _frame("content_block_delta", index=segment.place, delta=delta)
                yield _frame("content_block_stop", index=segment.place)


def whole(call: Call, completion: Completion, _: float) -> Reply:
    (choice,) = completion.choices
    segments, content = Segments(), []
    steps = [*(step for token in choice.tokens for step in segments.feed(token)), *segments.end()]
    closed = [step.segment for step in steps if isinstance(step, Closed)]
    for segment in closed:
        # A call that was cut short cannot be run by anybody.
        cut = segment is closed[-1] and choice.finished.reason == "length"
        if segment.kind != "call" or not cut or _object(segment.said) is not None:
            content.append(_block(call, segment))
    called = any(block["type"] == "tool_use" for block in content)
    reason, stop = _stop(choice.finished, called=called)
    return Reply(_message(call, content, reason, stop, _usage(choice.finished.usage)))


def _block(call: Call, segment: Segment) -> JSON:
    """As far as it has come. Nobody but us reads a signature, and we need none."""
    known: Known = call.answer
    match segment.kind:
        case "text":
            return {"type": "text", "text": segment.said}
        case "reasoning":
            return {"type": "thinking", "thinking": segment.said if known.thoughts_told else "", "signature": ""}
        case "call":
            identity = "toolu_" + call_id(call.request.id, 0, segment.call).removeprefix("call_")
            return {"type": "tool_use", "id": identity, "name": segment.name, "input": _input(segment.said)}


def _delta(segment: Segment, piece: str) -> JSON:
    match segment.kind:
        case "text":
            return {"type": "text_delta", "text": piece}
        case "reasoning":
            return {"type": "thinking_delta", "thinking": piece}
        case "call":
            return {"type": "input_json_delta", "partial_json": piece}


def _input(arguments: str) -> JSON:
    """What a weak model wrote instead of an object fits no tool, and goes back to it as such."""
    found = _object(arguments or "{}")
    return {"arguments": arguments} if found is None else found


def _object(text: str) -> JSON | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _stop(finished: Finished, *, called: bool) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence`. A call is why an answer ends, unless it was cut short."""
    if finished.reason == "length":
        return "max_tokens", None
    if called:
        return "tool_use", None
    if finished.reason == "stop" and finished.stop:
        return "stop_sequence", finished.stop
    return "end_turn", None


def _usage(usage: Usage) -> JSON:
    """What was resident already counts apart. Nothing is written to a cache by request, so nothing counts as written."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.generated,
    }


def _message(call: Call, content: list[JSON], reason: str | None, stop: str | None, usage: JSON) -> JSON:
    known: Known = call.answer
    return {
        "id": f"msg_{call.request.id}",
        "type": "message",
        "role": "assistant",
        "model": known.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": stop,
        "usage": usage,
    }


def _frame(kind: str, **said: Any) -> Frame:
    return Frame({"type": kind, **said}, kind)

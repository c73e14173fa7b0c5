"""A streamed response: an order of events that its clients rely on (sheet, section 9).

created  in_progress  (added  [part added]  delta*  done  [part done]  item done)*  completed | incomplete | [error] failed

Every event is numbered from 0; there is no [DONE]. A whole answer is the response in the last event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tropilla.api.surface import Call, Clock, Frame
from tropilla.api.surfaces.openai.faults import fault
from tropilla.api.surfaces.openai.logprobs import chat_logprobs
from tropilla.api.surfaces.openai.responses_answer import (
    JSON,
    Status,
    item,
    item_id,
    reasoning_part,
    response,
    text_part,
    usage_of,
)
from tropilla.api.surfaces.openai.sight import Sight
from tropilla.api.surfaces.segments import Closed, More, Opened, Segment, Segments, Step
from tropilla.common.errors import from_failed
from tropilla.common.generation import Event, Failed, Finished, Prompted, Token


class ResponseStream:
    def __init__(self, call: Call, clock: Clock) -> None:
        self._call, self._clock = call, clock
        self._id = call.request.id
        self._segments = Segments()
        self._sight = None if call.request.logprobs is None else Sight()
        #: Of the token that is being told; and of the message it belongs to.
        self._seen: list[JSON] = []
        self._logprobs: list[JSON] = []
        self._output: list[JSON] = []
        #: What the next item is when it ends: the last one may be cut.
        self._ending: Status = "completed"
        self._number = 0

    def feed(self, event: Event) -> Iterator[Frame]:
        match event:
            case Prompted():
                yield from self._opening()
            case Token():
                yield from self._opening()
                if self._sight is not None:
                    self._seen = chat_logprobs(self._sight.feed(event))["content"]
                yield from self._told(self._segments.feed(event))
            case Finished():
                yield from self._opening()
                yield from self._finished(event)
            case Failed():
                yield from self._failed(event)

    def _opening(self) -> Iterator[Frame]:
        if self._number == 0:
            begun = response(self._call, "in_progress", [])
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)

    def _finished(self, finished: Finished) -> Iterator[Frame]:
        cut = finished.reason == "length"
        status: Status = "incomplete" if cut else "completed"
        self._ending = status
        yield from self._told(self._segments.end())
        if not cut and not any(each["type"] != "reasoning" for each in self._output):
            # Clients look into the message of an answer that is complete, though it says nothing.
            yield from self._told((*self._segments.begin("text"), *self._segments.end()))
        told = response(
            self._call,
            status,
            self._output,
            completed_at=None if cut else int(self._clock()),
            incomplete_details={"reason": "max_output_tokens"} if cut else None,
            usage=usage_of(finished.usage),
        )
        yield self._event(f"response.{status}", response=told)

    def _failed(self, failed: Failed) -> Iterator[Frame]:
        error = from_failed(failed)
        said = fault(error).body["error"]
        begun = [] if self._segments.open is None else [self._item(self._segments.open, "incomplete")]
        code = "server_error" if error.status >= 500 else "invalid_prompt"
        yield self._event("error", code=said["code"] or code, message=said["message"], param=said["param"])
        ended = response(
            self._call, "failed", [*self._output, *begun], error={"code": code, "message": said["message"]}
        )
        yield self._event("response.failed", response=ended)

    def _told(self, steps: Iterable[Step]) -> Iterator[Frame]:
        for step in steps:
            segment = step.segment
            where = {"item_id": item_id(self._id, segment), "output_index": segment.place}
            match step:
                case Opened():
                    yield from self._opened(segment, where)
                case More(piece=piece):
                    yield self._delta(segment, piece, where)
                case Closed():
                    yield from self._closed(segment, where)

    def _opened(self, segment: Segment, where: JSON) -> Iterator[Frame]:
        self._logprobs = []
        begun = item(self._id, segment, "in_progress")
        yield self._event("response.output_item.added", output_index=segment.place, item=begun)
        part = _part(segment)
        if part is not None:
            yield self._event("response.content_part.added", **where, content_index=0, part=part)

    def _delta(self, segment: Segment, piece: str, where: JSON) -> Frame:
        match segment.kind:
            case "text":
                seen, self._seen = self._seen, []
                self._logprobs += seen
                return self._event(
                    "response.output_text.delta", **where, content_index=0, delta=piece, logprobs=list(seen)
                )
            case "reasoning":
                return self._event("response.reasoning_text.delta", **where, content_index=0, delta=piece)
            case "call":
                return self._event("response.function_call_arguments.delta", **where, delta=piece)

    def _closed(self, segment: Segment, where: JSON) -> Iterator[Frame]:
        said = segment.said
        match segment.kind:
            case "text":
                yield self._event(
                    "response.output_text.done", **where, content_index=0, text=said, logprobs=self._logprobs
                )
            case "reasoning":
                yield self._event("response.reasoning_text.done", **where, content_index=0, text=said)
            case "call":
                yield self._event("response.function_call_arguments.done", **where, name=segment.name, arguments=said)
        part = _part(segment, self._logprobs)
        if part is not None:
            yield self._event("response.content_part.done", **where, content_index=0, part=part)
        # Only the last can be cut: others have ended because something followed.
        done = self._item(segment, self._ending)
        self._output.append(done)
        yield self._event("response.output_item.done", output_index=segment.place, item=done)

    def _item(self, segment: Segment, status: Status) -> JSON:
        return item(self._id, segment, status, self._logprobs)

    def _event(self, kind: str, **said: Any) -> Frame:
        number = self._number
        self._number += 1
        return Frame({"type": kind, "sequence_number": number, **said}, kind)


def _part(segment: Segment, logprobs: list[JSON] | None = None) -> JSON | None:
    """A call has none."""
    match segment.kind:
        case "text":
            return text_part(segment.said, logprobs)
        case "reasoning":
            return reasoning_part(segment.said)
        case "call":
            return None

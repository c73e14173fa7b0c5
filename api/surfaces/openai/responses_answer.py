"""What the events and the answers of /v1/responses are made of: the response, its items, its usage (sheet, section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.calls import call_id
from tropilla.api.surfaces.segments import Kind, Segment
from tropilla.common.generation import Usage

JSON = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]

_PREFIXES: Mapping[Kind, str] = {"reasoning": "rs", "text": "msg", "call": "fc"}


@dataclass(frozen=True, slots=True)
class ResponseAnswer:
    """`repeated`: the request's fields that a response has. `skipped`: the places of tools that were left out."""

    model: str
    repeated: Mapping[str, Any]
    skipped: tuple[int, ...] = ()


def item_id(request_id: str, segment: Segment) -> str:
    """The same at every telling."""
    return f"{_PREFIXES[segment.kind]}_{request_id}_{segment.place}"


def item(request_id: str, segment: Segment, status: Status, logprobs: list[JSON] | None = None) -> JSON:
    """One of `output`, as far as it has come. One that has just begun has no content yet."""
    head = {"id": item_id(request_id, segment), "status": status}
    begun = status != "in_progress"
    match segment.kind:
        case "text":
            content = [text_part(segment.said, logprobs)] if begun else []
            return {"type": "message", **head, "role": "assistant", "content": content}
        case "reasoning":
            content = [reasoning_part(segment.said)] if begun else []
            return {"type": "reasoning", **head, "summary": [], "content": content}
        case "call":
            known = {"call_id": call_id(request_id, 0, segment.call), "name": segment.name}
            return {"type": "function_call", **head, **known, "arguments": segment.said}


def text_part(text: str, logprobs: list[JSON] | None = None) -> JSON:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def reasoning_part(text: str) -> JSON:
    return {"type": "reasoning_text", "text": text}


def usage_of(usage: Usage) -> JSON:
    """Nothing is written to a cache by request, so nothing counts as written."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.generated,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.generated,
    }


def response(call: Call, status: str, output: list[JSON], **more: Any) -> JSON:
    """more: what is not yet, or not at all, so: completed_at, error, incomplete_details, usage."""
    known: ResponseAnswer = call.answer
    return {
        "id": f"resp_{call.request.id}",
        "object": "response",
        "created_at": int(call.received),
        "completed_at": None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": known.model,
        "output": output,
        "usage": None,
        **known.repeated,
        **more,
    }

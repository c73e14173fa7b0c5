"""What the document says of /v1/responses: its answers, the events of its stream, and an example to try."""

from __future__ import annotations

import dataclasses

from tropilla.api.about import (
    COUNT,
    FLAG,
    NULL,
    NUMBER,
    OBJECT,
    TEXT,
    About,
    Shape,
    either,
    one_of,
    or_null,
    record,
    several,
    tagged,
)
from tropilla.api.surfaces.openai import about, schemas, thinking, tools

_LOGPROBS = several(about.SCORED)
_TEXT_PART = record(
    "", {"type": one_of("output_text"), "text": TEXT, "annotations": several(OBJECT), "logprobs": _LOGPROBS}
)
_REASONING_PART = record("", {"type": one_of("reasoning_text"), "text": TEXT})
_HEAD: dict[str, Shape] = {"id": TEXT, "status": one_of("in_progress", "completed", "incomplete")}
_ITEM: Shape = {
    "title": "OpenAIResponseItem",
    **either(
        record(
            "",
            {"type": one_of("message"), **_HEAD, "role": one_of("assistant"), "content": several(_TEXT_PART, most=1)},
        ),
        record(
            "",
            {
                "type": one_of("reasoning"),
                **_HEAD,
                "summary": several(OBJECT, most=0),
                "content": several(_REASONING_PART, most=1),
            },
        ),
        record("", {"type": one_of("function_call"), **_HEAD, "call_id": TEXT, "name": TEXT, "arguments": TEXT}),
    ),
}
_USAGE = record(
    "OpenAIResponseUsage",
    {
        **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), COUNT),
        "input_tokens_details": record("", {"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
        "output_tokens_details": record("", {"reasoning_tokens": COUNT}),
    },
)
_NAMED = tagged("function", tools.BY_NAME)
_FORMAT = either(
    record("", {"type": one_of("text", "json_object")}),
    record("", {"type": one_of("json_schema"), "name": TEXT, "schema": OBJECT}, {"strict": FLAG, "description": TEXT}),
)
#: What an answer says of its request.
_REPEATED: dict[str, Shape] = {
    "background": FLAG,
    "instructions": or_null(TEXT),
    "max_output_tokens": or_null(COUNT),
    "metadata": {**OBJECT, "additionalProperties": TEXT},
    "parallel_tool_calls": FLAG,
    "previous_response_id": NULL,
    "reasoning": record("", {"effort": or_null(one_of(*thinking.EFFORTS)), "summary": NULL}),
    "temperature": NUMBER,
    "text": record("", {"format": _FORMAT}),
    "tool_choice": either(
        one_of("none", "auto", "required"),
        _NAMED,
        record("", {"type": one_of("allowed_tools"), "mode": TEXT, "tools": several(_NAMED)}),
    ),
    "tools": several(
        record(
            "",
            {"type": one_of("function"), "name": TEXT, "parameters": OBJECT, "strict": or_null(FLAG)},
            {"description": TEXT},
        )
    ),
    "top_logprobs": COUNT,
    "top_p": NUMBER,
    "truncation": one_of("auto", "disabled"),
}
_RESPONSE = record(
    "OpenAIResponse",
    {
        "id": TEXT,
        "object": one_of("response"),
        "created_at": COUNT,
        "completed_at": or_null(COUNT),
        "status": one_of("in_progress", "completed", "incomplete", "failed"),
        "error": or_null(record("", {"code": TEXT, "message": TEXT})),
        "incomplete_details": or_null(record("", {"reason": one_of("max_output_tokens")})),
        "model": TEXT,
        "output": several(_ITEM),
        "usage": or_null(_USAGE),
        **_REPEATED,
    },
)


def _event(*kinds: str, **said: Shape) -> Shape:
    return record("", {"type": one_of(*kinds), "sequence_number": COUNT, **said})


_WHERE: dict[str, Shape] = {"item_id": TEXT, "output_index": COUNT}
_IN_PART: dict[str, Shape] = {**_WHERE, "content_index": COUNT}
_EVENT: Shape = {
    "title": "OpenAIResponseEvent",
    **either(
        _event(
            *(f"response.{status}" for status in ("created", "in_progress", "completed", "incomplete", "failed")),
            response=_RESPONSE,
        ),
        _event("response.output_item.added", "response.output_item.done", output_index=COUNT, item=_ITEM),
        _event(
            "response.content_part.added",
            "response.content_part.done",
            **_IN_PART,
            part=either(_TEXT_PART, _REASONING_PART),
        ),
        _event("response.output_text.delta", **_IN_PART, delta=TEXT, logprobs=_LOGPROBS),
        _event("response.output_text.done", **_IN_PART, text=TEXT, logprobs=_LOGPROBS),
        _event("response.reasoning_text.delta", **_IN_PART, delta=TEXT),
        _event("response.reasoning_text.done", **_IN_PART, text=TEXT),
        _event("response.function_call_arguments.delta", **_WHERE, delta=TEXT),
        _event("response.function_call_arguments.done", **_WHERE, name=TEXT, arguments=TEXT),
        _event("error", code=TEXT, message=TEXT, param=or_null(TEXT)),
    ),
}

RESPONSES = About(
    "Answer a conversation, item by item",
    takes=schemas.responses,
    gives=_RESPONSE,
    streams=_EVENT,
    example={"model": "pocket", "input": "What is 2 plus 3?", "max_output_tokens": 20},
)
INPUT_TOKENS = dataclasses.replace(
    RESPONSES, summary="Count the tokens of a conversation of items", gives=about.COUNTED, streams=None
)

"""POST /v1/responses, and how many tokens its input has (sheet, section 9). Nothing is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tropilla.api import overlays
from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Clock, Frames, Question, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai import refusals, responses_about, schemas, thinking
from tropilla.api.surfaces.openai.asking import check_vocabulary, decided, generation
from tropilla.api.surfaces.openai.constraints import NESTED, check_constraint, given
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.responses_answer import ResponseAnswer
from tropilla.api.surfaces.openai.responses_fields import LOGPROBS, Given, repeated_choice
from tropilla.api.surfaces.openai.responses_stream import ResponseStream
from tropilla.api.surfaces.openai.rules import sole_constraint
from tropilla.api.surfaces.openai.tools import Toolbox, check_callable, toolbox
from tropilla.common.errors import UnsupportedField
from tropilla.common.generation import ChatPrompt, Completion, Event, Fit, Message, Sampling, TokenizeRequest

#: What chat completions call otherwise: OpenAI refuses the old names here, and so nobody's limit is overlooked.
_MOVED: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "n_predict": "max_output_tokens",
    "response_format": "text.format",
}
#: Would change the answer, and is not served, beside what chats refuse: there is no store to find anything in.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("previous_response_id", "conversation", "prompt"), (None,)),
    "n": (None, 1),
    "echo": (None, False),
    **refusals.CHAT,
}


def parse(body: JSON, surroundings: Surroundings) -> Call:
    body = schemas.an_object(body)
    told = schemas.checked(schemas.responses(surroundings.settings), body)
    tools: list[Given] = list(told["tools"])
    fields = {**told, **_as_chats_say_it(told, tools)}
    model = resolve(surroundings, fields["model"])
    box = toolbox(fields)
    constraint = sole_constraint(fields, box)
    _refuse(body)
    check_vocabulary(fields, model)
    for name, asked in given(fields).items():
        check_constraint(name, asked)
    check_callable(box, ((f"tools[{place}].parameters", each.tool) for place, each in enumerate(tools) if each.tool))
    request = dataclasses.replace(
        generation(fields, (_prompt(fields, box),), model, surroundings),
        constraint=constraint,
        parse_reply=True,
        logprobs=_logprobs(fields),
        fit=Fit(overlong="drop" if fields["truncation"] == "auto" else "refuse"),
    )
    request = overlays.laid(request, model, decided(body, fields))
    skipped = tuple(place for place, each in enumerate(tools) if each.tool is None)
    known = ResponseAnswer(model.name, _repeated(fields, body, tools, request.sampling), skipped)
    return Call(
        request, fields["stream"], surroundings.now, known, prompt_field="input", priority=fields["service_tier"]
    )


def _as_chats_say_it(told: dict[str, Any], tools: list[Given]) -> dict[str, Any]:
    form = told["text"].get("format")
    limit = {"max_completion_tokens": told["max_output_tokens"]} if "max_output_tokens" in told else {}
    return {
        **limit,
        "n": 1,
        "tools": tuple(each.tool for each in tools if each.tool),
        "functions": (),
        NESTED: form.constraint if form else None,
    }


def _refuse(body: Mapping[str, Any]) -> None:
    for name, place in _MOVED.items():
        if body.get(name) is not None:
            text = f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{place}'."
            raise UnsupportedField(text, param=name)
    refusals.refuse(_REFUSED, body)


def _prompt(fields: dict[str, Any], box: Toolbox) -> ChatPrompt:
    instructed = (Message("system", fields["instructions"]),) if fields.get("instructions") else ()
    return ChatPrompt(
        (*instructed, *fields["input"]),
        tools=box.tools,
        tool_choice=box.choice,
        named_tool=box.named,
        parallel_calls=box.parallel,
        effort=thinking.effort(fields),
        variables=thinking.variables(fields),
    )


def _logprobs(fields: dict[str, Any]) -> int | None:
    """A number of alternatives asks for them, too."""
    top: int = fields.get("top_logprobs", 0)
    return top if top or LOGPROBS in fields["include"] else None


def _repeated(
    fields: dict[str, Any], body: Mapping[str, Any], tools: list[Given], sampling: Sampling
) -> dict[str, JSON]:
    """What an answer says of its request, as it was understood."""
    form = fields["text"].get("format")
    return {
        "background": False,
        "instructions": fields.get("instructions"),
        "max_output_tokens": fields.get("max_output_tokens"),
        "metadata": fields["metadata"],
        "parallel_tool_calls": fields["parallel_tool_calls"],
        "previous_response_id": None,
        "reasoning": {"effort": fields["reasoning"].get("effort"), "summary": None},
        "temperature": sampling.temperature,
        "text": {"format": form.format if form else {"type": "text"}},
        "tool_choice": repeated_choice(body.get("tool_choice"), fields.get("tool_choice")),
        "tools": [each.repeated() for each in tools if each.tool],
        "top_logprobs": fields.get("top_logprobs", 0),
        "top_p": sampling.top_p,
        "truncation": fields["truncation"],
    }


def frames(call: Call, clock: Clock) -> Frames:
    return ResponseStream(call, clock)


def whole_answer(call: Call, completion: Completion, finished_at: float) -> Reply:
    """What the stream's last event holds."""
    stream = ResponseStream(call, lambda: finished_at)
    (choice,) = completion.choices
    events: tuple[Event, ...] = (*choice.tokens, choice.finished)
    *_, last = (frame for event in events for frame in stream.feed(event))
    return Reply(last.data["response"], headers=headers(call))


def headers(call: Call) -> Mapping[str, str]:
    """Tools that nobody runs here are left out, and that is said."""
    known: ResponseAnswer = call.answer
    if not known.skipped:
        return {}
    places = ", ".join(f"tools[{place}]" for place in known.skipped)
    return {"Warning": f'299 - "skipped, since only functions are served: {places}"'}


def parse_count(body: JSON, surroundings: Surroundings) -> Question:
    request = parse(body, surroundings).request
    asked = TokenizeRequest(request.id, request.model, request.prompts)
    return Question(asked, surroundings.now, prompt_field="input")


def count(_: Question, tokenized: tuple[Any, ...], __: float) -> Reply:
    (prompt,) = tokenized
    return Reply({"object": "response.input_tokens", "input_tokens": len(prompt.tokens)})


RESPONSES = Surface("openai.responses", parse, frames, whole_answer, SSE, headers, about=responses_about.RESPONSES)

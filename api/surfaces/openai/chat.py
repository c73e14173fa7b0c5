"""POST /v1/chat/completions (sheet, sections 7 and 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.api import images, overlays
from tropilla.api.framing import SSE
from tropilla.api.reading import Wrong
from tropilla.api.surface import JSON, Call, Clock, Frames, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai import about, refusals, schemas, thinking
from tropilla.api.surfaces.openai.answer import answer, stream_headers, whole
from tropilla.api.surfaces.openai.asking import check_vocabulary, decided, generation
from tropilla.api.surfaces.openai.chat_answer import ChatShape, chat_choice
from tropilla.api.surfaces.openai.constraints import check_constraint, given
from tropilla.api.surfaces.openai.models import resolve_adapted
from tropilla.api.surfaces.openai.rules import check_chat, continues, sole_constraint
from tropilla.api.surfaces.openai.stream import Stream
from tropilla.api.surfaces.openai.token_facts import prompt_facts
from tropilla.api.surfaces.openai.tools import Toolbox, check_schemas, toolbox
from tropilla.api.timings import compute_time, known_at_start
from tropilla.common.catalogue import Model
from tropilla.common.generation import ChatPrompt, Completion, Image, Message

#: How Hugging Face's client names itself.
_HUB_AGENT = "hf_hub/"


def parse(body: JSON, surroundings: Surroundings) -> Call:
    body = schemas.an_object(body)
    if body.get("messages") is None and body.get("prompt") is None:
        raise schemas.missing("messages")
    fields = schemas.checked(schemas.chat(surroundings.settings), body)
    messages = tuple(fields.get("messages") or fields["prompt"])
    model, adapter = resolve_adapted(surroundings, fields["model"])
    messages = tuple(_pictured(messages, model))
    check_chat(fields, messages)
    box = toolbox(fields)
    constraint = sole_constraint(fields, box)
    refusals.refuse(refusals.CHAT, body)
    check_vocabulary(fields, model)
    for name, asked in given(fields).items():
        check_constraint(name, asked)
    check_schemas(fields, box)
    request = dataclasses.replace(
        generation(fields, (_prompt(fields, messages, box),), model, surroundings),
        constraint=constraint,
        adapter=adapter,
        parse_reply=True,
        logprobs=fields.get("top_logprobs", 0) if fields["logprobs"] else None,
    )
    request = overlays.laid(request, model, decided(body, fields))
    known = answer(
        "chatcmpl",
        request,
        model,
        fields,
        closing_delta=_closing_delta(fields["model"], surroundings.headers.get("user-agent", "")),
        mirror_reasoning=surroundings.settings.reasoning_keys == "both",
        prefill=messages[-1].content if fields["echo"] and continues(fields, messages) else "",
        function_call=box.legacy,
        # As they were sent: the template is applied where the model is.
        headers=known_at_start(surroundings.settings, sum(len(message.content) for message in messages)),
    )
    return Call(
        request, fields["stream"], surroundings.now, known, prompt_field="messages", priority=fields["service_tier"]
    )


def _closing_delta(model: str, agent: str) -> Mapping[str, str]:
    """TGI's sample loops add up `delta.content` unseen (TGI sheet, section 15); everybody else wants `{}`."""
    return {"content": ""} if model == "tgi" or _HUB_AGENT in agent else {}


def _pictured(messages: tuple[Message, ...], model: Model) -> Iterator[Message]:
    """For a model that sees, also with the images that users show in markdown, as TGI has it: `![](data:...)`."""
    for place, message in enumerate(messages):
        field = f"messages[{place}]"
        if message.role == "user" and "vision" in model.capabilities and "![" in message.content:
            message = _unmarked(message, field)
        yield images.placed(message, field + ".")


def _unmarked(message: Message, field: str) -> Message:
    written = iter(message.images)
    pieces: list[images.Piece] = []
    try:
        for part in images.apart(message.content, written):
            if isinstance(part, Image):
                pieces.append(part)
                continue
            for piece in images.in_markdown(part, links=False):
                pieces.append(dataclasses.replace(piece, param="content") if isinstance(piece, Image) else piece)
    except Wrong as error:
        raise schemas.invalid(f"{field}.content", str(error.messages[0]), "value") from error
    content, shown = images.joined(pieces, "")
    return dataclasses.replace(message, content=content, images=shown)


def _prompt(fields: dict[str, Any], messages: tuple[Message, ...], box: Toolbox) -> ChatPrompt:
    return ChatPrompt(
        _with_tool_prompt(messages, fields["tool_prompt"]) if box.tools else messages,
        tools=box.tools,
        tool_choice=box.choice,
        named_tool=box.named,
        parallel_calls=box.parallel,
        effort=thinking.effort(fields),
        variables=thinking.variables(fields),
        # Says something only where there is a last assistant message.
        continue_last=messages[-1].role != "assistant" or continues(fields, messages),
    )


def _with_tool_prompt(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """TGI's way to put it, without the tools themselves: those are the template's to tell (TGI sheet, section 9)."""
    last = messages[-1]
    if not text or last.role == "assistant":
        return messages
    return (*messages[:-1], dataclasses.replace(last, content=f"{last.content}\n---\n{text}"))


def frames(call: Call, _: Clock) -> Frames:
    return Stream(call, ChatShape(call))


def whole_answer(call: Call, completion: Completion, finished_at: float) -> Reply:
    choices = [chat_choice(call, index, choice) for index, choice in enumerate(completion.choices)]
    about = prompt_facts(call.answer, completion.choices[0].prompt)
    reply = whole(call, "chat.completion", choices, completion, finished_at, **about)
    return dataclasses.replace(reply, headers={**reply.headers, **compute_time(call, finished_at)})


CHAT = Surface("openai.chat", parse, frames, whole_answer, SSE, stream_headers, about=about.CHAT)

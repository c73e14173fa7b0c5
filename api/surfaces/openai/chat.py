"""POST /v1/chat/completions (sheet, sections 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Clock, Frames, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai import refusals, schemas
from tropilla.api.surfaces.openai.answer import HEADERS, REASONS, Answer, answer, whole
from tropilla.api.surfaces.openai.asking import generation
from tropilla.api.surfaces.openai.logprobs import chat_logprobs, sight_of
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.rules import check_chat
from tropilla.api.surfaces.openai.stream import Shape, Stream
from tropilla.common.generation import ChatPrompt, Choice, Completion

#: Delta of a finish chunk, by the model that was asked for. TGI's sample loops add up `delta.content` unseen (TGI sheet,
#: section 15); everybody else wants `{}`.
_CLOSING_DELTAS: Mapping[str, Mapping[str, str]] = {"tgi": {"content": ""}}


def parse(body: JSON, surroundings: Surroundings) -> Call:
    body = schemas.an_object(body)
    if body.get("messages") is None and body.get("prompt") is None:
        raise schemas.missing("messages")
    fields = schemas.checked(schemas.chat(surroundings.settings), body)
    messages = tuple(fields.get("messages") or fields["prompt"])
    model = resolve(surroundings, fields["model"])
    check_chat(fields, messages)
    refusals.refuse(refusals.CHAT, body)
    logprobs = fields.get("top_logprobs", 0) if fields["logprobs"] else None
    request = generation(fields, (ChatPrompt(messages),), model, surroundings, logprobs=logprobs)
    closing = _CLOSING_DELTAS.get(fields["model"], {})
    known = answer("chatcmpl", request, model, fields, closing_delta=closing)
    return Call(request, fields["stream"], surroundings.now, known, prompt_field="messages")


def frames(call: Call, _: Clock) -> Frames:
    known: Answer = call.answer
    shape = Shape(
        object="chat.completion.chunk",
        opening={"delta": {"role": "assistant", "content": ""}},
        text=lambda text: {"delta": {"content": text}},
        closing={"delta": dict(known.closing_delta or {})},
        logprobs=lambda seen, choice: chat_logprobs(seen),
    )
    return Stream(call, shape)


def whole_answer(call: Call, completion: Completion, finished_at: float) -> Reply:
    choices = [_choice(call, index, choice) for index, choice in enumerate(completion.choices)]
    return whole(call, "chat.completion", choices, completion, finished_at)


def _choice(call: Call, index: int, choice: Choice) -> dict[str, Any]:
    wanted = call.request.logprobs is not None
    return {
        "index": index,
        "message": {"role": "assistant", "content": choice.text, "refusal": None},
        "logprobs": chat_logprobs(sight_of(choice.tokens)) if wanted else None,
        "finish_reason": REASONS[choice.finished.reason],
    }


CHAT = Surface("openai.chat", parse, frames, whole_answer, SSE, lambda call: HEADERS)

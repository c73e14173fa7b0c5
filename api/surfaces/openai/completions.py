"""POST /v1/completions (sheet, section 6)."""

from __future__ import annotations

from typing import Any

from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Clock, Frames, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai import refusals, schemas
from tropilla.api.surfaces.openai.answer import HEADERS, REASONS, Answer, answer, whole
from tropilla.api.surfaces.openai.asking import generation
from tropilla.api.surfaces.openai.logprobs import Seen, legacy_logprobs, sight_of
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.prompts import check_ids
from tropilla.api.surfaces.openai.rules import check_completion
from tropilla.api.surfaces.openai.stream import Shape, Stream
from tropilla.common.generation import Choice, Completion, Prompt, TextPrompt

#: Chunks and whole answers alike.
OBJECT = "text_completion"


def parse(body: JSON, surroundings: Surroundings) -> Call:
    body = schemas.an_object(body)
    if "prompt" not in body:
        raise schemas.missing("prompt")
    fields = schemas.checked(schemas.completion(surroundings.settings), body)
    prompts: tuple[Prompt, ...] = fields["prompt"]
    model = resolve(surroundings, fields["model"])
    check_completion(fields, surroundings.settings)
    refusals.refuse(refusals.COMPLETION, body)
    check_ids(prompts, model.vocabulary)
    request = generation(fields, prompts, model, surroundings, logprobs=fields.get("logprobs"))
    known = answer("cmpl", request, model, fields, offsets=tuple(_length(prompt) for prompt in prompts))
    return Call(request, fields["stream"], surroundings.now, known)


def frames(call: Call, _: Clock) -> Frames:
    shape = Shape(
        object=OBJECT,
        opening=None,
        text=lambda text: {"text": text},
        closing={"text": ""},
        logprobs=lambda seen, choice: _logprobs(call, seen, choice),
    )
    return Stream(call, shape)


def whole_answer(call: Call, completion: Completion, finished_at: float) -> Reply:
    choices = [_choice(call, index, choice) for index, choice in enumerate(completion.choices)]
    return whole(call, OBJECT, choices, completion, finished_at)


def _choice(call: Call, index: int, choice: Choice) -> dict[str, Any]:
    wanted = call.request.logprobs is not None
    return {
        "index": index,
        "text": choice.text,
        "logprobs": _logprobs(call, sight_of(choice.tokens), index) if wanted else None,
        "finish_reason": REASONS[choice.finished.reason],
    }


def _logprobs(call: Call, seen: list[Seen], choice: int) -> dict[str, Any]:
    known: Answer = call.answer
    return legacy_logprobs(seen, known.offsets[choice // call.request.n])


def _length(prompt: Prompt) -> int:
    """Characters before the completion. What token ids spell is not known here; their completion counts from 0."""
    return len(prompt.text) if isinstance(prompt, TextPrompt) else 0


COMPLETIONS = Surface("openai.completions", parse, frames, whole_answer, SSE, lambda call: HEADERS)
